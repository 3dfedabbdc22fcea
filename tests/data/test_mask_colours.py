"""Palettes of masks are compared: the same index in another colour may be another class."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.mask_colours import colour_warning, disagreements, mask_colours
from pipeline.data.palette import voc_palette
from pipeline.data.voc import Example

CLASSES = ["ground", "cat", "dog"]
RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_the_colours_are_those_of_the_file(tmp_path: Path) -> None:
    mask = Image.fromarray(np.array([[0, 1, 2, 255]], np.uint8))
    mask.save(tmp_path / "grey.png")
    assert mask_colours(tmp_path / "grey.png", [0, 1]) == {}
    mask.putpalette(voc_palette().tobytes())
    mask.save(tmp_path / "voc.png", transparency=0)
    assert mask_colours(tmp_path / "voc.png", [0, 2]) == {0: (0, 0, 0), 2: (0, 128, 0)}
    two = Image.fromarray(np.array([[0, 1]], np.uint8))
    two.putpalette([*RED, *BLUE])
    two.save(tmp_path / "two.png", bits=1)
    assert mask_colours(tmp_path / "two.png", [0, 1]) == {0: RED, 1: BLUE}
    short = Image.fromarray(np.array([[0, 3]], np.uint8))
    short.putpalette([*RED, *GREEN, *BLUE])
    short.save(tmp_path / "short.png")
    assert mask_colours(tmp_path / "short.png", [0, 2, 3, 255]) == {0: RED, 2: BLUE}  # others are unknown


def test_a_label_with_two_colours_is_told_with_two_files() -> None:
    colours = [{0: RED}, {}, {0: RED, 1: GREEN}, {1: BLUE}, {1: BLUE, 2: RED}]
    table = disagreements(colours)
    assert table.tolist() == [[1, 0, 0, 255, 3, 2], [1, 0, 255, 0, 2, 1]]  # the commonest colour first
    examples = [Example(name, Path(f"{name}.jpg"), Path(f"{name}.png")) for name in "abcde"]
    assert colour_warning(table, examples, CLASSES) == (
        "palettes disagree: index 1 (cat) is #0000ff in SegmentationClass/d.png and #00ff00 in "
        "SegmentationClass/c.png; colours are not used, indices are: look whether these files mean the same classes by "
        "them"
    )


def test_palettes_that_agree_are_not_told() -> None:
    """Masks without a palette, next to others, have no colour to disagree with."""
    table = disagreements([{0: RED, 1: GREEN}, {}, {1: GREEN}])
    assert table.shape == (0, 6) and table.dtype == np.int64
    assert colour_warning(table, [], CLASSES) is None
