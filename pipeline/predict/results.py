"""What is written for each image, and at the end for all of them."""

import hashlib
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.classes import Classes
from pipeline.evaluate.ensemble import Ensemble
from pipeline.evaluate.overlay import to_palette_png, write_png
from pipeline.evaluate.overlay_sheet import overlay_sheet
from pipeline.evaluate.report import absent_class_notes, score_table, write_scores
from pipeline.predict.doubt import Doubt, doubt, ranked, write_doubts
from pipeline.predict.find_images import CONFIDENCE, MASK, OVERLAY, PROBABILITIES
from pipeline.predict.label_scores import LabelScores, describe
from pipeline.runtime.console import text_console
from pipeline.runtime.text import enumerated, plain

MOST_PRINTED = 5  # images of a ranking


class Results:
    """Writes the results of one image after the other, and collects what ranks and scores them."""

    def __init__(self, folder: Path, ensemble: Ensemble, ends: Collection[str]) -> None:
        """Args: ends: of the names of the files that are wanted for each image."""
        self.folder, self.count = folder, 0
        self.classes = Classes.of(ensemble.config.dataset)
        self._overlays = ensemble.config.evaluate.overlays
        self._ends = ends
        self._train_images, self._seen = ensemble.train_images, 0
        self._doubts: list[Doubt] = []
        self._labels = LabelScores(self.classes)

    def add(
        self, path: Path, image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray, probabilities: np.ndarray
    ) -> None:
        """Write the results of one image.

        Args:
            path: its file.
            image: (height, width, 3) uint8.
            truth: (height, width) uint8, its given mask, if there is one.
            prediction: (height, width) uint8.
            probabilities: (height, width, classes) float32.
        """
        heading = path.stem
        if truth is not None:
            self._labels.add(path.name, truth, prediction, probabilities)
            self._seen += hashlib.sha256(path.read_bytes()).hexdigest() in self._train_images
            heading = f"{heading} - {describe(self._labels.images[-1])}"
        # The overlay first: next to it the mask is known as a prediction.
        write_png(self._file(path, OVERLAY), overlay_sheet(image, truth, prediction, self.classes, heading))
        write_png(self._file(path, MASK), to_palette_png(prediction, self.classes.palette))
        if CONFIDENCE in self._ends:
            grey = np.rint(255 * probabilities.max(axis=-1)).astype(np.uint8)
            write_png(self._file(path, CONFIDENCE), Image.fromarray(grey))
        if PROBABILITIES in self._ends:
            names = np.array(self.classes.names)  # of a fixed length each, so that no pickle is needed
            half = probabilities.astype(np.float16)  # compressed, the file would be a tenth smaller and take far longer
            np.savez(self._file(path, PROBABILITIES), probabilities=half, classes=names)
        self._doubts.append(doubt(path.name, probabilities))
        self.count += 1

    @property
    def by_doubt(self) -> list[str]:
        """The names of the images, the most uncertain first."""
        return [found.image for found in ranked(self._doubts)]

    def finish(self, ranks: bool, scores: bool) -> None:
        """Write and print what all images show together.

        Args:
            ranks: whether the images are ranked by how uncertain their predictions are.
            scores: whether they are scored against given masks.
        """
        if ranks and self._doubts:
            write_doubts(self.folder / "doubt.csv", self._doubts)
            first = (f"{found.image} ({found.entropy:.3f})" for found in ranked(self._doubts)[:MOST_PRINTED])
            print(plain(f"most uncertain, by mean entropy in nats: {', '.join(first)}; all in doubt.csv"))
        if scores and self._labels.images:
            self._write_scores()

    def _write_scores(self) -> None:
        labels, names = self._labels, list(self.classes.names)
        write_scores(self.folder / "evaluation", names, labels.scores)
        labels.write(self.folder / "labels.csv")
        self._write_suspicious()
        console = text_console()
        console.print(score_table(names, {"input": labels.scores}))
        for note in absent_class_notes(names, {"input": labels.scores}):
            console.print(f"note: {note}", soft_wrap=True)
        first = [f"{found.image} ({describe(found)})" for found in labels.suspicious[:MOST_PRINTED]]
        print(plain(f"most suspicious masks: {enumerated(first)}; all in labels.csv"))
        if self._seen:
            print(
                f"warning: {self._seen} of these images are training images of the run, so their scores say nothing of "
                "new images, and labels that it has learnt look less suspicious"
            )
        if unscored := self.count - len(labels.images):
            print(f"{unscored} of {self.count} images have no mask to score them against")

    def _write_suspicious(self) -> None:
        """Copy the overlays of the most suspicious masks; those of an earlier ranking are removed."""
        folder = self.folder / "suspicious"
        folder.mkdir(exist_ok=True)
        for earlier in folder.iterdir():
            if re.fullmatch(r"\d{3,}_.*\.png", earlier.name):
                earlier.unlink()
        for place, found in enumerate(self._labels.suspicious[: self._overlays], start=1):
            stem = Path(found.image).stem
            shutil.copyfile(self.folder / f"{stem}{OVERLAY}", folder / f"{place:03d}_{stem}.png")

    def _file(self, path: Path, end: str) -> Path:
        return self.folder / f"{path.stem}{end}"
