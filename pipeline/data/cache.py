"""The data of one run kept for the next in the same process, as long as no file of them has changed."""

import hashlib
from pathlib import Path

import tensorflow as tf

from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.data.prepare import Dataset, prepare_dataset, too_few_images
from pipeline.data.training_images import TrainingImages, training_images
from pipeline.data.voc import IMAGES, LISTS, MASKS
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent

Stamps = tuple[tuple[str, int, int, int], ...]  # path, size, time of change and number of each file


class DataCache:
    """The last dataset, checked, and its training images, decoded."""

    def __init__(self) -> None:
        self._dataset: tuple[object, Stamps, Dataset] | None = None
        self._images: tuple[object, TrainingImages] | None = None

    def dataset(self, config: Config, progress: Progress = silent, trains: bool = True) -> Dataset:
        """As `prepare_dataset`, which is asked only where something is different.

        Raises:
            UserError: it cannot be had, or has faults.
        """
        named = _named(config)
        if self._dataset is not None:
            key, stamps, dataset = self._dataset
            if key == named and stamps == _stamps(dataset):
                if trains and (faults := too_few_images(config, dataset.splits)):
                    raise UserError(*faults)
                return dataset
        self._dataset = None
        dataset = prepare_dataset(config, progress, trains=trains)
        if (stamps_now := _stamps(dataset)) is not None:
            self._dataset = named, stamps_now, dataset
        return dataset

    def images(self, config: Config, dataset: Dataset, progress: Progress = silent) -> TrainingImages:
        """As `training_images` of the dataset's training split, decoded once for all runs on the same files.

        Raises:
            UserError: files changed since they were checked.
        """
        key = (_named(config), dataset.checked.digest, _stamps(dataset), config.long_side, config.cache_mb)
        if self._images is not None and self._images[0] == key:
            return self._images[1]
        self._images = None  # before the new ones need the memory
        examples, sizes = dataset.splits["train"], dataset.checked.facts["train"].sizes
        # Their bytes, and what turns them into pixels.
        code = hashlib.sha256(Path(decode.__file__).read_bytes()).hexdigest()[:8]
        name = f"{dataset.checked.split_digests['train']}-{config.long_side or 'own'}-{tf.__version__}-{code}.bin"
        decoded = Path(config.data_dir).expanduser() / "decoded" / name
        before = self._dataset[1] if self._dataset is not None and self._dataset[2] is dataset else _stamps(dataset)
        images = training_images(examples, sizes, config.long_side, config.cache_mb, decoded, progress)
        if _files(before, dataset) != _files(_stamps(dataset), dataset):
            decoded.unlink(missing_ok=True)  # it would stand for the digest of what is no longer there
            raise UserError(f"{dataset.root}: images or masks changed while they were decoded; start again")
        self._images = key, images
        return images


def _named(config: Config) -> object:
    """All of a configuration that says which data are meant."""
    data = {key: str(value) for key, value in flatten(config).items() if key.startswith("dataset.")}
    return (tuple(data.items()), str(Path(config.data_dir).expanduser().absolute()))


def _stamps(dataset: Dataset) -> Stamps | None:
    """What changes when a file changes, of the lists, the folders, the images and the masks; None if one is gone."""
    root = dataset.root
    paths = [root / IMAGES, root / MASKS, root / LISTS, *sorted((root / LISTS).glob("*.txt"))]
    for examples in dataset.splits.values():
        for example in examples:
            paths += [example.image, example.mask]
    try:
        found = [(path, path.stat()) for path in paths]
    except OSError:
        return None
    return tuple((str(path), at.st_size, at.st_mtime_ns, at.st_ino) for path, at in found)


def _files(stamps: Stamps | None, dataset: Dataset) -> list[tuple[str, int, int, int]] | None:
    """The stamps of training images and masks alone: other files may come into their folders."""
    wanted = {str(path) for example in dataset.splits["train"] for path in (example.image, example.mask)}
    return None if stamps is None else [stamp for stamp in stamps if stamp[0] in wanted]
