"""Colours of classes: those of PASCAL VOC, and others that people can tell apart."""

import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.data.classes import Classes
from pipeline.data.palette import (
    DEUTERANOPIA,
    PROTANOPIA,
    VOID,
    Colour,
    class_colours,
    distinct_colours,
    oklab,
    voc_palette,
)


def distances(colours: list[Colour] | tuple[Colour, ...], vision: np.ndarray | None = None) -> np.ndarray:
    """(colours, colours) in OKLab; infinite from a colour to itself."""
    places = oklab(np.array(colours), vision)
    found = np.linalg.norm(places[:, None] - places, axis=2)
    found[np.diag_indices(len(colours))] = np.inf
    return found


def test_palette_of_voc() -> None:
    """The first classes, the last index, and the colour of void of VOC's masks."""
    palette = voc_palette()
    assert palette.shape == (256, 3) and palette.dtype == np.uint8
    known = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128)]
    assert list(map(tuple, palette[:7].tolist())) == known
    assert palette[[20, 254, VOID]].tolist() == [[0, 64, 128], [96, 224, 192], [224, 224, 192]]


def test_oklab_of_known_colours() -> None:
    """Ottosson's own table for white, and red as published for CSS Color 4."""
    np.testing.assert_allclose(oklab(np.array([[255, 255, 255]])), [[1, 0, 0]], atol=1e-4)
    np.testing.assert_allclose(oklab(np.array([[255, 0, 0]])), [[0.62796, 0.22486, 0.12585]], atol=1e-4)


@pytest.mark.parametrize(
    ("count", "all_cones", "fewer"), [(8, 0.2, 0.09), (20, 0.12, 0.06), (50, 0.08, 0.04), (100, 0.055, 0.025)]
)
def test_any_two_colours_are_so_far_apart(count: int, all_cones: float, fewer: float) -> None:
    colours = (*distinct_colours(count), (0, 0, 0), (255, 255, 255), (224, 224, 192))
    assert distances(colours)[:count].min() > all_cones
    assert min(distances(colours, vision)[:count].min() for vision in (PROTANOPIA, DEUTERANOPIA)) > fewer


def test_colours_do_not_depend_on_how_many_follow() -> None:
    for background in (None, 0, 2):
        assert class_colours(255, background)[:40] == class_colours(40, background)
    assert distinct_colours(3) == ((0, 0, 187), (255, 0, 255), (119, 0, 0))  # on every machine
    assert len(set(distinct_colours(255))) == 255


def test_a_first_class_that_is_background_has_vocs_colours() -> None:
    assert np.array_equal(class_colours(21, 0), voc_palette()[:21])
    more = class_colours(100, 0)
    assert np.array_equal(more[:21], voc_palette()[:21])
    assert distances(more)[21:].min() > 0.055  # each later one from all others


def test_without_a_background_no_class_is_black() -> None:
    assert class_colours(5, None) == list(distinct_colours(5))
    at_2 = class_colours(5, 2)
    assert at_2[2] == (0, 0, 0) and at_2[:2] + at_2[3:] == [*distinct_colours(2), *distinct_colours(5)[3:]]


# ---- of a configuration


def classes(*overrides: str) -> Classes:
    return Classes.of(checked_config(["dataset.classes=[road,sky,car]", *overrides]).dataset)


def test_classes_of_a_configuration() -> None:
    found = classes()
    assert found.names == ("road", "sky", "car") and found.background is None
    assert found.colours == distinct_colours(3)
    assert classes("dataset.background=car").background == 2
    assert Classes.of(checked_config([]).dataset).background == 0


def test_given_colours_are_those_of_the_palette() -> None:
    palette = classes('dataset.colours=["#804080","#4682B4","#00008e"]').palette
    assert palette[:3].tolist() == [[128, 64, 128], [70, 130, 180], [0, 0, 142]]
    assert np.array_equal(palette[3:], voc_palette()[3:])


def test_the_default_palette_is_vocs() -> None:
    for name in ("shapes", "voc2012"):
        assert np.array_equal(Classes.of(checked_config([f"dataset={name}"]).dataset).palette, voc_palette())
    assert np.array_equal(Classes().palette, voc_palette())
