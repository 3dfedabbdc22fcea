"""What training takes (`TrainingSetup`), whom it reports to (`TrainingObserver`) and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data.classes import Classes
from pipeline.data.prepare import Dataset
from pipeline.data.sampling import repeat_factors
from pipeline.data.stream import steps_per_epoch, training_stream
from pipeline.data.training_images import TrainingImages
from pipeline.evaluate.evaluator import Evaluator, OnPrediction
from pipeline.evaluate.metrics import Scores
from pipeline.model.weights import Arrays
from pipeline.train.compiled import CompiledNetwork
from pipeline.train.ending import EndedBy


class TrainingObserver(Protocol):
    """Is called at the end of every epoch. Epochs are counted from 1."""

    def on_validation_begin(self, epoch: int) -> OnPrediction:
        """Validation begins. Returns the function that is called with each validation image's prediction."""

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        """The epoch is trained and validated, and its checkpoint is not committed yet.

        A process that is killed here repeats the epoch: the same metrics then come again.

        Args:
            metrics: by their names in MLflow.
        """

    def on_checkpoint_saved(self, epoch: int, metrics: dict[str, float], last: Path, best: Path) -> bool:
        """The epoch's checkpoint is committed. Returns whether training is to stop here.

        Args:
            metrics: as in `on_epoch_end`.
            last: folder of the epoch's checkpoint.
            best: folder of the weights of the best epoch so far.
        """


@dataclass(frozen=True)
class TrainingSetup:
    """All that `fit` needs, besides the checkpoint that it starts from."""

    network: CompiledNetwork
    # The batches from a step on: ((batch, crop, crop, 3) uint8, (batch, crop, crop) uint8).
    batches_from: Callable[[int], tf.data.Dataset]
    steps_per_epoch: int
    validate: Evaluator
    config: Config
    checkpoints: Path  # the run's folder of checkpoints
    observer: TrainingObserver
    last_epoch: int | None = None  # of a rerun: after which the original ended


@dataclass(frozen=True)
class TrainingResult:
    """The epoch with the highest validation mIoU, and the last one."""

    best_epoch: int  # from 1
    best_scores: Scores
    best_weights: Arrays  # as evaluated: the moving average where there is one
    best_weights_sha256: str
    last_weights_sha256: str
    last: Path  # folders of the two checkpoints
    best: Path
    earlier_seconds: float  # of training in earlier processes, which were interrupted
    stopped: bool  # whether the observer stopped training before its last epoch
    ended_by: EndedBy | None  # what ended it otherwise


def training_setup(
    network: CompiledNetwork,
    dataset: Dataset,
    images: TrainingImages,
    config: Config,
    checkpoints: Path,
    observer: TrainingObserver,
    last_epoch: int | None = None,
) -> TrainingSetup:
    """The setup that a configuration describes.

    Args:
        images: of the training split.
        checkpoints: the run's folder of checkpoints.
        last_epoch: of a rerun, after which the original ended.
    """
    return TrainingSetup(
        network=network,
        batches_from=lambda step: training_batches(step, images, dataset, config),
        steps_per_epoch=steps_per_epoch(len(dataset.splits["train"]), config),
        validate=Evaluator(network.scorer, dataset.splits["val"], dataset.sizes("val"), config),
        config=config,
        checkpoints=checkpoints,
        observer=observer,
        last_epoch=last_epoch,
    )


def training_batches(step: int, images: TrainingImages, dataset: Dataset, config: Config) -> tf.data.Dataset:
    """The training batches of a run from a step on: ((batch, crop, crop, 3) uint8, (batch, crop, crop) uint8).

    Args:
        step: counted from 0 over all epochs.
        images: of the training split.
    """
    factors = None
    if config.sampling == "balanced":
        factors = repeat_factors(dataset.class_pixels("train"), Classes.of(config.dataset).background)
    return training_stream(images, len(dataset.splits["train"]), config, step, factors)
