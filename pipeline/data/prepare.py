"""From `dataset=…` to a checked dataset: generate or download it if needed, list its examples, check every pair."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.config.schema import Config, LossConfig
from pipeline.data.check import CheckedDataset, check_dataset
from pipeline.data.conversion import ways_to_convert
from pipeline.data.download.voc import ensure_voc
from pipeline.data.groups import group_warnings
from pipeline.data.pixels import PixelRules
from pipeline.data.split_checks import absent_classes, split_faults, split_warnings
from pipeline.data.synthetic.shapes import MARKER, make_shapes
from pipeline.data.voc import Splits, find_examples, unused_test_list
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.progress import Progress, silent


@dataclass(frozen=True)
class Dataset:
    """A dataset without faults: its folder, its class names, its splits, and what was measured on them."""

    root: Path
    classes: list[str]
    splits: Splits
    checked: CheckedDataset
    group: str | None = None  # pattern on ids, `dataset.group`
    limited: bool = False  # by `dataset.limit`, so that a split may lack what it otherwise must have
    list_warnings: list[str] = field(default_factory=list)

    def sizes(self, split: str) -> np.ndarray:
        """Height and width of each image of a split in pixels, (examples, 2) int64."""
        return self.checked.statistics[split].sizes

    def class_pixels(self, split: str) -> np.ndarray:
        """Pixels of each class in each mask of a split, (examples, classes) int64; void is not counted."""
        return self.checked.statistics[split].class_pixels

    @property
    def absent_classes(self) -> list[str]:
        """Names of the classes that no training mask contains, so that they cannot be learnt."""
        return absent_classes(self.classes, self.checked.statistics["train"])

    @property
    def warnings(self) -> list[str]:
        """What is odd about the files and splits, though it can be trained on and scored."""
        ids = {split: [example.id for example in examples] for split, examples in self.splits.items()}
        lacking = split_warnings(self.classes, self.splits, self.checked.statistics)
        if self.limited:
            lacking += split_faults(self.classes, self.checked.statistics, trains=True)
        return [*self.list_warnings, *self.checked.warnings, *group_warnings(ids, self.group), *lacking]


def prepare_dataset(
    config: Config,
    progress: Progress = silent,
    only: Sequence[str] = ("train", "val", "test"),
    trains: bool = True,
) -> Dataset:
    """The dataset that the configuration names, complete and without faults.

    Args:
        only: the splits that are wanted; the others are neither listed nor checked.
        trains: whether train must suffice for the configuration's training, and val for the choice of the best epoch.

    Raises:
        UserError: it cannot be generated or downloaded, its lists, images or masks have faults, or a split cannot be
            learnt or scored.
    """
    data_dir = typed_path("data_dir", config.data_dir)
    root = _ensure_folder(config, data_dir, progress)
    overfits = config.overfit and trains
    splits, faults = find_examples(root, config.dataset, ["train"] if overfits else only)
    if not faults and trains:
        faults = too_few_images(config, splits)
    rules = PixelRules.of(config.dataset)
    advise = partial(ways_to_convert, root, config.dataset.classes)
    checked = check_dataset(splits, config.dataset.classes, data_dir / "checked", progress, faults, rules, advise)
    with_pixels = _with_pixels(splits, checked, rules)
    group, limited = config.dataset.group, config.dataset.limit is not None
    list_warnings = unused_test_list(root, config.dataset) if "train" in only else []
    dataset = Dataset(root, list(config.dataset.classes), with_pixels, checked, group, limited, list_warnings)
    if unusable := unusable_splits(dataset, trains):
        raise UserError(*unusable)
    return _with_train_as_val(dataset) if overfits else dataset


def unusable_splits(dataset: Dataset, trains: bool) -> list[str]:
    """A fault for each split that cannot be learnt or scored; a part of a split, for a quick look, is not refused.

    Args:
        trains: whether train is learnt and val chooses the best epoch, or the splits are only scored.
    """
    if dataset.limited:
        return []
    faults = split_faults(dataset.classes, dataset.checked.statistics, trains)
    return [*faults, *ways_to_convert(dataset.root, dataset.classes, faults)]


def _with_train_as_val(dataset: Dataset) -> Dataset:
    """For `overfit`: the images that are trained on are those that are scored after every epoch."""
    checked = dataset.checked
    of_both = replace(
        checked,
        split_digests={**checked.split_digests, "val": checked.split_digests["train"]},
        contents={**checked.contents, "val": checked.contents["train"]},
        statistics={**checked.statistics, "val": checked.statistics["train"]},
    )
    return replace(dataset, splits={**dataset.splits, "val": dataset.splits["train"]}, checked=of_both, group=None)


def _with_pixels(splits: Splits, checked: CheckedDataset, rules: PixelRules) -> Splits:
    """The examples, with what turns the files of their images into pixels."""
    return {
        split: [
            replace(example, orientation=int(orientation), intensity=rules.intensity)
            for example, orientation in zip(examples, checked.statistics[split].orientations, strict=True)
        ]
        for split, examples in splits.items()
    }


def _ensure_folder(config: Config, data_dir: Path, progress: Progress) -> Path:
    """The folder of the dataset; generated or downloaded if dataset.root is null."""
    name = config.dataset.name
    if config.dataset.root is not None:
        root = typed_path("dataset.root", config.dataset.root)
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
    if images < config.batch_size and config.steps is None:
        steps = max(1, 1000 // config.epochs) * config.epochs  # a multiple, which `steps` has to be
        return [
            f"batch_size={config.batch_size}: the training split has only {images} images, "
            f"and a step needs a full batch; at most {images} expected, or a length in steps (steps={steps}), where a "
            "batch continues with the next pass"
        ]
    batches = config.steps or config.epochs * (images // config.batch_size)
    length = f"steps={config.steps}" if config.steps else f"epochs={config.epochs}, {images} training images"
    if batches < accumulate:
        return [
            f"optimizer.accumulate={accumulate}: the run has only {batches} batches ({length}), "
            f"so the weights would never be updated; at most {batches} expected"
        ]
    return []


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
