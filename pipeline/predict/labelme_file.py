"""format=labelme: a JSON file next to each image, and the list of labels."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pipeline.data.classes import Classes
from pipeline.predict.drawn import Drawn
from pipeline.predict.outlines import through_centres

VERSION = "6.3.1"  # of labelme, whose form this is


def write(folder: Path, images: Iterable[Drawn], classes: Classes) -> int:
    """Write `<stem>.json` for each image, and return how many outlines they have.

    What is in a hole comes after what surrounds it, and is on top.
    """
    count = 0
    for image in images:
        shapes: list[dict[str, Any]] = [
            {
                "label": classes.names[region.index],
                "points": through_centres(region.corners),
                "shape_type": "polygon",
                "flags": {},
                "group_id": None,
                "description": "",
                "mask": None,
            }
            for region in image.regions
        ]
        count += len(shapes)
        content: dict[str, Any] = {
            "version": VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image.name,
            "imageData": None,
            "imageHeight": image.height,
            "imageWidth": image.width,
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        (folder / f"{Path(image.name).stem}.json").write_text(text, encoding="utf-8")
    (folder / "labels.txt").write_text("".join(f"{name}\n" for name in classes.names), encoding="utf-8")
    return count
