"""Images in two splits under two names: equal bytes, and images that look the same."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from pipeline.data import duplicates
from pipeline.data.duplicates import GRID, NEAR, appearance, equal_hashes, near_copies


def scene(seed: int, height: int = 90, width: int = 120) -> Image.Image:
    """A smooth random image, as photographs are."""
    rough = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


def look(image: Image.Image, path: Path, **options: int) -> np.ndarray | None:
    image.save(path, **options)
    return appearance(path)


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    one, other = one.astype(float), other.astype(float)
    return float(one @ other / np.sqrt((one**2).sum() * (other**2).sum()))


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image,
        lambda image: image.resize((60, 45)),
        lambda image: image.resize((300, 225)),
        lambda image: image.convert("L"),
        lambda image: image.convert("P", palette=Image.Palette.ADAPTIVE),
        lambda image: image.convert("RGBA"),
        lambda image: image.point(lambda value: int(value * 0.7 + 40)),
        lambda image: image.filter(ImageFilter.GaussianBlur(1)),
        lambda image: image.crop((1, 1, 119, 89)),
    ],
    ids=["png", "half", "larger", "grey", "palette", "alpha", "brighter", "blurred", "cropped"],
)
def test_a_changed_copy_looks_the_same(change: object, tmp_path: Path) -> None:
    original = look(scene(0), tmp_path / "a.jpg", quality=95)
    copy = look(change(scene(0)), tmp_path / "b.png")  # type: ignore[operator]
    other = look(scene(1), tmp_path / "c.jpg")
    assert original is not None and copy is not None and other is not None
    assert original.shape == (GRID * GRID,) and original.dtype == np.int8
    assert cosine(original, copy) >= NEAR > 0.5 > cosine(original, other)


def test_more_than_eight_bits_look_like_eight(tmp_path: Path) -> None:
    grey = scene(0).convert("L")
    eight = look(grey, tmp_path / "a.png")
    sixteen = look(Image.fromarray(np.array(grey).astype(np.uint16) * 16 + 1000), tmp_path / "b.png")
    assert eight is not None and sixteen is not None and cosine(eight, sixteen) > 0.95


def test_what_tells_images_apart_must_be_there(tmp_path: Path) -> None:
    """Tiny images, and those of almost one colour, look like many others: they are not compared."""
    dot = np.full((90, 120), 250, np.uint8)
    dot[40:45, 60:65] = 0
    assert look(Image.fromarray(dot), tmp_path / "dot.png") is None
    assert look(Image.new("RGB", (90, 120), (3, 200, 9)), tmp_path / "flat.jpg") is None
    assert look(scene(0).resize((GRID - 1, 90)), tmp_path / "tiny.png") is None


def test_each_near_copy_is_named_with_its_nearest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an earlier split only, whatever the number of images that are compared at a time."""
    rng = np.random.default_rng(0)
    signs = list(rng.integers(-1, 2, (9, GRID * GRID), np.int8))
    rough, fine = signs[1].copy(), signs[1].copy()
    rough[:10], fine[:2] = -rough[:10], -fine[:2]
    found = [*signs[:4], fine, None, signs[4], rough, None, signs[1], signs[6], signs[6]]
    counts = [5, 3, 4]  # the copies within the first and the last split do not matter
    expected = [(4, 7), (1, 9)]
    assert near_copies(found, counts) == expected
    for block in (1, 2, 3):
        monkeypatch.setattr(duplicates, "BLOCK", block)
        assert near_copies(found, counts) == expected


@pytest.mark.parametrize(("found", "counts"), [([], [0, 0]), ([None, None], [1, 1]), ([], [])])
def test_without_images_there_are_no_copies(found: list[None], counts: list[int]) -> None:
    assert near_copies(found, counts) == []


@given(st.lists(st.lists(st.sampled_from(["a", "b", "c", None])), max_size=3))
def test_equal_hashes_are_those_of_a_plain_search(splits: list[list[str | None]]) -> None:
    hashes = [value for split in splits for value in split]
    pairs = equal_hashes(hashes, [len(split) for split in splits])
    expected, start = [], 0
    for split in splits:
        for place, value in enumerate(split, start):
            earlier = [other for other in range(start) if value is not None and hashes[other] == value]
            expected += [(earlier[0], place)] if earlier else []
        start += len(split)
    assert pairs == expected
