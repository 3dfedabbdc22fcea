"""Values and colours of masks become class indices, as the command line, a legend or a convention says."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.dataset_file import read_dataset_file
from pipeline.convert.__main__ import main
from pipeline.data.palette import voc_palette
from tests.convert.sources import (
    NAMES,
    assert_masks,
    converted,
    drawn_image,
    index_mask,
    indices,
    refused,
    save,
    write_pairs,
)

PALETTE = np.array([(0, 0, 0), (255, 0, 0), (10, 200, 30)], np.uint8)


def as_palette(mask: np.ndarray) -> Image.Image:
    image = Image.fromarray(mask)
    image.putpalette(PALETTE.tobytes())
    return image


def test_values_of_0_and_255_are_two_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = converted(write_pairs(tmp_path / "s", change=lambda mask: mask * 255, classes=2))
    assert_masks(output, indices(2))
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "object"]
    assert (
        "values 0 and 255 are background and object; 'values={0: background, …}' sets others" in capsys.readouterr().out
    )


@pytest.mark.parametrize("ending", ["png", "tif", "bmp", "gif"])
def test_named_values_in_any_lossless_file(tmp_path: Path, ending: str) -> None:
    source = write_pairs(tmp_path / "s", mask=f"masks/{{}}.{ending}", change=lambda mask: mask * 90 + 7)
    output = converted(source, "values={7: a, 97: void, 187: c}", "classes=[c,a]")
    expected = {name: np.array([1, 255, 0], np.uint8)[mask] for name, mask in indices().items()}
    assert_masks(output, expected)
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["c", "a"]


def test_values_of_16_bits_and_of_1_and_4(tmp_path: Path) -> None:
    deep = write_pairs(tmp_path / "deep", change=lambda mask: mask.astype(np.uint16) * 1000)
    assert_masks(converted(deep, "values={0: a,1000: b,2000:c}"), indices())
    source = write_pairs(tmp_path / "bits", classes=2)
    for number, name in enumerate(NAMES):
        save(source / f"masks/{name}.png", Image.fromarray(index_mask(number, 2) > 0))
    assert_masks(converted(source), indices(2))


@pytest.mark.parametrize("change", [lambda mask: Image.fromarray(PALETTE[mask]), as_palette], ids=["RGB", "palette"])
@pytest.mark.parametrize(
    ("file", "text"),
    [
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nbackground:0,0,0::\na:255,0,0::\nb:10,200,30::\nc:9,9,9::\n",
        ),
        ("class_dict.csv", "name,r,g,b\nbackground,0,0,0\na,255,0,0\nb,10,200,30\n"),
        ("label_colors.txt", "0 0 0\tbackground\n255 0 0\ta\n10 200 30\tb\n"),
    ],
)
def test_colours_of_a_legend(tmp_path: Path, file: str, text: str, change) -> None:  # type: ignore[no-untyped-def]
    source = write_pairs(tmp_path / "s", change=change)
    (source / file).write_text(text)
    output = converted(source)
    assert_masks(output, indices())
    found = read_dataset_file(output / "dataset.yaml")
    assert found["classes"][:3] == ["background", "a", "b"] and found["colours"][1] == "#ff0000"
    with Image.open(output / "SegmentationClass/a0.png") as mask:
        assert mask.getpalette()[3:6] == [255, 0, 0]


def test_a_legend_of_values_and_one_of_names(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", image="train/{}.jpg", mask="train/{}_mask.png")
    (source / "train/_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n2, dog\n")
    output = converted(source)
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "cat", "dog"]
    (source / "train/_classes.csv").rename(source / "labels.txt")
    (source / "labels.txt").write_text("__ignore__\n_background_\nx\ny\n")
    assert main_classes(source) == ["_background_", "x", "y"]


def main_classes(source: Path) -> list[str]:
    return list(read_dataset_file(converted(source, "overwrite=true") / "dataset.yaml")["classes"])


def test_colours_of_the_command_line_and_of_voc(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", change=lambda mask: PALETTE[mask])
    assert_masks(converted(source, """colours={"#000000": x, "#ff0000": y, '#0AC81E': z}"""), indices())
    voc = write_pairs(tmp_path / "voc", change=lambda mask: voc_palette()[np.where(mask == 2, 255, mask)])
    expected = {name: np.where(mask == 2, 255, mask).astype(np.uint8) for name, mask in indices().items()}
    assert_masks(converted(voc), expected)


def test_unknown_values_are_all_listed(tmp_path: Path) -> None:
    colours = write_pairs(tmp_path / "s", change=lambda mask: PALETTE[mask])
    message = refused(colours)
    assert "the masks hold colours, and no legend says of which classes" in message
    assert "#ff0000  4 masks" in message and "#0ac81e  4 masks" in message
    assert """'colours={"#000000": background, "#0ac81e": class_1, "#ff0000": class_2}'""" in message
    command = shlex.split(message.rpartition("with your names: ")[2])
    assert main(command[3:]) == 0
    (tmp_path / "s-voc").rename(tmp_path / "made")
    message = refused(colours, """colours={"#000000": x, "#ff0000": y}""")
    assert "1 colour of the masks have no class" in message or "1 colour of the masks has no class" in message
    values = write_pairs(tmp_path / "values", change=lambda mask: mask * 75 + 20)
    assert "'values={20: class_0, 95: class_1, 170: class_2}'" in refused(values)


def test_255_that_may_be_void_or_a_class_is_refused(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", classes=2)
    save(source / "masks/a0.png", index_mask(0, 2) * 255)
    assert "255 is in 1 masks, next to 0 alone" in refused(source)
    assert_masks(converted(source, "values={0: x, 1: y, 255: y}"), indices(2))


@pytest.mark.parametrize(
    ("value", "file", "text"),
    [
        (255, "labels.txt", "background\ncat\n"),
        (128, "labels.txt", "background\ncat\n"),
        (255, "labelmap.txt", "background:::\ncat:::\n"),
        (255, "labelmap.txt", "background:0,0,0::\ncat:255,0,0::\n"),
    ],
)
def test_two_values_are_the_two_names_of_a_legend(
    tmp_path: Path, value: int, file: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_pairs(tmp_path / "s", change=lambda mask: mask * value, classes=2)
    (source / file).write_text(text)
    output = converted(source)
    assert_masks(output, indices(2))
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "cat"]
    assert f"values 0 and {value} are background and cat; 'values={{0: background, …}}' sets" in capsys.readouterr().out
    swapped = {name: 1 - mask for name, mask in indices(2).items()}
    assert_masks(converted(source, "classes=[cat,background]", "overwrite=true"), swapped)


@pytest.mark.parametrize("names", ["background\ncat\n", "background\ncat\ndog\n", "cat\n"])
def test_255_that_may_be_void_or_a_class_of_a_legend_is_refused(tmp_path: Path, names: str) -> None:
    source = write_pairs(tmp_path / "s", change=lambda mask: mask * 255, classes=2)
    if names != "cat\n":
        save(source / "masks/a0.png", index_mask(0, 2))
    (source / "labels.txt").write_text(names)
    count = 4 if names == "cat\n" else 3
    assert f"255 is in {count} masks, next to 0 alone, so it may be void or a class" in refused(source)
    assert_masks(converted(source, "values={0: x, 1: y, 255: y}"), indices(2))


def test_void_of_a_legend_is_void(tmp_path: Path) -> None:
    """255 next to other classes, or with a name."""
    void = {name: np.where(mask == 2, 255, mask).astype(np.uint8) for name, mask in indices().items()}
    source = write_pairs(tmp_path / "s", change=lambda mask: np.where(mask == 2, 255, mask).astype(np.uint8))
    (source / "labels.txt").write_text("background\ncat\n")
    assert_masks(converted(source), void)
    save(source / "masks/a0.png", index_mask(0, 2) * 255)
    for number in range(1, 4):
        save(source / f"masks/a{number}.png", index_mask(number, 2))
    (source / "labels.txt").rename(source / "_classes.csv")
    (source / "_classes.csv").write_text("Pixel Value, Class\n0, background\n1, cat\n255, void\n")
    expected = indices(2) | {"a0": index_mask(0, 2) * 255}
    assert_masks(converted(source, "overwrite=true"), expected)


def test_0_and_255_alone_are_no_three_classes(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", change=lambda mask: mask * 255, classes=2)
    assert "255 is in 4 masks, next to 0 alone" in refused(source, "classes=[background,cat,dog]")


def test_indices_in_numpy_files(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        save(tmp_path / f"s/{name}.jpg", drawn_image(number))
        np.save(tmp_path / f"s/{name}.npy", index_mask(number).astype(np.int64))
    assert_masks(converted(tmp_path / "s"), indices())


@pytest.mark.parametrize("ending", ["npy", "tif"])
def test_whole_numbers_in_files_of_floating_point(tmp_path: Path, ending: str) -> None:
    source = tmp_path / "s"

    def write(name: str, values: np.ndarray) -> None:
        path = source / f"masks/{name}.{ending}"
        np.save(path, values) if ending == "npy" else save(path, values)

    (source / "masks").mkdir(parents=True)
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.jpg", drawn_image(number))
        write(name, index_mask(number).astype(np.float32))
    assert_masks(converted(source), indices())
    (tmp_path / "s-voc").rename(tmp_path / "made")
    write("a0", np.full((24, 32), 0.5, np.float32))
    write("a1", np.full((24, 32), np.nan, np.float32))
    message = refused(source)
    assert "holds values from 0.5 to 0.5; 0 to 65535, whole, expected" in message and "from nan to nan" in message


def test_palettes_that_disagree_are_no_indices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of colours that an editor saved as indexed PNGs; those of one palette, whatever it is, are."""

    def indexed(mask: np.ndarray, colours: list[int]) -> Image.Image:
        image = Image.fromarray(mask, "P")
        image.putpalette(colours)
        return image

    red, green, black = [255, 0, 0], [0, 255, 0], [0, 0, 0]
    source, same = tmp_path / "s", tmp_path / "same"
    masks = {name: (index_mask(number) > 0).astype(np.uint8) for number, name in enumerate(NAMES)}
    for number, (name, mask) in enumerate(masks.items()):
        for root in (source, same):
            save(root / f"images/{name}.jpg", drawn_image(number))
        save(source / f"masks/{name}.png", indexed(1 - mask, [red, green][number % 2] + black))
        save(same / f"masks/{name}.png", indexed(mask, black + red))
    assert refused(source, "classes=[a,b]").startswith("the palettes")
    message = refused(source)
    assert "the palettes of the masks disagree (value 0 is #00ff00, #ff0000)" in message
    assert 'colours={"#000000": background, "#00ff00": class_1, "#ff0000": class_2}' in message
    output = converted(source, 'colours={"#000000": background, "#00ff00": frog, "#ff0000": cat}')
    assert_masks(output, {name: mask * (2 - number % 2) for number, (name, mask) in enumerate(masks.items())})
    assert_masks(converted(same), masks)


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    save(source / "masks/a2.png", np.zeros((9, 9), np.uint8))
    assert refused(source) == "masks/a2.png: is 9x9, but its image a2.jpg is 32x24"
