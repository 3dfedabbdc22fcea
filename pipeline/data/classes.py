"""The classes of a dataset: their names, which of them is the background, and their colours."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.data.palette import Colour, class_colours, voc_palette


@dataclass(frozen=True)
class Classes:
    """Names and colours in the order of the class indices."""

    names: tuple[str, ...] = ()
    background: int | None = None  # its index; None: all classes are objects or regions of equal rank
    colours: tuple[Colour, ...] = ()

    @classmethod
    def of(cls, dataset: DatasetConfig) -> Self:
        """The classes that a checked configuration names."""
        background = None if dataset.background is None else dataset.classes.index(dataset.background)
        if dataset.colours is None:
            colours = class_colours(len(dataset.classes), background)
        else:
            colours = [(int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)) for text in dataset.colours]
        return cls(tuple(dataset.classes), background, tuple(colours))

    @property
    def palette(self) -> np.ndarray:
        """The colour of each index of a mask, (256, 3) uint8 RGB; indices without a class, and void, have VOC's."""
        palette = voc_palette()
        palette[: len(self.colours)] = np.array(self.colours, np.uint8).reshape(-1, 3)
        return palette
