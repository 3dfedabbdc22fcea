"""What the keys of `dataset` say of its classes: which one is the background, and with which colours they are shown."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.runtime.text import nearest

AUTO = "auto"  # dataset.background: the class that is called background, if one is
COLOUR = re.compile("#[0-9a-fA-F]{6}")
VOID_INDEX = 255
VOC_NAMES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
VOC_CLASSES = len(VOC_NAMES)


def voc_colour(index: int) -> tuple[int, int, int]:
    """The colour of a class index in the palette PNGs of PASCAL VOC, RGB; of 255, which is void, (224, 224, 192).

    The bits of an index become the highest bits of red, green and blue in turn (VOCcode/VOClabelcolormap.m of the VOC
    development kit).
    """
    red, green, blue = (sum((index >> (3 * bit + place) & 1) << (7 - bit) for bit in range(3)) for place in range(3))
    return red, green, blue


def hexadecimal(colour: tuple[int, int, int]) -> str:
    """RGB as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def with_background(dataset: DatasetConfig) -> DatasetConfig:
    """The dataset with `background=auto` replaced by the class that is called background, or by None.

    Capital letters make no difference, and neither do the underscores of labelme's `_background_`.
    """
    if dataset.background != AUTO:
        return dataset
    # As text: whether every name is one is checked later.
    named = (name for name in dataset.classes if str(name).strip("_ ").casefold() == "background")
    return replace(dataset, background=next(named, None))


def of_earlier_versions(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The keys that a dataset stored by an earlier version does not have, with the values that it was treated by.

    Class 0 was the background of every dataset, and VOC's palette had the colours.
    """
    classes = dataset.get("classes")
    if "background" in dataset or not isinstance(classes, list) or not classes:
        return {}
    colours = [hexadecimal(voc_colour(index)) for index in range(len(classes))]
    # Up to here they are those of today.
    return {"background": classes[0], "colours": colours if len(classes) > VOC_CLASSES else None}


def background_faults(dataset: DatasetConfig) -> list[str]:
    """The fault of a background that is no class."""
    if dataset.background is None or dataset.background in dataset.classes:
        return []
    return [
        f"dataset.background={dataset.background}: one of dataset.classes expected, or null if none of them is the "
        f"background{nearest(dataset.background, dataset.classes)}"
    ]


def colour_faults(dataset: DatasetConfig) -> list[str]:
    """What is wrong with the colours, one line for each fault: their number, how they are written, or equal ones."""
    colours, classes = dataset.colours, dataset.classes
    if colours is None:
        return []
    if len(colours) != len(classes):
        return [
            f"dataset.colours: {len(colours)} colours for {len(classes)} classes; one for each of dataset.classes, in "
            "their order, expected, or null"
        ]
    faults = [
        f"dataset.colours: {name} has {colour}; '#rrggbb' expected, such as '#ff8000'{_meant(colour)}"
        for name, colour in zip(classes, colours, strict=True)
        if not COLOUR.fullmatch(colour)
    ]
    count = Counter(colour.lower() for colour in colours)
    for colour in (colour for colour, times in count.items() if times > 1):
        names = [name for name, other in zip(classes, colours, strict=True) if other.lower() == colour]
        faults.append(f"dataset.colours: {', '.join(names)} have the same colour, {colour}; different ones expected")
    void = hexadecimal(voc_colour(VOID_INDEX))
    faults += [
        f"dataset.colours: {name} has {void}, the colour of void pixels; another one expected"
        for name, colour in zip(classes, colours, strict=True)
        if colour.lower() == void
    ]
    return faults


def _meant(colour: str) -> str:
    """` (did you mean …?)` for a colour without its #, or with one digit for each channel; else empty."""
    digits = colour.removeprefix("#")
    if re.fullmatch("[0-9a-fA-F]{3}", digits):
        digits = "".join(2 * digit for digit in digits)
    return f" (did you mean '#{digits}'?)" if COLOUR.fullmatch(f"#{digits}") else ""
