"""From `dataset=…` to a checked dataset: make it or fetch it where it is not there, list it, look at every pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.schema import Config, LossConfig
from pipeline.data.check import Checked, SplitFacts, check_dataset
from pipeline.data.download.voc import ensure_voc
from pipeline.data.palette import VOID
from pipeline.data.synthetic.shapes import MARKER, make_shapes
from pipeline.data.voc import MASKS, Splits, find_examples
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent


@dataclass(frozen=True)
class Dataset:
    """A checked dataset: where it lies, its class names, its splits, and what is known of them."""

    root: Path
    classes: list[str]
    splits: Splits
    checked: Checked

    @property
    def absent_classes(self) -> list[str]:
        """Names of classes that no training mask contains: nothing can be learnt of them."""
        pixels = self.checked.facts["train"].class_pixels.sum(axis=0)
        return [name for name, count in zip(self.classes, pixels, strict=True) if count == 0]


def prepare_dataset(
    config: Config,
    progress: Progress = silent,
    only: Sequence[str] = ("train", "val", "test"),
    trains: bool = True,
) -> Dataset:
    """The dataset that the configuration names, complete and without faults.

    Args:
        only: the splits that are wanted; the others are neither looked for nor looked at.
        trains: whether the training split must be large enough for the configuration's training.

    Raises:
        UserError: it cannot be had, or its lists, images or masks have faults.
    """
    data_dir, name = Path(config.data_dir).expanduser(), config.dataset.name
    if config.dataset.root is not None:
        root = Path(config.dataset.root).expanduser()
        if name == "shapes" and root.is_dir() and not (root / MARKER).is_file():
            raise UserError(
                f"dataset.root={root}: holds no generated shapes, which dataset=shapes is; dataset=folder expected"
            )
    elif name == "shapes":
        root = data_dir / "shapes"
        make_shapes(root, progress)
    else:
        root = ensure_voc(name.removeprefix("voc"), data_dir, progress)
    splits, faults = find_examples(root, config.dataset, only)
    if not faults and trains:
        faults = too_few_images(config, splits)
    checked = check_dataset(splits, config.dataset.classes, data_dir / "checked", progress, faults)
    if trains and "train" in checked.facts:
        _refuse_background_alone(checked.facts["train"], config.dataset.classes[0])
    return Dataset(root, list(config.dataset.classes), splits, checked)


def too_few_images(config: Config, splits: Splits) -> list[str]:
    """The fault of a training split that does not fill one batch, or of a training without one update."""
    if "train" not in splits:
        return []
    images, accumulate = len(splits["train"]), config.optimizer.accumulate
    if images < config.batch_size:
        return [
            f"batch_size={config.batch_size}: the training split has only {images} images, "
            f"and a step needs a full batch; at most {images} expected"
        ]
    batches = config.epochs * (images // config.batch_size)
    if batches < accumulate:
        return [
            f"optimizer.accumulate={accumulate}: the run has only {batches} batches (epochs={config.epochs}, "
            f"{images} training images), so nothing would be learnt; at most {batches} expected"
        ]
    return []


def _refuse_background_alone(train: SplitFacts, background: str) -> None:
    """Raises UserError: no mask has another class. Such masks often have 255 for a class, which is void."""
    pixels, valid = int(train.sizes.prod(axis=1).sum()), int(train.class_pixels.sum())
    if train.class_pixels[:, 1:].any():
        return
    void = f"; {1 - valid / pixels:.0%} of their pixels are {VOID}, which is void and never learnt: is it meant as 1?"
    raise UserError(
        f"{MASKS}/: no mask of the train split has a class beside {background} (0), so nothing would be learnt"
        + (void if valid < pixels else "")
    )


def class_weights(loss: LossConfig, dataset: Dataset) -> np.ndarray:
    """The weight of each class in the cross-entropy, (classes,) float32, by `loss.class_weights`."""
    if loss.class_weights == "none":
        return np.ones(len(dataset.classes), np.float32)
    return median_frequency_weights(dataset.checked.facts["train"].class_pixels)


def median_frequency_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Weight of each class, (classes,) float32: median frequency / its frequency.

    A class's frequency is its share of the pixels of those images in which it occurs (Eigen and Fergus 2015, section
    6.3.2). A class that never occurs gets weight 1, which no training pixel uses.

    Args:
        class_pixels: (examples, classes) pixels of each class in each image.
    """
    valid = class_pixels.sum(axis=1, keepdims=True)  # (examples, 1)
    present = class_pixels > 0
    frequency = class_pixels.sum(axis=0) / np.maximum((valid * present).sum(axis=0), 1)
    occurs = frequency > 0
    weights = np.ones(class_pixels.shape[1])
    weights[occurs] = np.median(frequency[occurs]) / frequency[occurs]
    return weights.astype(np.float32)
