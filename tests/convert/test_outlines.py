"""Files of labelling tools, written by their own packages, give the masks that these packages draw."""

import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.config.dataset_file import read_dataset_file
from pipeline.convert.__main__ import main
from pipeline.convert.rasterize import Shape, covered, run_lengths
from tests.convert.sources import assert_masks, converted, drawn_image, masks_of, refused, save, splits_of

FIXTURES = Path(__file__).parent / "fixtures"


def truth(tool: str, prefix: str = "") -> dict[str, np.ndarray]:
    paths = sorted((FIXTURES / "truth" / tool).iterdir())
    return {prefix + path.stem: np.asarray(Image.open(path)) for path in paths}


def source_of(tool: str, tmp_path: Path) -> Path:
    if tool in ("coco", "cvat"):
        pytest.importorskip("pycocotools")
    return Path(shutil.copytree(FIXTURES / tool, tmp_path / tool))


@pytest.mark.parametrize("tool", ["labelme", "coco", "cvat", "panoptic"])
def test_masks_are_those_of_the_tools_own_package(tmp_path: Path, tool: str) -> None:
    output = converted(source_of(tool, tmp_path))
    assert_masks(output, truth(tool))
    first = "road" if tool == "panoptic" else "background"
    found = read_dataset_file(output / "dataset.yaml")
    assert found["classes"] == [first, "cat", "dog"]
    assert found["background"] == (None if tool == "panoptic" else "background")


@pytest.mark.parametrize("tool", ["labelme", "supervisely", "coco", "cvat"])
def test_blanks_around_a_label_are_not_part_of_it(tmp_path: Path, tool: str) -> None:
    clean, source = (source_of(tool, tmp_path / name) for name in ("clean", "blanks"))
    changed = 0
    for path in (*source.rglob("*.json"), *source.rglob("*.xml")):
        text = path.read_text()
        path.write_text(text.replace('"dog"', '" dog "').replace(">dog<", "> dog <"))
        changed += path.read_text() != text
    assert changed
    outputs = converted(source), converted(clean)
    assert_masks(outputs[0], masks_of(outputs[1]))
    names = [read_dataset_file(output / "dataset.yaml")["classes"] for output in outputs]
    assert names[0] == names[1]


@pytest.mark.parametrize(("tool", "said"), [
    ("labelme", "shape 1: has no label"), ("supervisely", "meta.json: a name is empty; classes with a title expected"),
    ("coco", "a name is empty; categories with id and name expected"), ("cvat", "without a label"),
])  # fmt: skip
def test_a_label_of_blanks_alone_is_refused(tmp_path: Path, tool: str, said: str) -> None:
    source = source_of(tool, tmp_path)
    for path in (*source.rglob("*.json"), *source.rglob("*.xml")):
        path.write_text(path.read_text().replace('"dog"', '" "').replace(">dog<", "> <").replace('"cat"', '" "'))
    assert said in refused(source)


def test_a_title_of_blanks_alone_is_refused_in_supervisely_without_a_list(tmp_path: Path) -> None:
    source = source_of("supervisely", tmp_path)
    (source / "meta.json").unlink()
    for path in source.rglob("*.json"):
        path.write_text(path.read_text().replace('"dog"', '" "'))
    assert "classTitle, geometryType and its points or bitmap expected" in refused(source)


def test_supervisely_differs_at_edges_alone(tmp_path: Path) -> None:
    """OpenCV, by which it draws, takes other pixels for a sloped edge than Pillow."""
    output = converted(source_of("supervisely", tmp_path))
    for name, mask in truth("supervisely", "streets/").items():
        wrong = masks_of(output)[name] != mask
        assert 0 < wrong.sum() <= 12
        same = np.ones_like(wrong)  # away from edges
        for shift in (-1, 1):
            same &= (np.roll(mask, shift, 0) == mask) & (np.roll(mask, shift, 1) == mask)
        assert not (wrong & same).any()
    assert read_dataset_file(output / "dataset.yaml")["colours"] == ["#000000", "#ff0000", "#00ff00"]


def test_one_file_can_be_the_source(tmp_path: Path) -> None:
    folder = source_of("coco", tmp_path)
    (folder / "annotations").mkdir()
    source = (folder / "instances.json").rename(folder / "annotations" / "instances.json")
    assert_masks(converted(source), truth("coco"))  # with the images next to annotations/


def labelme(root: Path, number: int, *shapes: tuple[str, list[list[float]]], **values: Any) -> Path:
    """A labelme file next to its image."""
    save(root / f"a{number}.png", drawn_image(number))
    parts = [{"label": label, "points": points, "shape_type": "rectangle"} for label, points in shapes]
    path = root / f"a{number}.json"
    content = {"version": "5.0", "shapes": parts, "imagePath": f"a{number}.png", "imageHeight": 24, "imageWidth": 32}
    path.write_text(json.dumps(content | values))
    return root


BOX = [[2.0, 2.0], [9.0, 9.0]]


def test_a_rectangle_of_four_corners_is_the_one_of_two(tmp_path: Path) -> None:
    """X-AnyLabeling writes all corners, from any of them on, in either direction."""
    (left, top), (right, bottom) = BOX
    corners = [[left, top], [right, top], [right, bottom], [left, bottom]]
    boxes = [BOX, corners, corners[1:] + corners[:1], corners[::-1]]
    for number, box in enumerate(boxes):
        labelme(tmp_path / "s", number, ("a", box))
    masks = masks_of(converted(tmp_path / "s"))
    assert masks["a0"].sum() == 64
    for mask in masks.values():
        assert np.array_equal(mask, masks["a0"])


def test_a_rectangle_of_four_corners_may_be_turned() -> None:
    turned = Shape(1, "rectangle", ((4, 0), (8, 4), (4, 8), (0, 4)))
    assert np.array_equal(covered(turned, 9, 9), covered(Shape(1, "polygon", turned.data), 9, 9))


def test_unknown_labels_are_listed_with_counts(tmp_path: Path) -> None:
    source = labelme(tmp_path / "s", 0, ("cat", BOX), ("kitten", BOX), ("kitten", BOX), ("?", BOX))
    message = refused(source, "classes=[background,cat]")
    assert "2 labels are not in classes (background, cat): kitten (2 outlines), ? (1 outlines)" in message
    command = shlex.split(message.rpartition("with your names: ")[2])
    assert command[-1] == 'labels={kitten: void, "?": void}'
    assert main([*command[3:], "split=[1,0,0]"]) == 0
    shutil.rmtree(tmp_path / "s-voc")
    assert "labels: 'kiten' is no label of the source (did you mean 'kitten'?)" in refused(
        source, "labels={kiten: cat}"
    )
    output = converted(source, "classes=[background,cat]", "labels={kitten: void, '?': background}", "split=[1,0,0]")
    assert set(np.unique(masks_of(output)["a0"])) == {0}  # the last one is on top


def test_what_no_outline_covers(tmp_path: Path) -> None:
    source = labelme(labelme(tmp_path / "s", 0, ("a", BOX)), 1, ("b", BOX))
    assert "classes: does not have background, which pixels are that no outline covers" in refused(
        source, "classes=[a,b]"
    )
    output = converted(source, "classes=[a,b]", "background=null")
    assert set(np.unique(masks_of(output)["a1"])) == {1, 255}
    assert read_dataset_file(output / "dataset.yaml")["background"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imagePath": "../../secret.png"}, None),  # a0.png of the same name is taken
        ({"imageWidth": 10**6, "imageHeight": 10**6}, "is for an image of 1000000x1000000"),
        ({"shapes": [{"label": "a", "points": [[0, 1e9], [3, 3]], "shape_type": "rectangle"}]}, "far outside of its"),
        ({"shapes": [{"label": "a", "points": [[0, 1], [3, float("nan")]], "shape_type": "line"}]}, "a number"),
        ({"shapes": [{"label": "a", "points": [[0, 1]], "shape_type": "polygon"}]}, "a polygon of 1 points"),
        ({"shapes": [{"label": "a", "points": [*BOX, [5, 5]], "shape_type": "rectangle"}]}, "a rectangle of 3 points;"),
        ({"shapes": [{"label": "a", "points": [*BOX, *BOX, [5, 5]], "shape_type": "rectangle"}]}, "; 2, or its 4 corn"),
        ({"shapes": [{"label": "a", "points": [["x", 1]]}]}, "shape 1: has no points [x, y]"),
        ({"shapes": [{"label": "a", "points": [], "shape_type": "blob"}]}, "shape 1: is a blob; polygon"),
        ({"shapes": [{"points": []}]}, "shape 1: has no label"),
        ({"shapes": [{"label": "a", "points": BOX, "shape_type": {}}, 3]}, "shape 2: has no label"),
        ({"shapes": [{"label": "a", "points": [[1e999, 1]], "shape_type": "mask", "mask": "A"}]}, "coordinate inf"),
        ({"shapes": [{"label": "a", "points": BOX, "shape_type": "mask", "mask": "AAAA"}]}, "cannot be read"),
    ],
)  # fmt: skip
def test_a_hostile_labelme_file_ends_in_a_line(tmp_path: Path, change: dict[str, Any], message: str | None) -> None:
    save(tmp_path / "secret.png", drawn_image(9))
    source = labelme(tmp_path / "x" / "s", 0, ("a", BOX), **change)
    if message is None:
        converted(source)
    else:
        assert message in refused(source)


def coco(root: Path, segmentation: Any, **annotation: Any) -> Path:
    save(root / "a0.png", drawn_image(0))
    content = {
        "images": [{"id": 1, "file_name": "a0.png", "width": 32, "height": 24}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": segmentation} | annotation],
    }
    (root / "x.json").write_text(json.dumps(content))
    return root


@pytest.mark.parametrize(
    ("segmentation", "annotation", "message"),
    [
        ({"counts": [5, 10**12], "size": [24, 32]}, {}, "has run lengths that are no whole numbers"),
        ({"counts": "oooo", "size": [24, 32]}, {}, "compressed run lengths"),
        ({"counts": [700, 67], "size": [24, 32]}, {}, "has run lengths of 767 pixels; 32x24 expected"),
        ({"counts": [1], "size": [24]}, {}, "annotation 5: run lengths with counts and size expected"),
        ([[1, 2, 3, 4, 5]], {}, "annotation 5: a polygon of 5 numbers"),
        ([[1, 2, 3, 4, 5, 1e300]], {}, "annotation 5: has a coordinate 1e+300, far outside"),
        ([], {"category_id": 9}, "1 labels are not in categories (background, a): category 9 (1 outlines)"),
        ([], {"image_id": 2}, "an annotation is of image 2, which it does not list"),
    ],
)
def test_a_damaged_coco_file_ends_in_a_line(
    tmp_path: Path, segmentation: Any, annotation: dict[str, Any], message: str
) -> None:
    if isinstance(segmentation, list):
        pytest.importorskip("pycocotools")
    (tmp_path / "s").mkdir()
    assert message in refused(coco(tmp_path / "s", segmentation, **annotation))


def test_a_split_is_read_off_names(tmp_path: Path) -> None:
    runs = {"counts": [100, 50, 618], "size": [24, 32]}
    for split in ("train", "valid"):
        (tmp_path / "s" / split).mkdir(parents=True)
        coco(tmp_path / "s" / split, runs)
        (tmp_path / "s" / split / "x.json").rename(tmp_path / "s" / split / "_annotations.coco.json")
        save(tmp_path / "s" / split / "a0.png", drawn_image(ord(split[0])))
    assert splits_of(converted(tmp_path / "s")) == {"train": ["a0"], "val": ["a0_2"]}


def test_run_lengths_are_decoded_as_pycocotools_does() -> None:
    coco_mask = pytest.importorskip("pycocotools.mask")
    noise = np.asfortranarray((np.random.default_rng(0).random((50, 70)) > 0.3).astype(np.uint8))
    noise[:, 20:60] = 1
    encoded = coco_mask.encode(noise)["counts"].decode()
    assert np.array_equal(run_lengths(encoded, 70, 50), noise > 0)


def test_masks_of_cvat_run_along_the_rows() -> None:
    shape = Shape(1, "rows", ((1, 2, 3), 4, 1, 3, 2))  # of 3x2 pixels at (4, 1)
    assert covered(shape, 8, 4).astype(int).tolist() == [
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!DOCTYPE x [<!ENTITY a 'b'>]><annotations><image/></annotations>", "declares entities"),
        ("<annotations><meta/><track id='0'></track></annotations>", "is of a video"),
        ("<annotations><image name='a0.png' width='9999999' height='9999999'/></annotations>", "is 9999999x9999999"),
        ("<annotations><image name='a0.png' width='x' height='9'/></annotations>", "width='x'; a number expected"),
        ("<annotations><image name='a0.png'", "is not XML"),
    ],
)
def test_a_hostile_cvat_file_ends_in_a_line(tmp_path: Path, text: str, message: str) -> None:
    save(tmp_path / "s" / "a0.png", drawn_image(0))
    (tmp_path / "s" / "x.xml").write_text(text)
    assert message in refused(tmp_path / "s", "format=cvat")


@pytest.mark.parametrize("way", ["names", "files", "subsets"])
def test_cvat_has_its_own_splits(tmp_path: Path, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By folders in the names of images, by folders of its files, and by subsets of projects."""
    pytest.importorskip("pycocotools")
    source = tmp_path / "s"
    polygon = '<polygon label="a" points="2,2;9,2;9,9"/>'
    images: dict[str, str] = {}
    for number, split in enumerate(("train", "train", "val")):
        place = {
            "names": f"images/{split}/{number}.png",
            "files": f"all/{number}.png",
            "subsets": f"images/{number}.png",
        }
        save(source / place[way], drawn_image(number))
        file = f"{split}/annotations.xml" if way == "files" else "annotations.xml"
        name = f"{split}/{number}.png" if way == "names" else f"{number}.png"
        subset = f' subset="{split.title()}"' if way == "subsets" else ""
        image = f'<image name="{name}"{subset} width="32" height="24">{polygon}</image>'
        images[file] = images.get(file, "") + image
    for file, text in images.items():
        (source / file).parent.mkdir(exist_ok=True)
        (source / file).write_text(f"<annotations>{text}</annotations>")
    ids = {"files": "all/"}.get(way, "")
    assert splits_of(converted(source)) == {"train": [f"{ids}0", f"{ids}1"], "val": [f"{ids}2"]}
    assert "note: splits are the source's own; split=[0.8,0.1,0.1] makes others" in capsys.readouterr().out
