"""Reuses the data of one run for the next run of the same process, as long as no file has changed."""

import gc
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import tensorflow as tf

from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.data import decode, image_files, pixels
from pipeline.data.layout import IMAGES, LISTS, MASKS
from pipeline.data.pixels import PixelRules
from pipeline.data.prepare import Dataset, prepare_dataset, too_few_images, unusable_splits
from pipeline.data.room import Room
from pipeline.data.training_images import TrainingImages, training_images
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent


class FileStamp(NamedTuple):
    """What changes when a file or folder changes."""

    path: str
    size: int
    modified_ns: int
    inode: int


Stamps = list[FileStamp]


@dataclass(frozen=True)
class _CachedDataset:
    key: object
    stamps: Stamps  # when it was checked
    dataset: Dataset


@dataclass(frozen=True)
class _CachedImages:
    key: object
    room: Room
    images: TrainingImages | None  # None: not decoded yet


class DataCache:
    """Holds the latest dataset, checked, and its training images, decoded."""

    def __init__(self) -> None:
        self.processes = 1  # that share the machine's memory and each have a cache
        self._dataset: _CachedDataset | None = None
        self._images: _CachedImages | None = None

    def dataset(self, config: Config, progress: Progress = silent, trains: bool = True) -> Dataset:
        """The result of `prepare_dataset`, which is called only if another dataset is named or a file has changed.

        Raises:
            UserError: as `prepare_dataset`.
        """
        key, cached = (_dataset_key(config), config.overfit and trains), self._dataset
        if cached is not None and cached.key == key and cached.stamps == _stamps(cached.dataset):
            dataset = cached.dataset
            faults = too_few_images(config, dataset.splits) if trains else []
            if faults := faults or unusable_splits(dataset, trains):
                raise UserError(*faults)
            return dataset
        self._dataset = None
        dataset = prepare_dataset(config, progress, trains=trains)
        if (stamps := _stamps(dataset)) is not None:
            self._dataset = _CachedDataset(key, stamps, dataset)
        return dataset

    def images(self, config: Config, dataset: Dataset, progress: Progress = silent) -> TrainingImages:
        """The `training_images` of the dataset's train split, decoded once for all runs on the same files.

        Raises:
            UserError: files changed since they were checked; or as `training_images`.
        """
        reserved = self._reserved(config, dataset)
        if reserved.images is not None:
            return reserved.images
        cached = self._dataset
        before = cached.stamps if cached is not None and cached.dataset is dataset else _stamps(dataset)
        decoded = _decoded_file(config, dataset)
        images = training_images(
            dataset.splits["train"], dataset.sizes("train"), config.long_side, reserved.room.bound_mb, decoded, progress
        )
        if _training_stamps(before, dataset) != _training_stamps(_stamps(dataset), dataset):
            decoded.unlink(missing_ok=True)  # its name has the digest of files that have changed
            raise UserError(f"{dataset.root}: images or masks changed while they were decoded; start again")
        self._images = replace(reserved, images=images)
        return images

    def room(self, config: Config, dataset: Dataset) -> Room:
        """The room for the decoded training images, which is the same when they are decoded later."""
        return self._reserved(config, dataset).room

    def _reserved(self, config: Config, dataset: Dataset) -> _CachedImages:
        """The training images, if they are decoded, and the room for them."""
        key = (_dataset_key(config), dataset.checked.digest, _stamps(dataset), config.long_side, config.cache_mb)
        if self._images is None or self._images.key != key:
            if self._images is not None:  # their memory is free before the new images need it
                self._images = None
                gc.collect()  # the graphs of their streams refer to them, and to themselves in cycles
            room = Room.of(dataset.sizes("train"), config.long_side, config.cache_mb, self.processes)
            self._images = _CachedImages(key, room, None)
        return self._images


def _dataset_key(config: Config) -> object:
    """The part of a configuration that decides which data are meant."""
    values = tuple((key, str(value)) for key, value in flatten(config).items() if key.startswith("dataset."))
    return values, str(Path(config.data_dir).expanduser().absolute())


def _decoded_file(config: Config, dataset: Dataset) -> Path:
    """The file for decoded images, named after the bytes of the images and after what turns them into pixels."""
    sources = (decode.__file__, image_files.__file__, pixels.__file__)
    code = hashlib.sha256(b"".join(Path(source).read_bytes() for source in sources)).hexdigest()[:8]
    digest, scale = dataset.checked.split_digests["train"], config.long_side or "own"
    rules = PixelRules.of(config.dataset).name
    return Path(config.data_dir).expanduser() / "decoded" / f"{digest}-{rules}-{scale}-{tf.__version__}-{code}.bin"


def _stamps(dataset: Dataset) -> Stamps | None:
    """The stamps of folders, lists, images and masks; None if one of them is missing."""
    root = dataset.root
    paths = [root / IMAGES, root / MASKS, root / LISTS, *sorted((root / LISTS).glob("*.txt"))]
    for examples in dataset.splits.values():
        for example in examples:
            paths += [example.image, example.mask]
    try:
        return [_stamp(path) for path in paths]
    except OSError:
        return None


def _stamp(path: Path) -> FileStamp:
    stat = path.stat()
    return FileStamp(str(path), stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _training_stamps(stamps: Stamps | None, dataset: Dataset) -> Stamps | None:
    """The stamps of training images and masks alone: other files may be added to their folders meanwhile."""
    training = {str(path) for example in dataset.splits["train"] for path in (example.image, example.mask)}
    return None if stamps is None else [stamp for stamp in stamps if stamp.path in training]
