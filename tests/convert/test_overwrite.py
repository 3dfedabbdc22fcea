"""overwrite=true replaces what an earlier call wrote, and nothing else."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.convert.__main__ import main
from pipeline.runtime.errors import UserError
from tests.convert.sources import LISTS, converted, drawn_image, index_mask, masks_of, save, write_pairs


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("overwrite", ["false", "true"])
def test_a_source_inside_the_output_is_refused(tmp_path: Path, overwrite: str) -> None:
    output = converted(write_pairs(tmp_path / "s"))
    write_pairs(output / "raw", 6)
    (tmp_path / "link").symlink_to(output / "raw")
    before = everything(output)
    for source in (output / "raw", tmp_path / "link", output / "raw/images/a0.jpg"):
        with pytest.raises(UserError, match=r"lies in output=.*; give another output, or move the source out of it"):
            main([f"source={source}", f"output={output}", f"overwrite={overwrite}"])
    with pytest.raises(UserError, match="is the source"):
        main([f"source={output / 'raw/..'}", f"output={output}", f"overwrite={overwrite}"])
    assert everything(output) == before


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("raw/images/a0.jpg", "raw/"),
        ("mlruns/mlflow.db", "mlruns/"),
        ("notes.txt", "notes.txt"),
        (".git/config", ".git/"),
        ("JPEGImages/a0.json", "JPEGImages/a0.json"),
        ("JPEGImages/mine.jpg", "JPEGImages/mine.jpg"),
        ("SegmentationClass/a0.jpg", "SegmentationClass/a0.jpg"),
        ("SegmentationObject/a0.png", "SegmentationObject/"),
        ("ImageSets/Main/cat.txt", "ImageSets/Main/cat.txt"),
        ("ImageSets/Segmentation/old/mine.txt", "ImageSets/Segmentation/old/mine.txt"),
    ],
)
def test_files_that_no_conversion_wrote_stop_it(tmp_path: Path, name: str, said: str) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    (output / name).parent.mkdir(parents=True, exist_ok=True)
    (output / name).write_bytes(b"mine")
    before = everything(output)
    save(source / "masks/a1.png", index_mask(77))
    with pytest.raises(UserError) as raised:
        converted(source, "overwrite=true")
    assert f"has files that no conversion wrote: {said}; overwrite=true would remove them" in str(raised.value)
    assert "move them elsewhere" in str(raised.value)
    assert everything(output) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-voc"]


def test_few_of_many_such_files_are_named(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    for number in range(9):
        (output / f"JPEGImages/a{number}.json").touch()
        (output / f"corrected_{number}").mkdir()
        (output / f"corrected_{number}/x.json").touch()
    with pytest.raises(UserError, match=r"a2\.json and 15 more; overwrite=true would remove them"):
        converted(source, "overwrite=true")


def test_a_link_to_a_folder_stops_it(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    (output / "raw").symlink_to(tmp_path / "s")
    with pytest.raises(UserError, match="no conversion wrote: raw;"):
        converted(source, "overwrite=true")


def test_own_lists_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_pairs(tmp_path / "s", count=12)
    output = converted(source)
    (output / LISTS / "hard.txt").write_text("a1\na3\n")
    (output / LISTS / "night.txt").write_text("a2\n")
    save(source / "masks/a1.png", index_mask(77))
    capsys.readouterr()
    converted(source, "overwrite=true")
    assert "note: lists that no conversion wrote are kept: hard.txt, night.txt" in capsys.readouterr().out
    assert (output / LISTS / "hard.txt").read_text() == "a1\na3\n"
    assert sorted(os.listdir(output / LISTS)) == ["hard.txt", "night.txt", "test.txt", "train.txt", "val.txt"]
    assert (masks_of(output)["a1"] == index_mask(77)).all()


def test_a_list_of_a_split_that_no_conversion_wrote_stops_it(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source, "split=[0.5,0.5,0]")
    (output / LISTS / "test.txt").write_text("a1\n")
    with pytest.raises(UserError, match=r"no conversion wrote: ImageSets/Segmentation/test\.txt;"):
        converted(source, "overwrite=true")


def test_files_of_the_operating_system_do_not_stop_it(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    for name in (".DS_Store", "JPEGImages/._a0.jpg", "JPEGImages/Thumbs.db", "SegmentationClass/desktop.ini"):
        (output / name).touch()
    converted(source, "overwrite=true")
    assert not (output / ".DS_Store").exists()


def test_ids_in_folders_and_decomposed_names_are_known(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for number, name in enumerate(("x/a", "y/caf\u00e9", "b")):
        save(source / f"images/{name}.png", drawn_image(number))
        save(source / f"masks/{name}.png", index_mask(number))
    output = converted(source)
    image = output / "JPEGImages/y/caf\u00e9.png"
    image.rename(image.with_name("cafe\u0301.png"))  # as macOS may return it
    converted(source, "overwrite=true")
    assert len(masks_of(output)) == 3


def test_a_file_that_is_added_meanwhile_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    write_lists = "pipeline.convert.__main__.write_lists"
    monkeypatch.setattr(write_lists, lambda *_: (output / "late.txt").write_text("mine"))
    with pytest.raises(UserError, match=r"no conversion wrote: late\.txt;"):
        converted(source, "overwrite=true")
    assert (output / "late.txt").read_text() == "mine" and (output / "convert.csv").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-voc"]


def test_a_folder_next_to_the_output_stays(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    (tmp_path / "s-voc.outdated").mkdir()
    (tmp_path / "s-voc.outdated/mine").touch()
    converted(source, "overwrite=true")
    assert (tmp_path / "s-voc.outdated/mine").exists() and len(masks_of(output)) == 4


def test_an_output_that_a_killed_call_had_put_aside_comes_back(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source)
    (output / LISTS / "mine.txt").write_text("a1\n")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    aside = output.rename(tmp_path / f".s-voc.{ended.pid}.outdated")
    assert main([f"source={source}", f"output={output}"]) == 0
    assert (output / LISTS / "mine.txt").exists() and not aside.exists()
    for pid in (ended.pid, os.getpid()):
        (tmp_path / f".s-voc.{pid}.outdated/old").mkdir(parents=True)  # the new folder was in place already
    converted(source, "overwrite=true")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s", "s-voc"]


def test_an_output_that_is_a_link_stays_one(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    (tmp_path / "disk").mkdir()
    (tmp_path / "s-voc").symlink_to(tmp_path / "disk")
    for overwrite in ("false", "true"):
        output = converted(source, f"overwrite={overwrite}")
        assert output.is_symlink() and len(masks_of(tmp_path / "disk")) == 4
