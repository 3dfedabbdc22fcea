"""Each outline file gets the image that it means, and never that of another one."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.convert.named_images import Wanted, find_images
from pipeline.convert.source import Files
from tests.convert.sources import converted, drawn_image, index_mask, refused, save, splits_of
from tests.convert.test_outlines import BOX


def found(paths: list[str], *wanted: Wanted) -> list[str | None]:
    return find_images(Files(Path(), sorted(paths), [], []), wanted)


def by_labelme(path: str, name: str) -> Wanted:
    folder, _, file = path.rpartition("/")
    return Wanted(name, path, (folder or ".",), stem=file.removesuffix(".json"))


ALONE = {
    "in its own folder": ("a/1.json", "1.png", ["a/1.png", "b/1.png"], "a/1.png"),
    "by a relative path": ("labels/1.json", "..\\images\\1.png", ["images/1.png"], "images/1.png"),
    "by the end of an absolute path": ("l/1.json", "/home/me/test/images/1.png", ["train/1.png"], "train/1.png"),
    "the only one": ("labels/1.json", "1.png", ["images/1.png"], "images/1.png"),
    "the only one, in the folder of a split": ("1.json", "1.png", ["train/1.png"], "train/1.png"),
    "the only one, in no split's folder": ("train/1.json", "1.png", ["images/1.png"], "images/1.png"),
    "of the same split": ("labels/train/1.json", "1.png", ["images/training/1.png"], "images/training/1.png"),
    "below one folder called as a split": ("test/l/1.json", "1.png", ["test/i/1.png"], "test/i/1.png"),
    "in another Unicode form": ("a/1.json", "caf\u00e9.png", ["a/cafe\u0301.png"], "a/cafe\u0301.png"),
    "the only one, in another Unicode form": ("l/1.json", "caf\u00e9.png", ["i/cafe\u0301.png"], "i/cafe\u0301.png"),
    "with another ending": ("a/1.json", "1.png", ["a/1.jpg", "b/1.png"], "a/1.jpg"),
    "called as its file": ("l/2.json", "1.png", ["images/2.png"], "images/2.png"),
    "not a drawing next to its file": ("l/1.json", "../old/1.jpg", ["l/1.png", "new/1.jpg"], "new/1.jpg"),
    "next to its file, of two": ("a/1.json", "C:\\x\\1.jpg", ["a/1.jpg", "b/1.jpg"], "a/1.jpg"),
    "of another split": ("val/1.json", "1.png", ["train/1.png"], None),
    "of another split's images": ("val_labels/1.json", "1.png", ["train_images/1.png"], None),
    "of another split by its path": ("l/1.json", "images/val/1.png", ["x/train/1.png"], None),
    "of another split with another ending": ("val/1.json", "1.png", ["train/1.jpg"], None),
    "one of two": ("labels/1.json", "1.png", ["a/1.png", "b/1.png"], None),
}


@pytest.mark.parametrize("name", ALONE)
def test_the_image_of_one_file(name: str) -> None:
    path, image, paths, expected = ALONE[name]
    assert found(paths, by_labelme(path, image)) == [expected]


def test_an_image_that_another_file_has_in_its_folder_is_not_taken() -> None:
    wanted = by_labelme("b/1.json", "1.png"), by_labelme("a/1.json", "1.png")
    assert found(["a/1.png"], *wanted) == [None, "a/1.png"]
    moved = by_labelme("b/1.json", "/x/1.png"), by_labelme("a/1.json", "/x/1.png")
    assert found(["a/1.png"], *moved) == [None, "a/1.png"]


def test_an_image_that_files_of_two_splits_or_under_two_names_may_mean_is_given_to_none() -> None:
    splits = by_labelme("train/1.json", "1.png"), by_labelme("val/1.json", "1.png")
    assert found(["images/1.png"], *splits) == [None, None]
    names = Wanted("p/1.png", "x.json", (".",)), Wanted("q/1.png", "x.json", (".",))
    assert found(["r/1.png"], *names) == [None, None]
    twice = Wanted("1.png", "cats.json", (".",)), Wanted("1.png", "dogs.json", (".",))
    assert found(["r/1.png"], *twice) == ["r/1.png"] * 2


def test_a_split_that_the_file_says() -> None:
    assert found(["train2017/1.png"], Wanted("1.png", "instances.json", (".",), "val")) == [None]
    assert found(["train2017/1.png"], Wanted("1.png", "instances.json", (".",), "train")) == ["train2017/1.png"]


def write_labelme(path: Path, image: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shapes = [{"label": "a", "points": BOX, "shape_type": "rectangle"}]
    path.write_text(json.dumps({"shapes": shapes, "imagePath": image, "imageHeight": 24, "imageWidth": 32}))


def test_labelme_reports_an_image_that_is_missing_in_one_split(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "s"
    for number, split in enumerate(("train", "train", "val")):
        save(source / f"{split}/{number}.png", drawn_image(number))
        write_labelme(source / f"{split}/{number}.json", f"{number}.png")
    write_labelme(source / "val/1.json", "1.png")
    assert splits_of(converted(source)) == {"train": ["0", "1"], "val": ["2"]}
    said = capsys.readouterr().out
    assert "warning: JSON files whose image was not found are left out: val/1.json (1.png)\n" in said


def coco_file(*names: str, **more: Any) -> str:
    return json.dumps(
        {
            "images": [{"id": n, "file_name": name, "width": 32, "height": 24} for n, name in enumerate(names)],
            "categories": [{"id": 1, "name": "a"}],
            "annotations": [
                {"image_id": n, "category_id": 1, "segmentation": {"counts": [100, 50, 618], "size": [24, 32]}}
                for n, _ in enumerate(names)
            ],
        }
        | more
    )


def test_coco_reports_an_image_that_is_missing_in_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "s"
    for number, split in enumerate(("train", "train", "val")):
        save(source / f"{split}2017/{number}.png", drawn_image(number))
    (source / "annotations").mkdir()
    (source / "annotations/instances_train2017.json").write_text(coco_file("0.png"))  # which does not list 1.png
    (source / "annotations/instances_val2017.json").write_text(coco_file("1.png", "2.png"))
    assert splits_of(converted(source)) == {"train": ["0"], "val": ["2"]}
    assert "warning: images that were not found are left out: 1.png\n" in capsys.readouterr().out
    (source / "val2017/2.png").unlink()
    assert "none of its images was found, such as 1.png, 2.png" in refused(
        source / "annotations/instances_val2017.json"
    )


def test_a_panoptic_mask_of_another_split_is_not_taken(tmp_path: Path) -> None:
    source = tmp_path / "s"
    save(source / "val/0.jpg", drawn_image(0))
    save(source / "panoptic_train/0.png", index_mask(0))
    segments = [{"image_id": 0, "file_name": "0.png", "segments_info": [{"id": 1, "category_id": 1}]}]
    (source / "panoptic_val.json").write_text(coco_file("0.jpg", annotations=segments))
    assert "its mask 0.png was not found below the source" in refused(source / "panoptic_val.json")


def test_cvat_reports_an_image_that_is_missing_in_one_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pycocotools")
    source = tmp_path / "s"
    for number, split in enumerate(("train", "train", "val")):
        save(source / f"images/{split}/{number}.png", drawn_image(number))
    polygon = '<polygon label="a" points="2,2;9,2;9,9"/>'
    names = ("train/0.png", "val/1.png", "val/2.png")
    images = "".join(f'<image name="{name}" width="32" height="24">{polygon}</image>' for name in names)
    (source / "annotations.xml").write_text(f"<annotations>{images}</annotations>")
    converted(source)
    assert "warning: images that were not found are left out: val/1.png\n" in capsys.readouterr().out
