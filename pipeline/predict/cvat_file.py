"""format=cvat: one XML file, "CVAT for images 1.1"."""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from pathlib import Path
from xml.etree.ElementTree import Element, SubElement

from pipeline.data.classes import Classes
from pipeline.predict.drawn import Drawn
from pipeline.predict.outlines import along_edges


def write(folder: Path, images: Iterable[Drawn], classes: Classes) -> int:
    """Write `annotations.xml`, image by image, and return how many outlines it has.

    What is in a hole has a higher z_order than what surrounds it.
    """
    count = 0
    with (folder / "annotations.xml").open("w", encoding="utf-8") as opened:
        opened.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
        opened.write(_text(_meta(classes)))
        for number, image in enumerate(images):
            size = {"width": str(image.width), "height": str(image.height)}
            element = Element("image", {"id": str(number), "name": image.name, **size})
            for region in image.regions:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in along_edges(region.corners))
                values = {"label": classes.names[region.index], "source": "auto", "occluded": "0", "points": points}
                SubElement(element, "polygon", {**values, "z_order": str(region.depth)})
            count += len(image.regions)
            opened.write(_text(element))
        opened.write("</annotations>\n")
    return count


def _meta(classes: Classes) -> Element:
    meta = Element("meta")
    labels = SubElement(SubElement(meta, "task"), "labels")
    for name, (red, green, blue) in zip(classes.names, classes.colours, strict=True):
        label = SubElement(labels, "label")
        SubElement(label, "name").text = name
        SubElement(label, "color").text = f"#{red:02x}{green:02x}{blue:02x}"
        SubElement(label, "attributes")
    return meta


def _text(element: Element) -> str:
    ElementTree.indent(element, " ")
    return ElementTree.tostring(element, "unicode") + "\n"
