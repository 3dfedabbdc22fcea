"""The fixed choice of a split as images by step, for MLflow's image grid, as long as a run's budget lasts."""

from collections.abc import Mapping, Sequence

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

MEGABYTE = 10**6
SPENT = "images_spent"  # tag: the budget in which the images of a step did not fit


class ImageLog:
    """Logs a few images of one split with their predictions, under the keys `<split>/<id>`.

    What counts is what the journal has: a step that is repeated after a crash is not logged again, and a resumed run
    has as much of its budget left as the process before it had.
    """

    def __init__(self, run: TrackedRun, config: Config, split: str, chosen: Sequence[Example]) -> None:
        """Args: chosen: the examples; their files are read when the first step is logged."""
        self._run, self._split, self._config = run, split, config
        self._budget = (config.evaluate.log_images or 0) * MEGABYTE
        self._chosen = {example.id: example for example in chosen} if self._budget else {}
        self._tiles: dict[str, tuple[ImageTile, np.ndarray]] = {}  # with the true mask, (height, width) uint8
        self._predictions: dict[str, np.ndarray] = {}

    def collecting(self, on_prediction: OnPrediction) -> OnPrediction:
        """A callback that keeps the predictions of the next step's images, and passes all on to another one."""
        self._predictions = {}

        def collect(example: Example, prediction: np.ndarray) -> None:
            if example.id in self._chosen:
                self._predictions[example.id] = prediction
            on_prediction(example, prediction)

        return collect

    def log(self, step: int) -> None:
        """Log the collected predictions, if the step is not logged yet and the budget suffices."""
        logged = self._run.journal.of(Images)
        if not self._predictions or any(record.split == self._split and record.step == step for record in logged):
            return
        if self._is_spent():
            return
        images = self._draw(self._predictions)
        if sum(image.size for image in images.values()) <= self._budget - sum(record.size for record in logged):
            self._run.log_images(self._split, images, step)
        else:
            self._run.set_tags({SPENT: str(self._config.evaluate.log_images)})
            print_note(
                f"evaluate.log_images={self._config.evaluate.log_images}: these megabytes are spent; from epoch {step} "
                "on, no images are logged"
            )

    def _is_spent(self) -> bool:
        """Whether a step did not fit in this budget before: later steps are then left out, even where they would."""
        tags = dict(self._run.journal.begin.tags)
        for record in self._run.journal.of(Tags):
            tags |= record.values
        return tags.get(SPENT) == str(self._config.evaluate.log_images)

    def _draw(self, predictions: Mapping[str, np.ndarray]) -> dict[str, LoggedImage]:
        images = {}
        for example_id, example in self._chosen.items():
            if example_id not in self._tiles:
                truth = read_index_mask(example.mask)
                classes = Classes.of(self._config.dataset)
                self._tiles[example_id] = ImageTile(decode_example(example), truth, classes), truth
            tile, truth = self._tiles[example_id]
            matrix = image_confusion_matrix(truth, predictions[example_id], len(self._config.dataset.classes))
            drawn = tile.draw(predictions[example_id], mean_iou(matrix) if matrix.any() else None)
            images[image_key(self._split, example_id)] = LoggedImage(as_webp(drawn), as_webp(drawn, SMALL))
        return images
