"""Generated data of two kinds that recipes are tried on: street scenes with thin poles and signs, grey microscopy.

`python -m tests.benchmarks.standins <folder>` writes `<folder>/streets` and `<folder>/microscopy` in VOC layout, the
same bytes each time. Streets have no background, seven classes, void at the lower edge and along outlines, and poles of
two to five pixels; microscopy has touching cells on a background, uneven light and noise, and sizes that vary.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from pipeline.data.palette import VOID, voc_palette

STREETS = ("sky", "building", "vegetation", "road", "pavement", "pole", "sign")
CELLS = ("background", "cell")
COUNTS = {"streets": (200, 60), "microscopy": (40, 40)}  # train and test
WIDTH, HEIGHT = 640, 320
Scene = tuple[Image.Image, Image.Image]


def street(rng: np.random.Generator) -> Scene:
    """A scene from a car: (640, 320) RGB and its mask."""
    image, mask = Image.new("RGB", (WIDTH, HEIGHT)), Image.new("L", (WIDTH, HEIGHT))
    horizon, middle = int(rng.integers(120, 175)), int(rng.integers(220, 420))

    def paint(label: str, draw: str, shape: list[tuple[int, int]], colour: tuple[int, ...], **more: int) -> None:
        getattr(ImageDraw.Draw(image), draw)(shape, fill=colour, **more)
        getattr(ImageDraw.Draw(mask), draw)(shape, fill=STREETS.index(label), **more)

    def shade(base: tuple[int, int, int], by: int = 25) -> tuple[int, ...]:
        return tuple(int(value) for value in np.clip(np.array(base) + rng.integers(-by, by + 1, 3), 0, 255))

    paint("sky", "rectangle", [(0, 0), (WIDTH, HEIGHT)], shade((170, 190, 215), 40))
    left = 0
    while left < WIDTH:  # houses and trees along the horizon, lower towards the middle
        wide = int(rng.integers(40, 130))
        near = abs(left + wide / 2 - middle) / WIDTH
        top = int(horizon - (20 + 200 * near) * rng.uniform(0.6, 1.1))
        if rng.random() < 0.6:
            paint("building", "rectangle", [(left, top), (left + wide, horizon + 20)], shade((120, 105, 95), 45))
            for row in range(top + 8, horizon, 16):
                for column in range(left + 6, left + wide - 8, 14):
                    ImageDraw.Draw(image).rectangle([(column, row), (column + 6, row + 8)], fill=shade((70, 75, 85)))
        else:
            for _ in range(12):
                x, y = left + rng.integers(0, wide), top + rng.integers(0, max(1, horizon - top))
                size = int(rng.integers(12, 34))
                box = [(int(x) - size, int(y) - size), (int(x) + size, int(y) + size)]
                paint("vegetation", "ellipse", box, shade((65, 95, 50), 30))
        left += wide
    paint("pavement", "rectangle", [(0, horizon + 12), (WIDTH, HEIGHT)], shade((140, 135, 130), 20))
    edges = [(middle, horizon + 8), (int(rng.integers(420, 720)), HEIGHT), (int(rng.integers(-80, 220)), HEIGHT)]
    paint("road", "polygon", edges, shade((85, 85, 90), 20))
    for _ in range(int(rng.integers(3, 8))):  # poles and signs, thinner the further away
        x, near = int(rng.integers(0, WIDTH)), float(rng.uniform(0.3, 1))
        foot, head = int(horizon + 20 + 90 * near), int(horizon - 140 * near)
        colour, thick = shade((110, 110, 115), 40), max(2, round(5 * near))
        paint("pole", "line", [(x, foot), (x, head)], colour, width=thick)
        if rng.random() < 0.6:
            size = max(4, round(16 * near))
            place = [(x - size, head - size), (x + size, head + size)]
            bright = shade(((200, 30, 30), (30, 60, 170), (220, 190, 40))[int(rng.integers(3))], 30)
            paint("sign", ("ellipse", "rectangle")[int(rng.integers(2))], place, bright)
        elif rng.random() < 0.5:
            reach = int(40 * near) * (1 if x < middle else -1)
            paint("pole", "line", [(x, head), (x + reach, head - 3)], colour, width=max(2, thick - 1))
    labels = np.asarray(mask).copy()
    labels[HEIGHT - 12 :] = VOID  # the car itself
    pixels = np.asarray(image.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
    lit = pixels * rng.uniform(0.55, 1.15) + rng.normal(0, 5, pixels.shape)
    return Image.fromarray(np.clip(lit, 0, 255).astype(np.uint8)), Image.fromarray(labels)


def microscopy(rng: np.random.Generator) -> Scene:
    """Cells under a microscope: grey, 200 to 520 pixels wide, and its mask."""
    width, height = (int(side) for side in rng.integers(200, 520, 2))
    rows, columns = np.mgrid[:height, :width]
    labels, light = np.zeros((height, width), np.uint8), np.zeros((height, width))
    for _ in range(int(width * height / rng.uniform(1500, 6000))):
        row, column, size = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(7, 22)
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(0.6, 1.0)
        down, across = rows - row, columns - column
        along, beside = np.cos(angle) * across + np.sin(angle) * down, np.cos(angle) * down - np.sin(angle) * across
        turn = np.arctan2(beside, along)
        wave = 1 + 0.12 * np.sin(3 * turn + rng.uniform(0, 6)) + 0.07 * np.sin(5 * turn + rng.uniform(0, 6))
        distance = np.hypot(along, beside / stretch) / (size * wave)
        labels[distance < 1] = 1
        body = rng.uniform(25, 80) * (0.6 + 0.4 * distance**2)  # brighter at the rim
        light = np.where(distance < 1, np.maximum(light, body), light)
    uneven = 40 * (rng.uniform(-1, 1) * rows / height + rng.uniform(-1, 1) * columns / width)
    blurred = Image.fromarray((60 + uneven + light).clip(0, 255).astype(np.uint8)).filter(
        ImageFilter.GaussianBlur(rng.uniform(0.8, 2.0))
    )
    noisy = np.asarray(blurred, np.float32) + rng.normal(0, rng.uniform(4, 14), labels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8)), Image.fromarray(labels)


def write(root: Path, scene: Callable[[np.random.Generator], Scene], classes: tuple[str, ...], seed: int) -> None:
    """A folder in VOC layout, unless it is there already."""
    lists = root / "ImageSets" / "Segmentation"
    if lists.exists():
        return
    for name in ("JPEGImages", "SegmentationClass"):
        (root / name).mkdir(parents=True, exist_ok=True)
    ids: dict[str, list[str]] = {}
    for split, count in zip(("train", "test"), COUNTS[root.name], strict=True):
        ids[split] = [f"{split}_{number:04}" for number in range(count)]
        for number, name in enumerate(ids[split]):
            image, mask = scene(np.random.default_rng([seed, split == "test", number]))
            image.save(root / "JPEGImages" / f"{name}.png")
            mask.putpalette(voc_palette().tobytes())
            mask.save(root / "SegmentationClass" / f"{name}.png")
    background = "background" if "background" in classes else "null"
    (root / "dataset.yaml").write_text(f"classes: [{', '.join(classes)}]\nbackground: {background}\n")
    lists.mkdir(parents=True)
    for split, names in ids.items():
        (lists / f"{split}.txt").write_text("\n".join(names) + "\n")


def write_standins(folder: Path) -> dict[str, Path]:
    """Both, by name."""
    write(folder / "streets", street, STREETS, 0)
    write(folder / "microscopy", microscopy, CELLS, 1)
    return {name: folder / name for name in COUNTS}


if __name__ == "__main__":
    for place in write_standins(Path(sys.argv[1])).values():
        print(place)
