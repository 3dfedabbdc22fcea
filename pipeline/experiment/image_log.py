"""The fixed choice of a split as images by step, for MLflow's image grid, as long as a run's budget lasts."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from pipeline.config.schema import Config
from pipeline.data.classes import Classes
from pipeline.data.decode import decode_example
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example
from pipeline.evaluate.evaluator import OnPrediction
from pipeline.evaluate.image_tile import SMALL, ImageTile, as_webp
from pipeline.evaluate.metrics import image_confusion_matrix, mean_iou
from pipeline.experiment.messages import print_note
from pipeline.tracking.records import Images, Tags
from pipeline.tracking.step_images import LoggedImage, image_key
from pipeline.tracking.tracked_run import TrackedRun

MEGABYTE, THREADS = 10**6, 2
SPENT = "images_spent"  # tag: the budget in which the images of a step did not fit


class ImageLog:
    """Logs a few images of one split with their predictions, under the keys `<split>/<id>`.

    They are drawn by threads while the rest of the split is scored. What counts is what the journal has: a step that is
    repeated after a crash is not logged again, and a resumed run has as much of its budget left as the process before
    it had.
    """

    def __init__(self, run: TrackedRun, config: Config, split: str, chosen: Sequence[Example]) -> None:
        """Args: chosen: the examples; their files are read when the first step is drawn."""
        self._run, self._split, self._megabytes = run, split, config.evaluate.log_images or 0
        self._classes = Classes.of(config.dataset)
        self._chosen = {example.id for example in chosen}
        self._tiles: dict[str, tuple[ImageTile, np.ndarray]] = {}  # with the true mask, (height, width) uint8
        self._threads = ThreadPoolExecutor(THREADS, "images")
        self._drawn: dict[str, Future[LoggedImage]] = {}  # by id

    def collecting(self, step: int, on_prediction: OnPrediction) -> OnPrediction:
        """A callback that has the images of a step drawn, if they are to be logged, and passes all on to another."""
        self._drawn = {}
        if self._megabytes == 0 or self._is_logged(step) or self._is_spent():
            return on_prediction

        def collect(example: Example, prediction: np.ndarray) -> None:
            if example.id in self._chosen:
                self._drawn[example.id] = self._threads.submit(self._draw, example, prediction)
            on_prediction(example, prediction)

        return collect

    def log(self, step: int) -> None:
        """Log the images that were drawn for a step, if the budget suffices."""
        if not self._drawn:
            return
        images = {
            image_key(self._split, example_id): self._drawn[example_id].result() for example_id in sorted(self._drawn)
        }
        spent = sum(record.size for record in self._run.journal.of(Images))
        if spent + sum(image.size for image in images.values()) <= self._megabytes * MEGABYTE:
            self._run.log_images(self._split, images, step)
        else:
            self._run.set_tags({SPENT: str(self._megabytes)})
            print_note(
                f"evaluate.log_images={self._megabytes}: these megabytes are spent; from epoch {step} on, no images "
                "are logged"
            )

    def _is_logged(self, step: int) -> bool:
        logged = self._run.journal.of(Images)
        return any((record.split, record.step) == (self._split, step) for record in logged)

    def _is_spent(self) -> bool:
        """Whether a step did not fit in this budget before: later steps are then left out, even where they would."""
        tags = dict(self._run.journal.begin.tags)
        for record in self._run.journal.of(Tags):
            tags |= record.values
        return tags.get(SPENT) == str(self._megabytes)

    def _draw(self, example: Example, prediction: np.ndarray) -> LoggedImage:
        if example.id not in self._tiles:
            truth = read_index_mask(example.mask)
            self._tiles[example.id] = ImageTile(decode_example(example), truth, self._classes), truth
        tile, truth = self._tiles[example.id]
        matrix = image_confusion_matrix(truth, prediction, len(self._classes.names))
        drawn = tile.draw(prediction, mean_iou(matrix) if matrix.any() else None)
        return LoggedImage(as_webp(drawn), as_webp(drawn, SMALL))
