"""The comparison as PNGs: curves, parallel coordinates, IoU of each class, and a sheet of images."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from pipeline.compare.analysis import Analysis
from pipeline.compare.colours import run_colour
from pipeline.compare.examples import ComparedImage
from pipeline.compare.parallel_coordinates import parallel_axes
from pipeline.compare.runs import CURVE
from pipeline.data.palette import voc_palette
from pipeline.evaluate.figures import drawable, figure_style, to_image
from pipeline.evaluate.overlay import FAINT_INK, INK, PAPER, blend, font, lettering, write_png

INCHES = (10.0, 5.6)
LONGEST_LABEL, LONGEST_HEADING = 28, 60  # characters
ROWS = 8  # images on the sheet
PANEL, GAP, MARGIN, LETTER = 168, 10, 24, 15  # pixels


def write_charts(folder: Path, answer: Analysis) -> list[Path]:
    """Write curves.png, parallel_coordinates.png, per_class.png and images.png, as far as there is something to show.

    Returns:
        The files that were written.
    """
    written = []
    with figure_style():
        for name, figure in (
            ("curves.png", curves_figure(answer)),
            ("parallel_coordinates.png", parallel_figure(answer)),
            ("per_class.png", class_figure(answer)),
        ):
            if figure is not None:
                write_png(folder / name, to_image(figure))
                written.append(folder / name)
    if (sheet := image_sheet(answer)) is not None:
        write_png(folder / "images.png", sheet)
        written.append(folder / "images.png")
    return written


def curves_figure(answer: Analysis) -> Figure | None:
    """Validation mean IoU by epoch, a line for each run."""
    lines = [(place, sorted(run.curves.get(CURVE, {}).items())) for place, run in enumerate(answer.runs)]
    if not any(points for _, points in lines):
        return None
    figure = Figure(INCHES, dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="validation mean IoU")
    for place, points in reversed(lines):  # the best is drawn last, over the others
        if points:
            label = drawable(answer.headings[place], LONGEST_HEADING) if place < 12 else None
            width, marker = (2.4 if place == 0 else 1.4), ("o" if len(points) < 30 else None)
            axes.plot(
                *zip(*points, strict=True), color=run_colour(place), linewidth=width, marker=marker, ms=3, label=label
            )
    axes.grid(axis="y")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=9)
    return figure


def parallel_figure(answer: Analysis) -> Figure | None:
    """An axis for each parameter that varies and one for the score; a line for each run."""
    axes_of = parallel_axes(answer.runs, answer.varying)
    if len(axes_of) < 2:
        return None
    figure = Figure(INCHES, dpi=120, layout="constrained")
    axes = figure.add_subplot(xlim=(-0.25, len(axes_of) - 0.6), ylim=(-0.06, 1.06))
    for place in reversed(range(len(answer.runs))):
        heights = [height for axis in axes_of if (height := axis.heights[place]) is not None]
        if len(heights) == len(axes_of):
            axes.plot(range(len(heights)), heights, color=run_colour(place), linewidth=2.6 if place == 0 else 1.4)
    for number, axis in enumerate(axes_of):
        axes.axvline(number, color="#888888", linewidth=1)
        for height, text in axis.ticks:
            label = axes.text(
                number + 0.02, height, drawable(text, LONGEST_LABEL), va="center", fontsize=9, color="#333333", zorder=5
            )
            label.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.85})
    axes.set_xticks(range(len(axes_of)), [drawable(axis.name, LONGEST_LABEL) for axis in axes_of])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    return figure


def class_figure(answer: Analysis) -> Figure | None:
    """IoU of each class on the test split, a dot for each run."""
    runs = [place for place, run in enumerate(answer.runs) if run.class_iou][:12]
    if not runs:
        return None
    classes = list(answer.classes or answer.runs[runs[0]].class_iou)
    figure = Figure((INCHES[0], 1.6 + 0.32 * len(classes)), dpi=120, layout="constrained")
    axes = figure.add_subplot(xlabel="IoU on the test split", ylim=(len(classes) - 0.5, -0.5))
    for row, name in enumerate(classes):
        values = [value for place in runs if (value := answer.runs[place].class_iou.get(name)) is not None]
        if values:
            axes.plot([min(values), max(values)], [row, row], color="#cccccc", linewidth=3, zorder=1)
    for place in reversed(runs):
        points = [
            (value, row)
            for row, name in enumerate(classes)
            if (value := answer.runs[place].class_iou.get(name)) is not None
        ]
        if points:
            label = drawable(answer.headings[place], LONGEST_HEADING)
            across, down = zip(*points, strict=True)
            axes.scatter(across, down, s=34, color=run_colour(place), label=label)
    axes.set_yticks(range(len(classes)), [drawable(name, LONGEST_LABEL) for name in classes])
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False, fontsize=9)
    return figure


def image_sheet(answer: Analysis) -> Image.Image | None:
    """Test images with the largest differences, or validation images at the last epoch: a column for each run."""
    images = (answer.images.test or answer.images.val)[:ROWS]
    if not images:
        return None
    heads = ["photograph", "truth", *(answer.headings[place] for place in answer.columns)]
    if all(image.photograph is None for image in images):
        heads = heads[2:]
    lines = [_wrapped(head) for head in heads]
    top = MARGIN + round(max(map(len, lines)) * 1.25 * LETTER) + GAP
    heights = [_panel(image)[0] + round(1.6 * LETTER) + GAP for image in images]
    width = len(heads) * (PANEL + GAP) - GAP
    legend = _legend(answer, width)
    sheet = Image.new("RGB", (2 * MARGIN + width, top + sum(heights) + legend.height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    sheet.paste(legend, (MARGIN, top + sum(heights)))
    for column, wrapped in enumerate(lines):
        x = MARGIN + column * (PANEL + GAP)
        for number, line in enumerate(wrapped):
            draw.text((x, MARGIN + round(number * 1.25 * LETTER)), line, INK, font(LETTER))
    y = top
    for image, height in zip(images, heights, strict=True):
        panels = _panels(image)[-len(heads) :]
        for column, (panel, note) in enumerate(panels):
            x = MARGIN + column * (PANEL + GAP)
            if panel is not None:
                sheet.paste(panel, (x, y))
            text = lettering(image.id if column == 0 and len(heads) > len(answer.columns) else note, 13, PANEL)
            draw.text((x, y + _panel(image)[0] + 2), text, FAINT_INK, font(13))
        y += height
    return sheet


def _legend(answer: Analysis, width: int) -> Image.Image:
    """The classes with their colours, in as many lines as they need."""
    line, entries, x, y = round(1.6 * LETTER), [], 0, 0
    for colour, name in zip(voc_palette().tolist(), answer.classes, strict=False):
        text = lettering(name, LETTER, width - line)
        length = line + round(font(LETTER).getlength(text)) + LETTER
        if x and x + length > width:
            x, y = 0, y + line
        entries.append((x, y, tuple(colour), text))
        x += length
    legend = Image.new("RGB", (width, y + line), PAPER)
    draw = ImageDraw.Draw(legend)
    for index, (x, y, fill, text) in enumerate(entries):
        # Background has no colour over the photograph; its swatch is an empty frame.
        draw.rectangle((x, y + 3, x + LETTER, y + 3 + LETTER), fill=fill if index else PAPER, outline=FAINT_INK)
        draw.text((x + round(1.4 * LETTER), y + 1), text, INK, font(LETTER))
    return legend


def _panels(image: ComparedImage) -> list[tuple[Image.Image | None, str]]:
    """Photograph, truth and each run's prediction, each scaled to the column, with a note."""
    height, width = image.size
    ground = image.photograph or Image.new("RGB", (width, height), (235, 235, 235))
    photograph = np.asarray(ground.resize((width, height)))
    size = _panel(image)[::-1]

    def scaled(pixels: np.ndarray) -> Image.Image:
        return Image.fromarray(pixels).resize(size, Image.Resampling.BOX if width > PANEL else Image.Resampling.NEAREST)

    last = max(image.masks)
    panels: list[tuple[Image.Image | None, str]] = [(scaled(photograph), "")]
    panels.append((None if image.truth is None else scaled(blend(photograph, image.truth, 0.7)), ""))
    for mask, ious in zip(image.masks[last], image.ious[last], strict=True):
        note = f"IoU {ious[0]:.3f}" if np.isfinite(ious[0]) else ""
        panels.append((None if mask is None else scaled(blend(photograph, mask, 0.7)), note))
    return panels


def _panel(image: ComparedImage) -> tuple[int, int]:
    """Height and width of an image on the sheet."""
    height, width = image.size
    return max(1, min(2 * PANEL, round(height * PANEL / width))), PANEL


def _wrapped(text: str) -> list[str]:
    """A heading at its commas on at most four lines of a column's width."""
    return [lettering(part, LETTER, PANEL) for part in text.split(", ")[:4]]
