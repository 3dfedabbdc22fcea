"""Masks whose edges are blurred, by scaling or JPEG: a tolerance takes each pixel for the nearest named value."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.convert.__main__ import main
from tests.convert.sources import (
    NAMES,
    assert_masks,
    converted,
    drawn_image,
    index_mask,
    indices,
    masks_of,
    refused,
    save,
    write_pairs,
)


def blurred(mask: np.ndarray) -> np.ndarray:
    """0 and 255, with edges as scaling makes them."""
    image = Image.fromarray(mask * 255)
    return np.asarray(image.resize((64, 48), Image.Resampling.BILINEAR).resize((32, 24), Image.Resampling.BILINEAR))


def test_blurred_edges_need_a_tolerance(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", change=blurred, classes=2)
    assert "of the masks" in refused(source) and "tolerance=128" in refused(source, "values={0: a, 255: b}")
    output = converted(source, "values={0: a, 255: b}", "tolerance=128")
    expected = {name: (blurred(mask) > 127).astype(np.uint8) for name, mask in indices(2).items()}
    assert_masks(output, expected)
    near = write_pairs(tmp_path / "near", change=blurred, classes=2)
    assert "values of masks without a class" in refused(near, "values={0: a, 255: b}", "tolerance=10")


def test_blurred_edges_of_255_are_not_void_by_a_legend(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", change=blurred, classes=2)
    (source / "labels.txt").write_text("background\ncat\n")
    for arguments in ([], ["tolerance=128"]):
        message = refused(source, *arguments)
        assert "values of the masks have no class; they hold:" in message
        assert "'values={0: background, 255: cat}' tolerance=128" in message
    output = tmp_path / "s-voc"
    assert main([*shlex.split(message.rpartition("those named: ")[2])[3:]]) == 0
    assert_masks(output, {name: (blurred(mask) > 127).astype(np.uint8) for name, mask in indices(2).items()})


def test_a_jpeg_as_mask_needs_a_tolerance(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s", mask="masks/{}.jpg", change=lambda mask: mask * 255, classes=2)
    assert "a JPEG as mask (4 of 4 masks)" in refused(source)
    converted(source, "values={0: a, 255: b}", "tolerance=128")


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (128, 0, 0), (90, 90, 90), (255, 255, 255)]


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize(("ending", "wrong"), [("png", 2), ("jpg", 16)])  # pixels of an image with 128 of a class
def test_blurred_masks_of_one_class_each_have_any_colour(
    tmp_path: Path, colour: tuple[int, ...], ending: str, wrong: int
) -> None:
    source, expected = tmp_path / "s", {}
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.png", drawn_image(number))
        for index, label in enumerate(("cat", "dog"), 1):
            mask = (index_mask(number) == index) & (number > 0)  # a0 is black
            share = blurred(mask.astype(np.uint8))[..., None] / 255
            drawn = Image.fromarray((share * colour).round().astype(np.uint8))
            drawn = drawn.convert("L") if len(set(colour)) == 1 else drawn
            save(source / f"masks/{label}/{name}.{ending}", drawn)
            expected.setdefault(name, np.zeros((24, 32), np.uint8))[share[..., 0] > 0.5] = index
    found = masks_of(converted(source, "tolerance=128"))
    for name, mask in expected.items():
        assert (found[name] != mask).sum() <= wrong and found[name].any() == mask.any(), name


def test_blurred_masks_of_one_class_with_two_colours_are_refused(tmp_path: Path) -> None:
    source = tmp_path / "s"
    colours = np.array([(0, 0, 0), *COLOURS[:2]], np.uint8)
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.jpg", drawn_image(number))
        for label in ("cat", "dog"):
            save(source / f"masks/{label}/{name}.png", colours[index_mask(number)])
    for arguments in ([], ["tolerance=128"]):
        assert re.search("values of masks without a class: .*#(ff0000|00ff00)", refused(source, *arguments))


def test_black_as_jpeg_shows_nothing(tmp_path: Path) -> None:
    for number, name in enumerate(NAMES):
        save(tmp_path / f"s/images/{name}.png", drawn_image(number))
        black = np.full((24, 32), 4, np.uint8) if number == 0 else index_mask(number, 2) * 255
        for label in ("cat", "dog"):
            save(tmp_path / f"s/masks/{label}/{name}.jpg", black)
    found = masks_of(converted(tmp_path / "s", "tolerance=128"))
    assert not found["a0"].any() and found["a1"].any()
