"""From `dataset=…` to a checked dataset: generate or download it if needed, list its examples, check every pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.config.schema import Config, LossConfig
from pipeline.data.check import CheckedDataset, check_dataset
from pipeline.data.download.voc import ensure_voc
from pipeline.data.palette import VOID
from pipeline.data.synthetic.shapes import MARKER, make_shapes
from pipeline.data.voc import MASKS, Splits, find_examples
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent


@dataclass(frozen=True)
class Dataset:
    """A dataset without faults: its folder, its class names, its splits, and what was measured on them."""

    root: Path
    classes: list[str]
    splits: Splits
    checked: CheckedDataset

    def sizes(self, split: str) -> np.ndarray:
        """Height and width of each image of a split in pixels, (examples, 2) int64."""
        return self.checked.statistics[split].sizes

    def class_pixels(self, split: str) -> np.ndarray:
        """Pixels of each class in each mask of a split, (examples, classes) int64; void is not counted."""
        return self.checked.statistics[split].class_pixels

    @property
    def absent_classes(self) -> list[str]:
        """Names of the classes that no training mask contains, so that they cannot be learnt."""
        pixels = self.class_pixels("train").sum(axis=0)  # (classes,)
        return [name for name, count in zip(self.classes, pixels, strict=True) if count == 0]


def prepare_dataset(
    config: Config,
    progress: Progress = silent,
    only: Sequence[str] = ("train", "val", "test"),
    trains: bool = True,
) -> Dataset:
    """The dataset that the configuration names, complete and without faults.

    Args:
        only: the splits that are wanted; the others are neither listed nor checked.
        trains: whether the training split must suffice for the configuration's training.

    Raises:
        UserError: it cannot be generated or downloaded, or its lists, images or masks have faults.
    """
    data_dir = Path(config.data_dir).expanduser()
    root = _ensure_folder(config, data_dir, progress)
    splits, faults = find_examples(root, config.dataset, only)
    if not faults and trains:
        faults = too_few_images(config, splits)
    checked = check_dataset(splits, config.dataset.classes, data_dir / "checked", progress, faults)
    dataset = Dataset(root, list(config.dataset.classes), splits, checked)
    if trains and "train" in splits:
        _refuse_one_class(dataset)
    return dataset


def _ensure_folder(config: Config, data_dir: Path, progress: Progress) -> Path:
    """The folder of the dataset; generated or downloaded if dataset.root is null."""
    name = config.dataset.name
    if config.dataset.root is not None:
        root = Path(config.dataset.root).expanduser()
        if name == "shapes" and root.is_dir() and not (root / MARKER).is_file():
            raise UserError(
                f"dataset.root={root}: does not hold the generated images of dataset=shapes; "
                "dataset=folder expected for images of your own"
            )
        return root
    if name == "shapes":
        root = data_dir / "shapes"
        make_shapes(root, progress)
        return root
    return ensure_voc(name.removeprefix("voc"), data_dir, progress)


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
            f"{images} training images), so the weights would never be updated; at most {batches} expected"
        ]
    return []


def _refuse_one_class(dataset: Dataset) -> None:
    """Raise UserError if training masks have one class alone. Such masks often use 255, which is void, for another."""
    class_pixels = dataset.class_pixels("train")
    present = np.flatnonzero(class_pixels.any(axis=0))
    if len(present) > 1:
        return
    only = int(present[0]) if len(present) else 0
    pixels, valid = int(dataset.sizes("train").prod(axis=1).sum()), int(class_pixels.sum())
    fault = (
        f"{MASKS}/: no mask of the train split has a class besides {dataset.classes[only]} ({only}), so nothing can be "
        "learnt"
    )
    if valid < pixels:
        fault += (
            f"; {1 - valid / pixels:.0%} of their pixels are {VOID}, which is void and never learnt: "
            "if it is meant as class 1, write it as 1"
        )
    raise UserError(fault)


def class_weights(loss: LossConfig, dataset: Dataset) -> np.ndarray:
    """The weight of each class in the cross-entropy, (classes,) float32, as `loss.class_weights` says."""
    if loss.class_weights == "none":
        return np.ones(len(dataset.classes), np.float32)
    return median_frequency_weights(dataset.class_pixels("train"))


def median_frequency_weights(class_pixels: np.ndarray) -> np.ndarray:
    """Weight of each class, (classes,) float32: median frequency / its frequency.

    The frequency of a class is its share of the valid pixels of those images in which it occurs (Eigen and Fergus 2015,
    section 6.3.2). A class that never occurs gets weight 1, which no training pixel uses.

    Args:
        class_pixels: (examples, classes) pixels of each class in each image.
    """
    valid = class_pixels.sum(axis=1, keepdims=True)  # (examples, 1)
    present = class_pixels > 0  # (examples, classes)
    frequency = class_pixels.sum(axis=0) / np.maximum((valid * present).sum(axis=0), 1)  # (classes,)
    occurs = frequency > 0
    weights = np.ones(class_pixels.shape[1])
    weights[occurs] = np.median(frequency[occurs]) / frequency[occurs]
    return weights.astype(np.float32)
