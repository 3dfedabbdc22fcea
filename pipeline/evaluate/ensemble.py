"""Runs whose networks predict together (`run=a,b,c`): loaded, checked to be alike, and scored."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.config.schema import Config
from pipeline.data.decode import decode_example
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example
from pipeline.evaluate.evaluator import OnPrediction
from pipeline.evaluate.metrics import Scores, image_confusion_matrix, intersection_and_union
from pipeline.evaluate.overrides import PIXEL_KEYS
from pipeline.evaluate.stored_network import StoredNetwork, load_stored_network
from pipeline.model.ensemble import Predict
from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import StoredRun

ALIKE = ("classes", "background", *PIXEL_KEYS)  # keys of `dataset` in which all members agree


@dataclass(frozen=True)
class Ensemble:
    """Stored networks that predict together; one alone is an ensemble of one."""

    members: tuple[StoredNetwork, ...]

    @property
    def config(self) -> Config:
        """That of the first run, whose data and colours are used."""
        return self.members[0].config

    @property
    def train_images(self) -> frozenset[str]:
        """SHA-256 of all images that a member was trained on."""
        return frozenset().union(*(member.train_images for member in self.members))

    def __str__(self) -> str:
        """`run a`, or `the mean of runs a, b and c`."""
        *others, last = [member.run_id for member in self.members]
        return f"the mean of runs {', '.join(others)} and {last}" if others else f"run {last}"


def load_ensemble(runs: Sequence[StoredRun]) -> Ensemble:
    """Load the networks of runs that predict together.

    TensorFlow gets the threads of the first run; each network has its own run's precision.

    Raises:
        UserError: one of them cannot be loaded, or their classes or the way in which they read images differ.
    """
    members: list[StoredNetwork] = []
    for run in runs:
        members.append(load_stored_network(run, members[0].config.threads if members else None))
    _require_alike(members)
    return Ensemble(tuple(members))


def score_ensemble(
    predict: Predict, examples: Sequence[Example], classes: int, on_prediction: OnPrediction | None = None
) -> Scores:
    """Score a split exactly, by an int64 confusion matrix at the images' own resolution.

    The members may have been trained with different losses, so their mean has none: NaN.

    Args:
        predict: of `pipeline.model.ensemble.ensemble_predictor`.
        on_prediction: called with each example and its prediction.
    """
    scores = Scores(np.zeros((classes, classes), np.int64), math.nan)
    for example in examples:
        prediction, _ = predict(decode_example(example))
        counts = image_confusion_matrix(read_index_mask(example.mask), prediction, classes)
        scores.confusion_matrix += counts
        if counts.any():
            scores.images[example.id] = np.stack(intersection_and_union(counts))
        if on_prediction is not None:
            on_prediction(example, prediction)
    return scores


def _require_alike(members: Sequence[StoredNetwork]) -> None:
    """Raises: UserError: the probabilities of the members are not those of the same classes, or of the same pixels."""
    first, *others = [(member.run_id, dataclasses.asdict(member.config.dataset)) for member in members]
    faults = [
        f"run={run_id}: dataset.{key} is {_shown(other[key])}, but {_shown(first[1][key])} in run {first[0]}; runs "
        "that agree in it expected"
        for run_id, other in others
        for key in ALIKE
        if other[key] != first[1][key]
    ]
    if faults:
        raise UserError(*faults)


def _shown(value: object) -> str:
    return "null" if value is None else f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
