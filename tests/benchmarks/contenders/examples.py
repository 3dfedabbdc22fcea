"""The images that a contender of this project works on."""

from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example

NOWHERE = Path("/dev/null/decoded.bin")  # for images that are to fit into memory: it cannot be written


def examples_of(wanted: dict[str, Any]) -> tuple[list[Example], np.ndarray]:
    """Examples, and the height and width of each, (examples, 2)."""
    pairs = zip(wanted["images"], wanted["masks"], strict=True)
    examples = [Example(Path(image).stem, Path(image), Path(mask)) for image, mask in pairs]
    return examples, np.array([read_index_mask(example.mask).shape for example in examples])
