"""Random photographs with masks."""

import numpy as np
from hypothesis import strategies as st

from pipeline.data.classes import Classes
from pipeline.data.palette import VOID, class_colours

CLASSES = ["background", "disc", "square", "triangle"]
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))


def classes(background: int | None = 0, names: list[str] = CLASSES) -> Classes:
    return Classes(tuple(names), background, tuple(class_colours(len(names), background)))


WITH_BACKGROUND = classes()
seeds = st.integers(0, 2**32 - 1)


def triple(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy photograph, a true mask with void, and a prediction without."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    truth = rng.choice(np.array([0, 1, 2, 3, VOID], np.uint8), (height, width))
    return image, truth, rng.integers(0, 4, (height, width), dtype=np.uint8)
