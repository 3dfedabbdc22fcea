"""Masks that are given with the images (`masks=`), read and checked."""

from pathlib import Path

import numpy as np

from pipeline.data.image_check import CheckedImage, label_fault, mask_orientation_fault, size_fault
from pipeline.data.image_files import UNDECODABLE, read_index_mask, undecodable
from pipeline.data.pixels import PixelRules
from pipeline.runtime.errors import UserError


def read_mask(path: Path, image: Path, found: CheckedImage, rules: PixelRules, classes: int) -> np.ndarray:
    """A mask with the labels of the classes and the size of its image, (height, width) uint8, 255 where void.

    Args:
        image: the file that the mask belongs to.
        found: what is known of that image.
        rules: how the image is read.

    Raises:
        UserError: the file is not such a mask, with every fault.
    """
    try:
        labels = read_index_mask(path)
        turned = mask_orientation_fault(path, str(path), rules)
    except UNDECODABLE as error:
        raise UserError(f"{path}: {undecodable(error)}") from error
    height, width = labels.shape
    size = size_fault(str(image), str(path), found, rules, (width, height))
    if faults := [fault for fault in (turned, size, label_fault(str(path), labels, classes)) if fault is not None]:
        raise UserError(*faults)
    return labels
