"""format=coco: one JSON file of instances, an annotation for each region."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.classes import Classes
from pipeline.predict.drawn import Drawn
from pipeline.predict.outlines import along_edges
from pipeline.predict.regions import Region


def write(folder: Path, images: Iterable[Drawn], classes: Classes) -> int:
    """Write `annotations.json`, and return how many outlines it has.

    It has the annotations before the images, so that one image is in memory at a time. Categories have the indices of
    their classes, plus 1: programs take 0 for no category.
    """
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes.names)]
    listed, count = [], 0
    with (folder / "annotations.json").open("w", encoding="utf-8") as opened:
        opened.write(f'{{"categories": {json.dumps(categories, ensure_ascii=False)},\n"annotations": [')
        for number, image in enumerate(images, 1):
            listed.append({"id": number, "file_name": image.name, "width": image.width, "height": image.height})
            for region in image.regions:
                if region.index == classes.background:
                    continue
                opened.write(",\n" if count else "\n")
                count += 1
                opened.write(json.dumps({"id": count, "image_id": number, **_annotation(region, image)}))
        opened.write(f'],\n"images": {json.dumps(listed, ensure_ascii=False)}}}\n')
    return count


def _annotation(region: Region, image: Drawn) -> dict[str, Any]:
    """What COCO keeps of a region: a polygon, or its exact run lengths if it has holes, which polygons cannot have."""
    height, width = region.pixels.shape
    if region.has_holes:
        whole = np.zeros((image.height, image.width), bool)
        whole[region.top : region.top + height, region.left : region.left + width] = region.pixels
        outline: Any = {"size": [image.height, image.width], "counts": run_lengths(whole)}
    else:
        outline = [[value for point in along_edges(region.corners) for value in point]]
    return {
        "category_id": region.index + 1,
        "segmentation": outline,
        "area": int(region.pixels.sum()),
        "bbox": [region.left, region.top, width, height],
        "iscrowd": 0,
    }


def run_lengths(pixels: np.ndarray) -> list[int]:
    """The lengths of runs down the columns, the first one of what is not covered.

    Args:
        pixels: (height, width) bool.
    """
    flat = pixels.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    counts: list[int] = np.diff([0, *changes.tolist(), flat.size]).tolist()
    return [0, *counts] if flat[0] else counts
