"""The examples of dataset=shapes: what is drawn, and what the masks hold."""

import numpy as np
import pytest

from pipeline.data.palette import VOID
from pipeline.data.synthetic import drawing


def test_every_class_occurs_and_nothing_else() -> None:
    masks = [drawing.render_example(index)[1] for index in range(40)]
    assert set(np.concatenate([mask.ravel() for mask in masks])) == {*range(len(drawing.CLASSES)), VOID}
    assert {mask.shape for mask in masks} == set(drawing.SIZES)


def test_classes_have_similar_shares_of_the_pixels() -> None:
    counts = sum(np.bincount(drawing.render_example(index)[1].ravel(), minlength=256) for index in range(150))
    objects = np.asarray(counts)[1 : len(drawing.CLASSES)]
    assert objects.max() < 2 * objects.min()


def test_void_is_a_thin_border() -> None:
    """Void pixels are within three pixels of a labelled one, and no class touches the background."""
    for index in range(20):
        mask = drawing.render_example(index)[1]
        assert 0.005 < (mask == VOID).mean() < 0.25
        reached = mask != VOID
        for _ in range(3):
            padded = np.pad(reached, 1)
            reached |= padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
        assert reached.mean() > 0.999
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            assert not ((one != other) & (one != VOID) & (other != VOID)).any()


@pytest.mark.parametrize("name", drawing.CLASSES[1:])
def test_outline_is_a_signed_distance_with_the_stated_area(name: str) -> None:
    area, outline = drawing.OUTLINES[name]
    axis, step = np.linspace(-2.5, 2.5, 501, retstep=True)
    x, y = np.meshgrid(axis, axis)
    distance = outline(x, y)
    assert (distance < 0).sum() * step**2 == pytest.approx(area, rel=0.02)
    slope = np.hypot(*np.gradient(distance, step))[np.abs(distance) < 0.1]
    assert np.median(slope) == pytest.approx(1, abs=0.01)  # except at corners, it rises by one per unit
    for direction in (0, 1):  # and nowhere faster
        assert np.abs(np.diff(distance, axis=direction)).max() < 1.0001 * step


@pytest.mark.parametrize("name", drawing.CLASSES[1:])
def test_mask_is_where_the_shape_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One shape of 40 x 40 pixels that lies inside the image: its pixels and half of its border have that area."""
    shape = drawing.Shape(drawing.CLASSES.index(name), x=60.3, y=55.8, side=40, angle=0.7, stretch=1.0)
    monkeypatch.setattr(drawing, "_place", lambda *_: [shape])
    mask = drawing.render_example(0)[1]
    assert (mask == shape.label).sum() + (mask == VOID).sum() / 2 == pytest.approx(40**2, rel=0.05)
    rows, columns = np.nonzero(mask == shape.label)
    assert abs(rows.mean() - shape.y) < 4 and abs(columns.mean() - shape.x) < 4


def test_hue_is_a_hint_only() -> None:
    """Most objects of a class have a hue near that of the class, but not all: the outline decides."""
    rng = np.random.Generator(np.random.PCG64(0))
    for label in range(1, len(drawing.CLASSES)):
        own = (label - 1) / (len(drawing.CLASSES) - 1)
        away = np.abs((np.array([drawing._hue(rng, label) for _ in range(2000)]) - own + 0.5) % 1 - 0.5)
        near = (away < 0.07).mean()  # half way to the next class
        assert 0.95 < near < 0.995


def test_example_depends_on_its_index_alone() -> None:
    image, mask = drawing.render_example(5)
    drawing.render_example(6)
    again = drawing.render_example(5)
    assert np.array_equal(image, again[0]) and np.array_equal(mask, again[1])
    assert image.dtype == mask.dtype == np.uint8 and image.shape == (*mask.shape, 3)
