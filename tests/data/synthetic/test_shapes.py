"""dataset=shapes: what is drawn, what is written, and that a folder is whole or absent."""

import errno
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.palette import VOID, voc_palette
from pipeline.data.synthetic import shapes
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


# ---- what is drawn


def test_every_class_occurs_and_nothing_else() -> None:
    masks = [shapes.render_example(index)[1] for index in range(40)]
    assert set(np.concatenate([mask.ravel() for mask in masks])) == {*range(len(shapes.CLASSES)), VOID}
    assert {mask.shape for mask in masks} == set(shapes.SIZES)


def test_classes_have_similar_shares_of_the_pixels() -> None:
    counts = sum(np.bincount(shapes.render_example(index)[1].ravel(), minlength=256) for index in range(150))
    objects = np.asarray(counts)[1 : len(shapes.CLASSES)]
    assert objects.max() < 2 * objects.min()


def test_void_is_a_thin_border() -> None:
    """Every void pixel has a labelled one within three pixels, and the class inside never touches the background."""
    for index in range(20):
        mask = shapes.render_example(index)[1]
        assert 0.005 < (mask == VOID).mean() < 0.25
        reached = mask != VOID
        for _ in range(3):
            padded = np.pad(reached, 1)
            reached |= padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        assert reached.mean() > 0.999
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert not ((one != other) & (one != VOID) & (other != VOID)).any()


@pytest.mark.parametrize("name", shapes.CLASSES[1:])
def test_outline_is_a_signed_distance_with_the_stated_area(name: str) -> None:
    area, outline = shapes.OUTLINES[name]
    axis, step = np.linspace(-2.5, 2.5, 501, retstep=True)
    x, y = np.meshgrid(axis, axis)
    distance = outline(x, y)
    assert (distance < 0).sum() * step**2 == pytest.approx(area, rel=0.02)
    slope = np.hypot(*np.gradient(distance, step))[np.abs(distance) < 0.1]
    assert np.median(slope) == pytest.approx(1, abs=0.01)  # corners apart, it rises by one a unit
    for direction in (0, 1):  # and nowhere by more
        assert np.abs(np.diff(distance, axis=direction)).max() < 1.0001 * step


@pytest.mark.parametrize("name", shapes.CLASSES[1:])
def test_mask_is_where_the_shape_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shape of area 40 x 40 wholly inside the image: its pixels and half of its border make up that area."""
    shape = shapes.Shape(shapes.CLASSES.index(name), x=60.3, y=55.8, side=40, angle=0.7, stretch=1.0)
    monkeypatch.setattr(shapes, "_place", lambda *_: [shape])
    mask = shapes.render_example(0)[1]
    assert (mask == shape.label).sum() + (mask == VOID).sum() / 2 == pytest.approx(40**2, rel=0.05)
    rows, columns = np.nonzero(mask == shape.label)
    assert abs(rows.mean() - shape.y) < 4 and abs(columns.mean() - shape.x) < 4


def test_hue_is_a_hint_and_no_more() -> None:
    """Most objects of a class have a hue near the class's own, but not all: the outline is what tells."""
    rng = np.random.Generator(np.random.PCG64(0))
    for label in range(1, len(shapes.CLASSES)):
        own = (label - 1) / (len(shapes.CLASSES) - 1)
        away = np.abs((np.array([shapes._hue(rng, label) for _ in range(2000)]) - own + 0.5) % 1 - 0.5)
        near = (away < 0.07).mean()  # half way to the next class
        assert 0.95 < near < 0.995


def test_example_depends_on_its_index_alone() -> None:
    image, mask = shapes.render_example(5)
    shapes.render_example(6)
    again = shapes.render_example(5)
    assert np.array_equal(image, again[0]) and np.array_equal(mask, again[1])
    assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)


# ---- what is written


@pytest.mark.usefixtures("few")
def test_layout_is_that_of_voc(tmp_path: Path) -> None:
    root, told = tmp_path / "data" / "shapes", []
    shapes.make_shapes(root, progress=lambda *news: told.append(news))
    assert told == [("drawing shapes", done, 12) for done in range(1, 13)]
    splits = {split: ids_of(root, split) for split in ("train", "val", "test")}
    assert {split: len(ids) for split, ids in splits.items()} == shapes.SPLITS
    every = [name for ids in splits.values() for name in ids]
    assert len(set(every)) == len(every)
    assert {path.stem for path in (root / "JPEGImages").iterdir()} == set(every)
    for index, name in enumerate(every):
        image, mask = shapes.render_example(index)
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
def test_made_once_and_again_for_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "shapes"
    root.mkdir()  # an empty folder is as good as none
    shapes.make_shapes(root)
    (root / "trace").touch()
    shapes.make_shapes(root)
    assert (root / "trace").exists()
    monkeypatch.setattr(shapes, "VERSION", shapes.VERSION + 1)
    shapes.make_shapes(root)
    assert not (root / "trace").exists() and len(ids_of(root, "train")) == 7
    assert {path.name for path in tmp_path.iterdir()} == {"shapes", ".shapes.lock"}


# ---- whole or absent


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


def test_what_is_interrupted_draws_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, example = [], shapes.render_example(0)

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
def test_what_is_not_ours_is_refused_and_kept(tmp_path: Path, foreign: str) -> None:
    root = tmp_path / "shapes"
    kept = root
    if foreign == "folder":
        root.mkdir()
        kept = root / "thesis.tex"
    kept.write_text("mine")
    with pytest.raises(UserError, match=str(root)):
        shapes.make_shapes(root)
    assert kept.read_text() == "mine"


def test_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        shapes.make_shapes(tmp_path / "file" / "shapes")


@pytest.mark.usefixtures("few")
def test_place_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Lustre has none unless it is mounted with them."""

    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(UserError, match=r"shapes: its file system has no locks \(No locks available\); set another"):
        shapes.make_shapes(tmp_path / "shapes")


def test_second_waits_for_first(tmp_path: Path) -> None:
    """While another holds the lock nothing is written; the dataset it made is then used as it is."""
    root, news = tmp_path / "shapes", []
    lock = try_lock(tmp_path / ".shapes.lock")
    second = threading.Thread(target=shapes.make_shapes, args=(root, lambda *told: news.append(told)))
    second.start()
    second.join(timeout=0.3)
    assert second.is_alive() and not root.exists()
    assert news == [("waiting for another process that prepares the same data", 0, None)]
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
