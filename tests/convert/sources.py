"""Small sources as people have them, and what a conversion made of them."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.convert.__main__ import main
from pipeline.data.image_files import read_index_mask
from pipeline.runtime.errors import UserError

LISTS = Path("ImageSets/Segmentation")
HEIGHT, WIDTH = 24, 32
NAMES = [f"a{number}" for number in range(4)]  # of the images that `write_pairs` writes


def index_mask(number: int, classes: int = 3) -> np.ndarray:
    """A mask with a block of each class, (24, 32) uint8; another one for each number."""
    rng = np.random.default_rng(number)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for index in range(1, classes):
        top, left = int(rng.integers(0, HEIGHT - 8)), int(rng.integers(0, WIDTH - 8))
        mask[top : top + 8, left : left + 8] = index
    return mask


def indices(classes: int = 3) -> dict[str, np.ndarray]:
    """The masks of `write_pairs` by name."""
    return {name: index_mask(number, classes) for number, name in enumerate(NAMES)}


def drawn_image(number: int) -> Image.Image:
    """Noise, so that no two look alike."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))


def save(path: Path, pixels: np.ndarray | Image.Image) -> Path:
    """Write an image, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path)
    return path


def write_pairs(
    root: Path,
    count: int = 4,
    image: str = "images/{}.jpg",
    mask: str = "masks/{}.png",
    change: Callable[[np.ndarray], np.ndarray] = lambda mask: mask,
    classes: int = 3,
) -> Path:
    """Images a0, a1, … and their masks, `change`d from class indices."""
    for number in range(count):
        save(root / image.format(f"a{number}"), drawn_image(number))
        save(root / mask.format(f"a{number}"), change(index_mask(number, classes)))
    return root


def converted(source: Path, *arguments: str) -> Path:
    """The folder that a conversion writes next to its source."""
    output = source.parent / f"{source.name}-voc"
    assert main([f"source={source}", f"output={output}", *arguments]) == 0
    return output


def refused(source: Path, *arguments: str) -> str:
    """The message of a conversion that writes nothing."""
    output = source.parent / f"{source.name}-voc"
    with pytest.raises(UserError) as raised:
        main([f"source={source}", f"output={output}", *arguments])
    assert [path.name for path in output.parent.iterdir() if output.name in path.name] == []
    return str(raised.value)


def masks_of(output: Path) -> dict[str, np.ndarray]:
    """Id -> class indices."""
    folder = output / "SegmentationClass"
    paths = sorted(folder.rglob("*.png"))
    return {path.relative_to(folder).with_suffix("").as_posix(): read_index_mask(path) for path in paths}


def splits_of(output: Path) -> dict[str, list[str]]:
    """Split -> ids."""
    return {path.stem: path.read_text().split("\n")[:-1] for path in sorted((output / LISTS).iterdir())}


def assert_masks(output: Path, expected: Mapping[str, np.ndarray]) -> None:
    found = masks_of(output)
    assert found.keys() == expected.keys()
    for name, mask in expected.items():
        assert np.array_equal(found[name], mask), name
