"""The confusion matrix as an image: how the pixels of each true class were predicted, and the IoU of each class."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from PIL import Image, ImageChops

from pipeline.evaluate.figures import FAINT_INK, GRID, INK, drawable, figure_style, to_image
from pipeline.evaluate.metrics import iou_per_class, mean_iou

# ColorBrewer's Blues, but from white: even a few percent differ from an empty cell. "bad" is a class without pixels.
BLUES = matplotlib.colormaps["Blues"](np.linspace(0.1, 1, 10))
COLOURS = LinearSegmentedColormap.from_list("share", ["white", *BLUES]).with_extremes(bad="#d4d4d4")
BAR, BAR_GROUND = COLOURS(0.7), "#eeeeee"
WHITE_TEXT = 0.65  # from this share on, white text has more contrast with the cell than dark text
LONGEST_NAME = 28  # characters

# All lengths are in pixels.
DPI = 100
MATRIX_SIDE, SMALLEST_CELL, LARGEST_CELL = 760, 14, 140
CELL_FOR_TEXT, CELL_FOR_DECIMAL = 24, 56  # from this size on a cell shows its percentage, and one decimal of it
BAR_LENGTH, SCALE_WIDTH, SCALE_HEIGHT, GAP, MARGIN = 120, 14, 320, 24, 24
ROOM = 480  # around the matrix, for names and titles; what stays empty is cropped


def confusion_image(confusion_matrix: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """A heat map of the row-normalised matrix, with the IoU of each class next to its row, as a mode RGB image.

    Cells show their percentage where it fits (up to 31 classes), and nothing where it rounds to 0. A class without
    true pixels has a grey row; its IoU is '-' if it was never predicted either.

    Args:
        confusion_matrix: (classes, classes) integer counts of pixels; rows are the true class.
        classes: names in index order.

    Raises:
        ValueError: the matrix has another shape or dtype, or a negative count.
    """
    _check(confusion_matrix, classes)
    with figure_style():
        image = to_image(confusion_figure(confusion_matrix, classes))
    drawn = ImageChops.invert(image).getbbox()  # of all that is not white
    assert drawn is not None
    left, top, right, bottom = drawn
    return image.crop((left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN))


def confusion_figure(confusion_matrix: np.ndarray, classes: Sequence[str]) -> Figure:
    """The figure of `confusion_image`: axes of the matrix, of the IoUs and of the colour scale, in this order."""
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, MATRIX_SIDE // len(classes)))
    side = len(classes) * cell
    width, height = side + 2 * ROOM, side + 2 * ROOM
    figure = Figure((width / DPI, height / DPI), dpi=DPI)

    def axes_at(left: int, axes_width: int, axes_height: int) -> Axes:
        """Axes whose upper edge is that of the matrix."""
        bottom = ROOM + side - axes_height
        return figure.add_axes((left / width, bottom / height, axes_width / width, axes_height / height))

    bars_left = ROOM + side + GAP
    matrix = axes_at(ROOM, side, side)
    bars = axes_at(bars_left, BAR_LENGTH, side)
    scale = axes_at(bars_left + BAR_LENGTH + 3 * GAP, SCALE_WIDTH, min(SCALE_HEIGHT, side))

    _draw_matrix(matrix, confusion_matrix, [_label(index, name) for index, name in enumerate(classes)], cell)
    _draw_ious(bars, iou_per_class(confusion_matrix), mean_iou(confusion_matrix), cell)
    figure.colorbar(matrix.images[0], cax=scale, format=PercentFormatter(1), ticks=np.linspace(0, 1, 5))
    scale.tick_params(length=3, labelsize=9)
    scale.spines[:].set_visible(False)
    return figure


def _draw_matrix(axes: Axes, confusion_matrix: np.ndarray, labels: list[str], cell: int) -> None:
    true_pixels = confusion_matrix.sum(axis=1)
    share = confusion_matrix / np.maximum(true_pixels, 1)[:, None]  # (true, predicted), 0 to 1
    share[true_pixels == 0] = np.nan
    axes.imshow(share, cmap=COLOURS, vmin=0, vmax=1, interpolation="nearest", aspect="auto")
    if cell >= CELL_FOR_TEXT:
        _write_percentages(axes, share, cell)
    _write_class_names(axes, labels, true_pixels > 0, cell)
    _write_titles(axes, has_grey=bool((true_pixels == 0).any()))
    edges = np.arange(len(labels) + 1) - 0.5
    axes.hlines(edges, edges[0], edges[-1], color=GRID, linewidth=0.7, clip_on=False)
    axes.vlines(edges, edges[0], edges[-1], color=GRID, linewidth=0.7, clip_on=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _write_percentages(axes: Axes, share: np.ndarray, cell: int) -> None:
    decimals = int(cell >= CELL_FOR_DECIMAL)
    size = _points(min(16, 0.38 * cell))
    for (row, column), value in np.ndenumerate(share):
        text = f"{100 * value:.{decimals}f}"
        if not np.isnan(value) and float(text) > 0:
            ink = "white" if value > WHITE_TEXT else INK
            axes.text(column, row, text, color=ink, size=size, ha="center", va="center_baseline")


def _write_class_names(axes: Axes, labels: list[str], has_pixels: np.ndarray, cell: int) -> None:
    letter = min(14, 0.8 * cell)  # pixels
    axes.set_xticks(range(len(labels)), labels, size=_points(letter))
    axes.set_yticks(range(len(labels)), labels, size=_points(letter))
    for label, has in zip(axes.get_yticklabels(), has_pixels, strict=True):
        label.set_color(INK if has else FAINT_INK)
    if 0.6 * letter * max(map(len, labels)) < cell:  # names fit below their columns
        return
    for label in axes.get_xticklabels():
        if cell >= 2 * SMALLEST_CELL:
            label.set(rotation=45, rotation_mode="anchor", horizontalalignment="right")
        else:
            label.set_rotation(90)


def _write_titles(axes: Axes, has_grey: bool) -> None:
    axes.set_xlabel("predicted class", labelpad=10)
    axes.set_ylabel("true class", labelpad=10)
    subtitle = "percent of the true class's pixels" + ("\ngrey: class without true pixels" if has_grey else "")
    axes.set_title("Confusion matrix", loc="left", pad=44 if has_grey else 30, size=15)
    axes.annotate(
        subtitle, (0, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", color=FAINT_INK, va="bottom"
    )


def _draw_ious(axes: Axes, ious: np.ndarray, mean: float, cell: int) -> None:
    rows = range(len(ious))
    exists = ~np.isnan(ious)
    thickness = min(0.7, 22 / cell)
    axes.barh(rows, np.where(exists, 1, 0), thickness, color=BAR_GROUND)
    axes.barh(rows, np.nan_to_num(ious), thickness, color=BAR)
    size = _points(min(13, 0.8 * cell))
    for row, iou in enumerate(ious):
        text = f"{100 * iou:.1f}" if exists[row] else "-"
        axes.text(1.33, row, text, size=size, ha="right", va="center_baseline", color=INK if exists[row] else FAINT_INK)
    axes.set(xlim=(0, 1), ylim=(len(ious) - 0.5, -0.5))  # rows of the matrix
    axes.set_axis_off()
    axes.set_title(
        "IoU, %\nmean " + ("-" if np.isnan(mean) else f"{100 * mean:.1f}"), loc="left", size=10, color=FAINT_INK, pad=8
    )


def _label(index: int, name: str) -> str:
    """The name, preceded by the class index if the font lacks some of its characters."""
    label = drawable(name, LONGEST_NAME)
    return f"{index}: {label}" if "?" in label and "?" not in name else label


def _points(pixels: float) -> float:
    return pixels * 72 / DPI


def _check(confusion_matrix: np.ndarray, classes: Sequence[str]) -> None:
    expected = (len(classes), len(classes))
    if confusion_matrix.shape != expected or not classes or not np.issubdtype(confusion_matrix.dtype, np.integer):
        raise ValueError(
            f"confusion_matrix is {confusion_matrix.dtype} {confusion_matrix.shape}, expected integers {expected}, "
            f"a row and a column for each of the {len(classes)} classes"
        )
    if (confusion_matrix < 0).any():
        raise ValueError(f"confusion_matrix has the count {confusion_matrix.min()}, expected 0 or more pixels")
