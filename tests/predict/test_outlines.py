"""Outlines of regions: filled by the rules of `pipeline.convert`, they give the mask."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from pipeline.convert.rasterize import Outlines, Shape
from pipeline.predict.outlines import Corner, along_edges, area, simplify, through_centres, trace
from pipeline.predict.regions import regions

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2))
UNCOVERED = 255


def painted(mask: np.ndarray, background: int | None, tolerance: float, kind: str, smallest: int = 0) -> np.ndarray:
    """What becomes of a mask by its outlines, along edges by COCO's rule or through centres by Pillow's."""
    shapes = []
    for region in regions(mask, background, tolerance, smallest)[0]:
        edges = tuple(value for point in along_edges(region.corners) for value in point)
        data = (edges,) if kind == "coco" else tuple(through_centres(region.corners))
        shapes.append(Shape(region.index, kind, data))
    outside = UNCOVERED if background is None else background
    return Outlines(tuple(shapes), outside, (mask.shape[1], mask.shape[0])).read((0, 0))


def blobs(seed: int, classes: int = 3, size: tuple[int, int] = (60, 80)) -> np.ndarray:
    """Smooth regions, as those of a prediction."""
    rng = np.random.default_rng(seed)
    fields = [ndimage.gaussian_filter(rng.random(size), 4) for _ in range(classes)]
    return np.asarray(np.stack(fields).argmax(0).astype(np.uint8))


@pytest.fixture(params=["coco", "polygon"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param == "coco":
        pytest.importorskip("pycocotools")
    return str(request.param)


@pytest.mark.parametrize("background", [None, 0, 1])
def test_exact_outlines_give_the_mask(kind: str, background: int | None) -> None:
    @settings(max_examples=80, deadline=None)
    @given(MASKS)
    def check(mask: np.ndarray) -> None:
        np.testing.assert_array_equal(painted(mask, background, 0, kind), mask)

    check()


@pytest.mark.parametrize("tolerance", [1, 2.5])
def test_simplified_outlines_are_wrong_near_edges_alone(kind: str, tolerance: float) -> None:
    """A wrong pixel has one of another class within the tolerance, and half the diagonal of both pixels."""

    @settings(max_examples=10, deadline=None)
    @given(st.integers(0, 2**32 - 1))
    def check(seed: int) -> None:
        mask = blobs(seed)
        found = painted(mask, None, tolerance, kind)
        far = np.zeros(mask.shape, bool)
        for index in range(3):
            far |= (mask == index) & (ndimage.distance_transform_edt(mask == index) > tolerance + math.sqrt(2))
        assert (found == mask)[far].all()
        inside = [((found == index) & (mask == index)).sum() / (mask == index).sum() for index in np.unique(mask)]
        assert tolerance > 1 or min(inside) > 0.85

    check()


def test_a_shared_border_leaves_no_gap() -> None:
    for seed in range(5):
        mask = blobs(seed)
        assert not (painted(mask, None, 1, "polygon") == UNCOVERED).any()


def test_a_staircase_becomes_a_line() -> None:
    numbers = np.zeros((14, 14), int)
    numbers[1:13, 1:13] = np.tril(np.ones((12, 12), int))
    corners = trace(numbers, 1, 0, 0)
    assert len(corners) == 26 and area(corners) == 78
    assert along_edges(simplify(corners, 1)) == [(1, 1), (13, 13), (1, 13)]


def test_outlines_of_a_pixel_and_of_a_line_have_three_points() -> None:
    numbers = np.zeros((3, 6), int)
    numbers[1, 1:5] = 1
    corners = trace(numbers, 1, 10, 20)
    assert along_edges(corners) == [(11, 21), (15, 21), (15, 22), (11, 22)]
    assert through_centres(corners) == [(11.5, 21.5), (14.5, 21.5), (14.5, 21.5)]
    assert simplify(corners, 1) == corners  # it would vanish
    numbers[1, 1:4] = 0
    assert through_centres(trace(numbers, 1, 10, 20)) == [(14.5, 21.5)] * 3


def test_corners_where_regions_meet_stay() -> None:
    ring = [(0, 0), (5, 0), (10, 0), (10, 9), (0, 9)]
    corners = [Corner(x, y, (0, 0), (0, 0), x == 5) for x, y in ring]
    kept = [(corner.x, corner.y) for corner in simplify(corners, 3)]
    assert kept == [(5, 0), (10, 0), (10, 9), (0, 9), (0, 0)]


HOLE = np.zeros((12, 12), np.uint8)
HOLE[1:11, 1:11] = 1
HOLE[3:8, 3:8] = 0
HOLE[4:7, 4:7] = 2
HOLE[0, 11] = 2


def test_what_is_in_a_hole_is_painted_later() -> None:
    found, specks = regions(HOLE, 0, 0, 0)
    assert [(region.index, region.depth, region.has_holes) for region in found] == [
        (1, 0, True), (0, 1, True), (2, 2, False), (2, 0, False),
    ]  # fmt: skip
    assert specks == 0
    assert [(region.left, region.top, *region.pixels.shape) for region in found[:2]] == [(1, 1, 10, 10), (3, 3, 5, 5)]


def test_small_regions_are_left_out_and_counted() -> None:
    found, specks = regions(HOLE, 0, 0, 10)
    assert specks == 2  # of 9 pixels and of 1
    assert [region.index for region in found] == [1, 0]
    assert [region.index for region in regions(HOLE, 0, 0, 17)[0]] == [1]
    assert len(regions(HOLE, 0, 0, 1000)[0]) == 4  # a mask of nothing else keeps them
