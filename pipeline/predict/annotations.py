"""Predictions as files of labelling tools, so that people correct outlines instead of drawing them: `format=`."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.data.classes import Classes
from pipeline.data.image_files import read_index_mask
from pipeline.data.pixels import turn_array
from pipeline.predict import coco_file, cvat_file, labelme_file
from pipeline.predict.drawn import Drawn
from pipeline.predict.regions import regions
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import link_or_copy
from pipeline.runtime.text import nearest, one_of

WRITERS = {"labelme": labelme_file.write, "coco": coco_file.write, "cvat": cvat_file.write}
KEYS = ("format", "tolerance", "smallest")
TOLERANCE, SMALLEST = 1.0, 16  # pixels
IMAGES = {"labelme": "", "coco": "images", "cvat": "images"}  # the folder of the images


@dataclass(frozen=True)
class Predicted:
    """An image whose prediction is written."""

    image: Path
    mask: Path
    turn: int  # the EXIF orientation by which the mask is turned to fit the image as viewers display it


@dataclass
class Annotations:
    """Writes predictions as one tool's files, in a folder with the images."""

    format: str
    folder: Path
    tolerance: float = TOLERANCE
    smallest: int = SMALLEST
    _specks: int = field(default=0, init=False)

    def write(self, predicted: Sequence[Predicted], classes: Classes) -> str:
        """Write the folder, whole or not at all; returns what it holds, in words.

        Args:
            predicted: in the order in which the files list them.
        """
        hidden = self.folder.with_name(f".{self.folder.name}.unfinished")
        shutil.rmtree(hidden, ignore_errors=True)
        images = hidden / IMAGES[self.format]
        images.mkdir(parents=True)
        for one in predicted:
            link_or_copy(one.image, images / one.image.name)
        outlines = WRITERS[self.format](hidden, self._drawn(predicted, classes), classes)
        hidden.rename(self.folder)
        text = f"{len(predicted)} images and {outlines} outlines for {self.format} in {self.folder}"
        if self._specks:
            text += f"; left out: {self._specks} regions of fewer than {self.smallest} pixels (smallest=…)"
        return text

    def _drawn(self, predicted: Sequence[Predicted], classes: Classes) -> Iterator[Drawn]:
        for one in predicted:
            mask = turn_array(read_index_mask(one.mask), one.turn)
            found, specks = regions(mask, classes.background, self.tolerance, self.smallest)
            self._specks += specks
            height, width = mask.shape
            yield Drawn(one.image.name, width, height, found)


def annotations_of(given: Mapping[str, str], output: Path) -> Annotations | None:
    """What `format=`, `tolerance=` and `smallest=` ask for; None without a format.

    Args:
        output: the folder for the results.

    Raises:
        UserError: with every fault of these keys, or the tool's folder exists, which may hold corrections.
    """
    faults = []
    kind = given.get("format")
    if kind is None:
        faults += [f"{key}={given[key]}: needs format={one_of(list(WRITERS))}" for key in KEYS[1:] if key in given]
    elif kind not in WRITERS:
        faults.append(f"format={kind}: {one_of(list(WRITERS))} expected{nearest(kind, list(WRITERS))}")
    elif (output / kind).exists():
        faults.append(
            f"format={kind}: {output / kind} exists already and may hold corrections; move it away, or choose another "
            "output"
        )
    tolerance = _number(given.get("tolerance", str(TOLERANCE)))
    if not 0 <= tolerance < math.inf:
        faults.append(f"tolerance={given['tolerance']}: a number of pixels expected, 0 or more")
    smallest = _number(given.get("smallest", str(SMALLEST)))
    if not (0 <= smallest < math.inf and smallest.is_integer()):
        faults.append(f"smallest={given['smallest']}: a whole number of pixels expected, 0 or more")
    if faults:
        raise UserError(*faults)
    return None if kind is None else Annotations(kind, output / kind, tolerance, int(smallest))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
