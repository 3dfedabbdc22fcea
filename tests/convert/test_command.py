"""The command: whole or not at all, a second call, hostile sources, and that what it writes can be trained on."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.dataset_file import read_dataset_file
from pipeline.config.overrides import checked_config
from pipeline.convert import work
from pipeline.convert.__main__ import main
from pipeline.convert.source import Item
from pipeline.data.prepare import prepare_dataset
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from tests.convert.sources import (
    converted,
    drawn_image,
    index_mask,
    masks_of,
    refused,
    save,
    splits_of,
    write_pairs,
)


def content_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_command_that_it_says_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Up to the dataset: without `dataset.classes`, and with the splits that were written."""
    source = write_pairs(tmp_path / "it's mine", count=12, change=lambda mask: mask * 100)
    output = converted(source, "values={0: background, 100: cat, 200: dog}")
    command = next(line.strip() for line in capsys.readouterr().out.splitlines() if line.startswith("  python run.py"))
    words = shlex.split(command)
    config = checked_config([*words[2:], "batch_size=2", f"data_dir={tmp_path / 'data'}"])
    assert config.dataset.classes == ["background", "cat", "dog"] and config.dataset.background == "background"
    dataset = prepare_dataset(config)
    assert {split: [one.id for one in found] for split, found in dataset.splits.items()} == splits_of(output)
    assert Image.open(output / "contact_sheet.png").width > 1000


def test_a_home_folder_of_an_unknown_user_is_named_for_each_key() -> None:
    with pytest.raises(UserError) as raised:
        main(["source=~nobody-at-all/x", "output=~nobody-at-all/y"])
    assert [fault.partition(" is not the home folder")[0] for fault in raised.value.faults] == [
        "source=~nobody-at-all/x: ~nobody-at-all",
        "output=~nobody-at-all/y: ~nobody-at-all",
    ]


def test_a_second_call_says_what_would_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_pairs(tmp_path / "s", count=12)
    output = converted(source)
    before, splits = content_of(output), splits_of(output)
    capsys.readouterr()
    converted(source)
    assert "nothing would change" in capsys.readouterr().out
    converted(source, "classes=[background,road,'no']", "background=null")
    said = capsys.readouterr().out
    assert "other classes: [background, class_1, class_2] to [background, road, 'no']" in said
    assert "other background: background to null" in said and "overwrite=true replaces it" in said
    save(source / "masks/a1.png", index_mask(77))
    (source / "images/a2.jpg").unlink()  # which the output has as a hard link
    save(source / "images/a2.jpg", drawn_image(78))
    save(source / "images/new.jpg", drawn_image(79))
    save(source / "masks/new.png", index_mask(79))
    (source / "images/a3.jpg").unlink()
    converted(source)
    said = capsys.readouterr().out
    for line in ("1 new: new", "1 gone: a3", "1 other image: a2", "1 other mask: a1", "overwrite=true replaces it"):
        assert line in said
    assert content_of(output) == before
    converted(source, "overwrite=true")
    assert np.array_equal(masks_of(output)["a1"], index_mask(77))
    for split, ids in splits.items():
        assert set(ids) - {"a3"} <= set(splits_of(output)[split])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-voc"]
    converted(source, "overwrite=true", "split=[0.5,0.25,0.25]")
    assert len(splits_of(output)["val"]) == 3  # anew, since the shares are others


def test_it_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_pairs(tmp_path / "s")

    def interrupt(task: work.Task, item: Item) -> work.Done:
        if item.id == "a2":
            raise KeyboardInterrupt
        return work.convert_one(task, item)

    monkeypatch.setattr("pipeline.convert.conversion.convert_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        converted(source)
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_what_a_killed_call_left_is_removed(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / f".s-voc.{ended.pid}").mkdir()
    converted(source)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-voc"]


def test_something_else_is_never_replaced(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    save(tmp_path / "s-voc/mine.png", drawn_image(0))
    with pytest.raises(UserError, match="exists, and was not written by this command"):
        converted(source, "overwrite=true")
    with pytest.raises(UserError, match=r"is the source; the name of a new folder expected"):
        main([f"source={source}", f"output={source}"])


def test_a_source_of_links_says_so_where_nothing_can_be_read(tmp_path: Path) -> None:
    """As of tools that keep data elsewhere and link to it."""
    real, source = write_pairs(tmp_path / "real"), tmp_path / "s"
    for folder in ("images", "masks"):
        (source / folder).mkdir(parents=True)
        for path in (real / folder).iterdir():
            (source / folder / path.name).symlink_to(path)
    message = refused(source)
    assert "links that lead out of the source are not read" in message and "cp -rL" in message


def test_an_output_that_is_mounted_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, output = write_pairs(tmp_path / "s"), tmp_path / "s-voc"
    output.mkdir()
    monkeypatch.setattr(Path, "is_mount", lambda path: path == output)
    with pytest.raises(UserError, match=rf"is a mount point.* such as output={output}/voc"):
        main([f"source={source}", f"output={output}"])
    assert list(output.iterdir()) == []


def test_more_classes_than_masks_can_hold_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "s"
    save(source / "images/a.jpg", drawn_image(0))
    names = [f"c{number}" for number in range(255)]
    shape = {"points": [[2, 2], [9, 2], [9, 9]], "shape_type": "polygon"}
    shapes = [{"label": name, **shape} for name in names]
    content = {"imagePath": "a.jpg", "imageWidth": 32, "imageHeight": 24, "version": "5", "flags": {}}
    (source / "images/a.json").write_text(json.dumps({**content, "shapes": shapes}))
    message = refused(source)
    assert "256 classes (background, c0, c1, c10, c100 and 251 more); at most 255 expected" in message
    assert len(read_dataset_file(converted(source, "labels={c0: c1}") / "dataset.yaml")["classes"]) == 255


def test_an_output_within_the_source_is_not_read(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    for overwrite in ("false", "true"):
        assert main([f"source={source}", f"output={source / 'voc'}", f"overwrite={overwrite}"]) == 0
        assert len(masks_of(source / "voc")) == 4


def test_links_that_lead_out_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_pairs(tmp_path / "s")
    save(tmp_path / "secret/x.jpg", drawn_image(9))
    save(source / "masks/x.png", index_mask(9))
    (source / "images/x.jpg").symlink_to(tmp_path / "secret/x.jpg")
    (source / "more").symlink_to(tmp_path / "secret")
    (source / "images/loop.jpg").symlink_to(source / "images/loop.jpg")
    (source / "images/again.jpg").symlink_to(source / "images/a0.jpg")
    save(source / "masks/again.png", index_mask(0))
    output = converted(source)
    assert sorted(masks_of(output)) == ["a0", "a1", "a2", "a3", "again"]
    said = capsys.readouterr().out
    assert "links that lead out of the source are not read: images/x.jpg; to have them read" in said
    assert "links to folders are not followed: more" in said
    homes = {name: split for split, ids in splits_of(output).items() for name in ids}
    assert homes["a0"] == homes["again"]  # the same bytes


def test_odd_names_become_ids_that_lists_can_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "s"
    names = ["a b,c", "l\nm", "Same", "same", "x*y[1]", "\u200bz"]
    for number, name in enumerate(names):
        save(source / f"images/{name}.jpg", drawn_image(number))
        save(source / f"masks/{name}.png", index_mask(number))
    output = converted(source, "split=[1,0,0]")
    assert set(masks_of(output)) == {"a b,c", "l_m", "Same", "same_2", "x_y[1]", "_z"}
    config = checked_config(["dataset=folder", f"dataset.root={output}", "dataset.splits.test=null", "batch_size=2"])
    config.data_dir = str(tmp_path / "data")
    assert sum(map(len, prepare_dataset(config).splits.values())) == 6


def test_json_of_a_gigabyte_ends_in_a_line(tmp_path: Path) -> None:
    save(tmp_path / "s/a.jpg", drawn_image(0))
    with (tmp_path / "s/x.json").open("w") as file:
        file.write('{"images": [')
        file.truncate(2**30)  # without taking room on the disk
    assert "has 1024 MB of JSON; at most" in refused(tmp_path / "s")
    (tmp_path / "s/x.json").write_text('{"images": ' + "[" * 100_000)
    assert "is not JSON" in refused(tmp_path / "s")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["format=coc"], "format=coc: auto, masks, coco, labelme, cvat, cityscapes, ade20k or supervisely expected"),
        (["values={0}"], "values={0}: 0 has no name of a class; for example"),
        (["values={a: b}"], "values={a: b}: a is not a value of a mask"),
        (["values=[!!python/name:os.system x]"], "plain values expected"),
        (["colours={red: b}"], "colours={red: b}: red is not a colour; '#rrggbb' in quotes expected"),
        (["classes=[a,a]"], "classes=[a,a]: a is there twice"),
        (["split=[0.5,0.5]", "group=("], "3 numbers expected, such as '[0.8,0.1,0.1]'\ngroup=(: is not a regular expr"),
        (["split=[0,1,0]"], "shares of train, val and test with the sum 1 expected"),
        (["max_side=0"], "a whole number from 16 to 65535 expected"),
        (["labels={a: b}"], "labels: only format=coco, labelme, cvat or supervisely has it, and this is masks"),
        (["background=x"], "background=x: one of background, class_1, class_2, or null, expected"),
        (["group=zzz"], "group=zzz: matches no id; ids are such as a0, a1, a2 and 1 more"),
        (["images=x", "masks=./masks/"], "images=x: no folder of source="),
        (["images=./masks", "masks=."], "images=masks masks=.: no mask has the name of an image"),
        (["images=/x"], "images=/x: a folder relative to the source expected"),
        (["nonsense=1"], "unknown key 'nonsense'"),
    ],
)
def test_arguments_are_refused_with_what_is_expected(tmp_path: Path, arguments: list[str], message: str) -> None:
    assert message in refused(write_pairs(tmp_path / "s"), *arguments)


def test_a_source_that_fits_nothing_says_what_it_has(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / f"s/holiday/{number}.jpg", drawn_image(number))
    message = refused(tmp_path / "s")
    assert "not recognised; it has holiday/. Masks next to images need a word such as masks" in message
    assert "format=… reads masks, coco, labelme, cvat, cityscapes, ade20k and supervisely" in message
    (tmp_path / "s.zip").touch()
    assert "is an archive; unpack it and give its folder" in refused(tmp_path / "s.zip")
    assert "not found" in refused(tmp_path / "t")


@pytest.mark.parametrize(("image", "mask"), [("img_{}.png", "mask_{}.png"), ("{}.JPG", "{}.png")])
def test_one_folder_of_images_and_masks_is_converted(tmp_path: Path, image: str, mask: str) -> None:
    output = converted(write_pairs(tmp_path / "s", image=image, mask=mask))
    assert len(masks_of(output)) == 4


def test_many_images_are_converted_by_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_pairs(tmp_path / "s", count=40)
    alone = content_of(converted(source))
    monkeypatch.setattr("pipeline.convert.parallel.FEW", 0)
    monkeypatch.setattr("pipeline.convert.parallel.CHUNK", 7)
    monkeypatch.setattr("pipeline.convert.parallel.processors", lambda: 2)
    output = tmp_path / "together"
    assert main([f"source={source}", f"output={output}"]) == 0
    together = content_of(output)
    del alone["dataset.yaml"], together["dataset.yaml"]  # which have the command
    assert together == alone


def test_it_starts_without_tensorflow(tmp_path: Path) -> None:
    code = (
        "import sys, pipeline.convert.__main__; "
        "print(sorted({'tensorflow', 'keras', 'mlflow', 'hydra', 'pycocotools'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    save(tmp_path / "s/a.png", drawn_image(0))
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}],
    }
    (tmp_path / "s/x.json").write_text(json.dumps(content))
    assert "needs the package pycocotools; install it: pip install -c constraints.txt -e '.[convert]'" in refused(
        tmp_path / "s"
    )


def test_groups_stay_together(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for number in range(24):
        name = f"patient{number // 4}_{number}"
        save(source / f"images/{name}.jpg", drawn_image(number))
        save(source / f"masks/{name}.png", index_mask(number))
    output = converted(source, r"group=^(\w+?)_")
    homes: dict[str, set[str]] = {}
    for split, ids in splits_of(output).items():
        for name in ids:
            homes.setdefault(name.partition("_")[0], set()).add(split)
    assert all(len(split) == 1 for split in homes.values()) and len(splits_of(output)) == 3
    assert os.sep not in "".join(homes)
