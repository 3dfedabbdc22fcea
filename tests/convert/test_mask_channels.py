"""Masks with a channel for each class."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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


def as_channels(mask: np.ndarray) -> np.ndarray:
    return np.eye(3, dtype=np.uint8)[mask]  # (height, width, 3)


def write_channels(path: Path, channels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, channels.astype(np.float32))
    elif path.suffix == ".png":
        save(path, channels)
    else:
        pages = [Image.fromarray(channel * 255) for channel in np.moveaxis(channels, 2, 0)]
        pages[0].save(path, save_all=True, append_images=pages[1:])


@pytest.mark.parametrize("ending", ["npy", "png", "tif"])
def test_a_channel_for_each_class(tmp_path: Path, ending: str, capsys: pytest.CaptureFixture[str]) -> None:
    if ending == "tif":
        pytest.importorskip("tifffile")
    source = tmp_path / "s"
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.jpg", drawn_image(number))
        write_channels(source / f"masks/{name}.{ending}", as_channels(index_mask(number)))
    output = converted(source)
    assert_masks(output, indices())
    said = "masks have 3 channels, of one class each: 1 background, 2 class_1, 3 class_2; 'classes=[…]' names them"
    assert said in capsys.readouterr().out
    for number, name in enumerate(NAMES):  # without a channel for the background
        write_channels(source / f"masks/{name}.{ending}", as_channels(index_mask(number))[..., 1:])
    if ending == "npy":
        assert_masks(converted(source, "classes=[background,a,b]", "overwrite=true"), indices())
        assert "pixels in none of them are background" in capsys.readouterr().out
        void = {name: np.array([255, 0, 1], np.uint8)[mask] for name, mask in indices().items()}
        assert_masks(converted(source, "classes=[a,b]", "overwrite=true"), void)
        (tmp_path / "s-voc").rename(tmp_path / "other")
        assert "4 names, but the masks have 2 channels; 2 expected" in refused(source, "classes=[a,b,c,d]")
        np.save(source / "masks/a0.npy", np.ones((24, 32, 2)))
        np.save(source / "masks/a1.npy", np.array([{}]), allow_pickle=True)
        message = refused(source)
        assert "a0.npy: cannot be decoded: 768 pixels are in more than one of its 2 channels" in message
        assert "a1.npy: cannot be decoded: " in message


def test_pngs_of_0_and_1_may_be_colours_or_black(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.jpg", drawn_image(number))
        channels = as_channels(index_mask(number) * (number > 0))
        channels[..., 0] = 0
        write_channels(source / f"masks/{name}.png", channels)  # a0 is black
    expected = {name: mask * (name != "a0") for name, mask in indices().items()}
    with_x = {name: np.where(mask, mask + 1, 0) for name, mask in expected.items()}
    assert_masks(converted(source, "classes=[x,background,a,b]"), with_x)
    colours = """colours={"#000000": background, "#000100": a, "#000001": b}"""
    assert_masks(converted(source, colours, "overwrite=true"), expected)


def test_tiff_of_more_channels_than_pillow_knows(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    source = write_pairs(tmp_path / "s", mask="masks/{}.tif")
    for number, name in enumerate(NAMES):
        channels = np.eye(5, dtype=np.uint8)[index_mask(number)]
        tifffile.imwrite(source / f"masks/{name}.tif", channels, photometric="minisblack", planarconfig="contig")
    assert_masks(converted(source), indices())
