"""The folder of dataset=shapes: its layout, and that it is complete or absent."""

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.palette import voc_palette
from pipeline.data.synthetic import shapes
from pipeline.data.synthetic.drawing import render_example
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import try_lock


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen images instead of all."""
    monkeypatch.setattr(shapes, "SPLITS", {"train": 7, "val": 2, "test": 3})


def files_of(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def ids_of(root: Path, split: str) -> list[str]:
    return (root / "ImageSets" / "Segmentation" / f"{split}.txt").read_text().split()


@pytest.mark.usefixtures("few")
def test_layout_is_that_of_voc(tmp_path: Path) -> None:
    root, reported = tmp_path / "data" / "shapes", []
    shapes.make_shapes(root, progress=lambda *news: reported.append(news))
    assert reported == [("drawing shapes", done, 12) for done in range(1, 13)]
    splits = {split: ids_of(root, split) for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in splits.items()} == shapes.SPLITS
    every = [name for ids in splits.values() for name in ids]
    assert len(set(every)) == len(every)
    assert {path.stem for path in (root / "JPEGImages").iterdir()} == set(every)
    for index, name in enumerate(every):
        image, mask = render_example(index)
        with Image.open(root / "SegmentationClass" / f"{name}.png") as png:
            assert png.mode == "P"
            assert np.array_equal(np.reshape(png.getpalette() or [], (256, 3)), voc_palette())
            assert np.array_equal(np.asarray(png), mask)
        with Image.open(root / "JPEGImages" / f"{name}.jpg") as jpeg:
            assert jpeg.mode == "RGB" and jpeg.size == image.shape[1::-1]
            assert np.abs(np.asarray(jpeg, float) - image).mean() < 6


@pytest.mark.usefixtures("few")
def test_same_bytes_every_time(tmp_path: Path) -> None:
    shapes.make_shapes(tmp_path / "one")
    shapes.make_shapes(tmp_path / "two")
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


@pytest.mark.usefixtures("few")
def test_generated_once_and_again_for_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "shapes"
    root.mkdir()  # an empty folder is used
    shapes.make_shapes(root)
    (root / "trace").touch()
    shapes.make_shapes(root)
    assert (root / "trace").exists()
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    shapes.make_shapes(root)
    assert not (root / "trace").exists() and len(ids_of(root, "train")) == 7
    assert {path.name for path in tmp_path.iterdir()} == {"shapes", ".shapes.lock"}


# ---- complete or absent


@pytest.mark.usefixtures("few")
def test_interrupted_leaves_no_half_dataset(tmp_path: Path) -> None:
    root = tmp_path / "shapes"

    def interrupt(what: str, done: int, total: int | None) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shapes.make_shapes(root, progress=interrupt)
    assert not root.exists()
    shapes.make_shapes(root)
    assert len(list((root / "JPEGImages").iterdir())) == 12
    assert {path.name for path in tmp_path.iterdir()} == {"shapes", ".shapes.lock"}


def test_interrupted_process_stops_drawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, example = [], render_example(0)

    def draw(index: int) -> tuple[np.ndarray, np.ndarray]:
        drawn.append(index)
        time.sleep(0.01)
        return example

    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shapes, "render_example", draw)
    with pytest.raises(KeyboardInterrupt):
        shapes.make_shapes(tmp_path / "shapes", progress=interrupt)
    assert 0 < len(drawn) < sum(shapes.SPLITS.values()) / 2


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("foreign", ["folder", "file"])
def test_other_files_are_refused_and_not_changed(tmp_path: Path, foreign: str) -> None:
    root = tmp_path / "shapes"
    foreign_file = root
    if foreign == "folder":
        root.mkdir()
        foreign_file = root / "thesis.tex"
    foreign_file.write_text("mine")
    with pytest.raises(UserError, match=str(root)):
        shapes.make_shapes(root)
    assert foreign_file.read_text() == "mine"


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        shapes.make_shapes(tmp_path / "file" / "shapes")


@pytest.mark.usefixtures("few")
def test_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as Lustre, unless it is mounted with them."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(UserError, match=r"shapes: its file system has no locks \(No locks available\); set another"):
        shapes.make_shapes(tmp_path / "shapes")


def test_second_waits_for_first(tmp_path: Path) -> None:
    """While another holds the lock nothing is written; the dataset it made is then used as it is."""
    root, reported = tmp_path / "shapes", []
    lock = try_lock(tmp_path / ".shapes.lock")
    second = threading.Thread(target=shapes.make_shapes, args=(root, lambda *news: reported.append(news)))
    second.start()
    second.join(timeout=0.3)
    assert second.is_alive() and not root.exists()
    assert reported == [("waiting for another process that prepares the same data", 0, None)]
    root.mkdir()
    (root / shapes.MARKER).write_text(f"{shapes.VERSION}\n")
    lock.release()
    second.join(timeout=10)
    assert not second.is_alive()
    assert [path.name for path in root.iterdir()] == [shapes.MARKER]


@pytest.mark.usefixtures("few")
def test_killed_while_replaced_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the two renames neither version has the name; the next call writes it and clears both."""
    root = tmp_path / "shapes"
    shapes.make_shapes(root)
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shapes.make_shapes(root)
    assert not root.exists() and (tmp_path / "shapes.outdated").is_dir()
    shapes.make_shapes(root)
    assert (root / shapes.MARKER).read_text() == f"{shapes.VERSION}\n"
    assert {path.name for path in tmp_path.iterdir()} == {"shapes", ".shapes.lock"}
