"""The comparison as PNGs: curves, parallel coordinates and IoU of each class by matplotlib; and the sheet of images."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pipeline.compare.analysis import Analysis
from pipeline.compare.image_sheet import image_sheet
from pipeline.compare.parallel_coordinates import Axis, parallel_axes
from pipeline.compare.runs import CURVE, run_colour
from pipeline.evaluate.figures import drawable, figure_style, to_image
from pipeline.evaluate.overlay import write_png

CHARTS = ("curves.png", "parallel_coordinates.png", "per_class.png", "images.png")
SIZE, DPI = (10.0, 5.6), 120  # inches
LONGEST_LABEL, LONGEST_HEADING = 28, 60  # characters
MOST_IN_LEGEND = 12  # runs


def write_charts(folder: Path, analysis: Analysis) -> list[Path]:
    """Write the files of CHARTS, each if there is anything to show.

    Returns:
        The files that were written.
    """
    with figure_style():
        figures = (curves_figure(analysis), parallel_figure(analysis), class_figure(analysis))
        images = [None if figure is None else to_image(figure) for figure in figures]
    drawn = {
        name: image for name, image in zip(CHARTS, (*images, image_sheet(analysis)), strict=True) if image is not None
    }
    for name, image in drawn.items():
        write_png(folder / name, image)
    return [folder / name for name in drawn]


def curves_figure(analysis: Analysis) -> Figure | None:
    """Validation mean IoU by epoch, a line for each run; None if no run has any."""
    curves = [(place, sorted(run.curves.get(CURVE, {}).items())) for place, run in enumerate(analysis.runs)]
    curves = [(place, points) for place, points in curves if points]
    if not curves:
        return None
    figure = Figure(SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="validation mean IoU")
    for place, points in reversed(curves):  # the best run is drawn last, over the others
        epochs, scores = zip(*points, strict=True)
        axes.plot(
            epochs,
            scores,
            color=run_colour(place),
            linewidth=2.4 if place == 0 else 1.4,
            marker="o" if len(points) < 30 else None,
            markersize=3,
            label=_run_label(analysis, place) if place < MOST_IN_LEGEND else None,
        )
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _add_legend(figure, axes)
    return figure


def parallel_figure(analysis: Analysis) -> Figure | None:
    """An axis for each varying parameter and one for the score, a line for each run; None with fewer than two axes."""
    parallel = parallel_axes(analysis.runs, analysis.varying)
    if len(parallel) < 2:
        return None
    figure = Figure(SIZE, dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlim=(-0.25, len(parallel) - 0.6), ylim=(-0.06, 1.06))
    for place in reversed(range(len(analysis.runs))):
        heights = [height for axis in parallel if (height := axis.heights[place]) is not None]
        if len(heights) == len(parallel):
            axes.plot(range(len(heights)), heights, color=run_colour(place), linewidth=2.6 if place == 0 else 1.4)
    _draw_parallel_axes(axes, parallel)
    return figure


def _draw_parallel_axes(axes: Axes, parallel: Sequence[Axis]) -> None:
    for number, axis in enumerate(parallel):
        axes.axvline(number, color="#888888", linewidth=1)
        for height, text in axis.ticks:
            label = drawable(text, LONGEST_LABEL)
            written = axes.text(number + 0.02, height, label, va="center", fontsize=9, color="#333333", zorder=5)
            written.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85})
    axes.set_xticks(range(len(parallel)), [drawable(axis.name, LONGEST_LABEL) for axis in parallel])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def class_figure(analysis: Analysis) -> Figure | None:
    """IoU of each class on the test split, a dot for each run; None if no run has any."""
    places = [place for place, run in enumerate(analysis.runs) if run.class_iou][:MOST_IN_LEGEND]
    if not places:
        return None
    classes = list(analysis.classes.names or analysis.runs[places[0]].class_iou)
    figure = Figure((SIZE[0], 1.6 + 0.32 * len(classes)), dpi=DPI, layout="constrained")
    axes = figure.add_subplot(xlabel="IoU on the test split", ylim=(len(classes) - 0.5, -0.5))
    ious = {place: [analysis.runs[place].class_iou.get(name) for name in classes] for place in places}
    for row in range(len(classes)):  # a line from the lowest to the highest IoU
        values = [value for of_run in ious.values() if (value := of_run[row]) is not None]
        if values:
            axes.plot([min(values), max(values)], [row, row], color="#cccccc", linewidth=3, zorder=1)
    for place in reversed(places):
        points = [(value, row) for row, value in enumerate(ious[place]) if value is not None]
        if points:
            across, down = zip(*points, strict=True)
            axes.scatter(across, down, s=34, color=run_colour(place), label=_run_label(analysis, place))
    axes.set_yticks(range(len(classes)), [drawable(name, LONGEST_LABEL) for name in classes])
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    _add_legend(figure, axes)
    return figure


def _run_label(analysis: Analysis, place: int) -> str:
    return drawable(analysis.headings[place], LONGEST_HEADING)


def _add_legend(figure: Figure, axes: Axes) -> None:
    """The runs in the order of the ranking, which is the reverse of the order in which they were drawn."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=9)
