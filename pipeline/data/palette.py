"""PASCAL VOC's palette: the colour with which each class index is stored and shown."""

import numpy as np

VOID = 255  # the index of pixels without a class


def voc_palette() -> np.ndarray:
    """The 256 colours of VOC's palette PNGs, (256, 3) uint8 RGB.

    The bits of an index become the highest bits of red, green and blue in turn (VOCcode/VOClabelcolormap.m of the VOC
    development kit), so that neighbouring indices have clearly different colours; 255 is (224, 224, 192).
    """
    index = np.arange(256)
    colours = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= (((index >> channel) & 1) << (7 - bit)).astype(np.uint8)
        index = index >> 3
    return colours
