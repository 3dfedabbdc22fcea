# mypy: ignore-errors
"""Writes tests/convert/fixtures/: files of labelling tools, written by their own packages, and the masks these draw.

It was run with labelme 6.3.1, pycocotools 2.0.11, datumaro 1.13.12 and opencv-python-headless 4.14.0, none of which the
tests need: `pip install labelme==6.3.1 pycocotools==2.0.11 datumaro==1.13.12`; `python write_fixtures.py <folder>`.
Supervisely's files follow its published schema; their masks are drawn by OpenCV, as Supervisely's package does.
"""

import base64
import io
import json
import sys
import zlib
from pathlib import Path

import cv2
import labelme.utils
import numpy as np
import PIL.Image
from datumaro.components.annotation import AnnotationType, Bbox, LabelCategories, Mask, Polygon, PolyLine
from datumaro.components.dataset import Dataset
from datumaro.components.dataset_base import DatasetItem
from datumaro.components.media import Image
from datumaro.util import mask_tools
from labelme._label_file import LabelFile
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

WIDTH, HEIGHT = 60, 44
CLASSES = ["cat", "dog"]
rng = np.random.default_rng(7)


def drawn_image(number: int) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.full((HEIGHT, WIDTH, 3), (40 + 60 * number, 90, 160), np.uint8))


def outline(points: int = 7) -> list[list[float]]:
    centre = rng.uniform([15, 12], [WIDTH - 15, HEIGHT - 12])
    angles, radii = np.sort(rng.uniform(0, 2 * np.pi, points)), rng.uniform(5, 15, points)
    return (centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).round(2).tolist()


def flat(points: list[list[float]]) -> list[float]:
    return [value for point in points for value in point]


def save_mask(mask: np.ndarray, root: Path, tool: str, name: str) -> None:
    (root / "truth" / tool).mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(mask.astype(np.uint8)).save(root / "truth" / tool / f"{name}.png")


def write_labelme(root: Path) -> None:
    folder = root / "labelme"
    folder.mkdir(parents=True)
    for number in range(2):
        drawn_image(number).save(folder / f"p{number}.png")
        shapes = [("cat", "polygon", outline()), ("dog", "polygon", outline()), ("cat", "polygon", outline())]
        shapes += [("dog", "rectangle", [[30.4, 3.6], [12.2, 9.7]]), ("cat", "circle", [[45.0, 30.0], [50.5, 33.0]])]
        shapes += [("dog", "line", [[2.0, 40.0], [50.0, 35.5]]), ("cat", "linestrip", [[2, 20.5], [14, 24], [20, 4]])]
        shapes += [("dog", "point", [[52.0, 8.0]]), ("cat", "mask", [[40, 14], [46, 19]])]
        shapes += [("dog", "oriented_rectangle", [[3.0, 3.0], [9.0, 6.0], [7.0, 10.0], [1.0, 7.0]])]
        written = [
            {"label": label, "points": points, "shape_type": kind, "flags": {}, "group_id": None, "description": "",
             "mask": rng.random((6, 7)) > 0.5 if kind == "mask" else None}
            for label, kind, points in shapes
        ]  # fmt: skip
        mask, _ = labelme.utils.shapes_to_label((HEIGHT, WIDTH, 3), written, {"cat": 1, "dog": 2})
        save_mask(mask, root, "labelme", f"p{number}")
        for shape in written:
            if shape["mask"] is not None:
                shape["mask"] = labelme.utils.img_arr_to_b64(shape["mask"].astype(np.uint8))
        LabelFile().save(
            filename=str(folder / f"p{number}.json"), shapes=written, image_path=f"p{number}.png", image_height=HEIGHT,
            image_width=WIDTH, image_data=None, other_data={}, flags={},
        )  # fmt: skip


def write_coco(root: Path) -> None:
    folder = root / "coco"
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(2):
        drawn_image(number).save(folder / "images" / f"q{number}.jpg", quality=90)
        images.append({"id": number + 10, "file_name": f"q{number}.jpg", "width": WIDTH, "height": HEIGHT})
        noise = np.asfortranarray((rng.random((HEIGHT, WIDTH)) > 0.95).astype(np.uint8))
        runs = coco_mask.encode(noise)
        crowd = np.zeros((HEIGHT, WIDTH), np.uint8)
        crowd[20:40, 10:50] = 1
        changes = np.flatnonzero(np.diff(crowd.ravel(order="F"))) + 1
        parts = [
            (3, [flat(outline())], 0),
            (7, [flat(outline()), flat(outline())], 0),
            (3, {"size": runs["size"], "counts": runs["counts"].decode()}, 0),
            (7, {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, crowd.size]).tolist()}, 1),
        ]
        for category, segmentation, is_crowd in parts:
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number + 10, "category_id": category, "iscrowd": is_crowd,
                 "segmentation": segmentation, "area": 1, "bbox": [0, 0, 1, 1]}
            )  # fmt: skip
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances.json").write_text(json.dumps(content))
    coco = COCO(str(folder / "instances.json"))
    for image in images:
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        for one in sorted(coco.loadAnns(coco.getAnnIds(image["id"])), key=lambda one: not one["iscrowd"]):
            mask[coco.annToMask(one) > 0] = {3: 1, 7: 2}[one["category_id"]]
        save_mask(mask, root, "coco", Path(image["file_name"]).stem)


def write_cvat(root: Path) -> None:
    items = []
    for number in range(2):
        parts = [Polygon(flat(outline()), label=k % 2, z_order=[2, 0, 1][k]) for k in range(3)]
        parts += [Bbox(12.3, 4.7, 10.1, 12.2, label=1, z_order=0), PolyLine([1, 2, 30, 40], label=0)]
        media = Image.from_numpy(np.asarray(drawn_image(number)), size=(HEIGHT, WIDTH))
        items.append(DatasetItem(id=f"r{number}", subset="train", media=media, annotations=parts))
    labels = {AnnotationType.label: LabelCategories.from_iterable(CLASSES)}
    Dataset.from_iterable(items, categories=labels).export(str(root / "cvat"), "cvat", save_media=True)
    for item in Dataset.import_from(str(root / "cvat"), "cvat"):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        areas = [part for part in item.annotations if not isinstance(part, PolyLine)]
        for part in sorted(areas, key=lambda part: part.z_order):
            points = part.points if isinstance(part, Polygon) else part.as_polygon()
            # Datumaro keeps coordinates in 32 bits; at a pixel's edge, those of the file may fall on its other side.
            points = [round(float(value), 2) for value in points]
            mask[mask_tools.rles_to_mask([points], WIDTH, HEIGHT) > 0] = part.label + 1
        save_mask(mask, root, "cvat", item.id)


def write_panoptic(root: Path) -> None:
    items = []
    for number in range(2):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[5:30, 8:40], mask[20:40, 30:55] = 1, 2
        parts = [Mask(mask == index, label=index) for index in range(3)]
        media = Image.from_numpy(np.asarray(drawn_image(number)), size=(HEIGHT, WIDTH))
        items.append(DatasetItem(id=f"s{number}", subset="train", media=media, annotations=parts))
        save_mask(mask, root, "panoptic", f"s{number}")
    labels = {AnnotationType.label: LabelCategories.from_iterable(["road", *CLASSES])}
    Dataset.from_iterable(items, categories=labels).export(str(root / "panoptic"), "coco_panoptic", save_media=True)


def write_supervisely(root: Path) -> None:
    folder = root / "supervisely"
    for name in ("img", "ann"):
        (folder / "streets" / name).mkdir(parents=True)
    classes = [
        {"title": "cat", "shape": "any", "color": "#FF0000"},
        {"title": "dog", "shape": "any", "color": "#00FF00"},
    ]
    (folder / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for number in range(2):
        drawn_image(number).save(folder / "streets" / "img" / f"t{number}.png")
        exterior = np.array(outline()).round().astype(int).tolist()
        hole = [[20, 14], [26, 14], [26, 20], [20, 20]]
        bits = PIL.Image.fromarray((rng.random((9, 11)) > 0.4).astype(np.uint8) * 255)
        png = io.BytesIO()
        bits.convert("1").save(png, "PNG")
        objects = [
            {"classTitle": "dog", "geometryType": "rectangle",
             "points": {"exterior": [[8, 6], [40, 30]], "interior": []}},
            {"classTitle": "cat", "geometryType": "polygon",
             "points": {"exterior": [[12, 8], [36, 8], [36, 26], [12, 26]], "interior": [hole]}},
            {"classTitle": "dog", "geometryType": "polygon", "points": {"exterior": exterior, "interior": []}},
            {"classTitle": "cat", "geometryType": "bitmap",
             "bitmap": {"data": base64.b64encode(zlib.compress(png.getvalue())).decode(), "origin": [45, 30]}},
        ]  # fmt: skip
        content = {"description": "", "tags": [], "size": {"height": HEIGHT, "width": WIDTH}, "objects": objects}
        (folder / "streets" / "ann" / f"t{number}.png.json").write_text(json.dumps(content))
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[6:31, 8:41] = 2
        ring = np.zeros_like(mask)
        cv2.fillPoly(ring, [np.array(objects[1]["points"]["exterior"])], 1)
        cv2.fillPoly(ring, [np.array(hole)], 0)
        mask[ring > 0] = 1
        cv2.fillPoly(mask, [np.array(exterior)], 2)
        mask[30:39, 45:56][np.asarray(bits) > 0] = 1
        save_mask(mask, root, "supervisely", f"t{number}")


if __name__ == "__main__":
    place = Path(sys.argv[1])
    for write in (write_labelme, write_coco, write_cvat, write_panoptic, write_supervisely):
        write(place)
