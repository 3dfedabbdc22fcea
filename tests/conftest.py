"""What several tests need: a dataset folder made on the spot."""

import functools
import gc
import os
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

from pipeline.data.palette import VOID, voc_palette
from pipeline.runtime.files import locked
from pipeline.runtime.kernels import resolve, switch

# The first process would else take all of a GPU's memory, as no run does, and there are several.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
switch(resolve("auto"))  # as a run does, before a test imports TensorFlow
for setting in [name for name in os.environ if name.startswith("MLFLOW_")]:  # of whoever runs the tests
    del os.environ[setting]
hypothesis.settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Spare garbage collections, of which building networks causes many, the walk through all imported modules."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], None]], Path]:
    """made_once(name, make): a folder for all processes of this test session, which the first one to ask fills."""
    own = tmp_path_factory.getbasetemp()
    root = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own

    def folder(name: str, make: Callable[[Path], None]) -> Path:
        place, made = root / f"shared-{name}", root / f"shared-{name}.made"
        with locked(root / f"shared-{name}.lock"):
            if not made.exists():
                place.mkdir()
                make(place)
                made.touch()
        return place

    return folder


@pytest.fixture
def voc_folder(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a small dataset in VOC layout below `tmp_path` and returns its folder.

    voc_folder(train=4, val=2, test=2, size=(24, 32), classes=3, name="VOC", seed=0)
    """
    return functools.partial(write_voc, tmp_path)


@pytest.fixture(scope="session")
def voc_writer() -> Callable[..., Path]:
    """The function behind `voc_folder`, for fixtures that several tests share: its first argument is the place."""
    return write_voc


def write_voc(
    place: Path,
    train: int = 4,
    val: int = 2,
    test: int = 2,
    size: tuple[int, int] | list[tuple[int, int]] = (24, 32),
    classes: int = 3,
    name: str = "VOC",
    seed: int = 0,
) -> Path:
    """Write a small dataset in VOC layout and return its folder.

    Images are called train_0, …, val_0, …, test_0, …: a dark noisy ground (class 0) with one rectangle for each other
    class, in that class's colour of the VOC palette; the mask's first column is void. `size` is (height, width), or a
    list of sizes that the images take in turn. The same arguments give the same bytes.
    """
    root = place / name
    images, masks, lists = root / "JPEGImages", root / "SegmentationClass", root / "ImageSets" / "Segmentation"
    for folder in (images, masks, lists):
        folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    sizes = size if isinstance(size, list) else [size]
    for split, count in (("train", train), ("val", val), ("test", test)):
        image_ids = [f"{split}_{index}" for index in range(count)]
        (lists / f"{split}.txt").write_text("".join(f"{image_id}\n" for image_id in image_ids))
        for index, image_id in enumerate(image_ids):
            image, mask = _example(rng, *sizes[index % len(sizes)], classes)
            Image.fromarray(image).save(images / f"{image_id}.jpg", quality=95)
            indexed = Image.fromarray(mask)
            indexed.putpalette(voc_palette().tobytes())
            indexed.save(masks / f"{image_id}.png")
    return root


def _example(rng: np.random.Generator, height: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Image (height, width, 3) and mask (height, width), both uint8."""
    image, mask = rng.integers(0, 40, (height, width, 3), dtype=np.uint8), np.zeros((height, width), np.uint8)
    for label in range(1, classes):
        top, left = rng.integers(0, height // 2), rng.integers(0, width // 2)
        place = np.s_[top : top + height // 2, left : left + width // 2]
        image[place], mask[place] = voc_palette()[label], label
    mask[:, 0] = VOID
    return image, mask
