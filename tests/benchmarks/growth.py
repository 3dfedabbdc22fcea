"""How speed and memory grow: with the number of images, their size, the network, the batch and the threads.

`python -m tests.benchmarks.growth <VOC folder> [only=images,step]` prints tables in Markdown. Memory is a
process's own; an image that is mapped from a file is not.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.contest import Contender, Process
from tests.benchmarks.machine import described

STEP = {"threads": 2, "batch": 8, "side": 128, "depth": 4, "width": 8, "steps": 4, "precision": "float32"}
CHANGES: dict[str, list[dict[str, Any]]] = {
    "side of the crop": [{"side": side} for side in (128, 192, 256, 384, 512)],
    "depth": [{"depth": depth} for depth in (2, 3, 4, 5)],
    "width": [{"width": width} for width in (4, 8, 16, 32)],
    "batch": [{"batch": batch} for batch in (1, 4, 8, 16, 32)],
    "batches of 4, gradients accumulated": [{"batch": 4, "accumulate": times} for times in (1, 2, 4, 8)],
    "threads": [{"threads": threads} for threads in (1, 2)],
}


def measured(contender: Contender) -> tuple[float, float]:
    """Best rate of three, and MiB."""
    process = Process(contender)
    rate, memory = max(process.rate() for _ in range(3)), process.memory()
    process.close()
    return rate, memory


def images(folder: Path) -> Iterator[str]:
    """Input with 1, 3 and 10 times the images, copied by symbolic links, within the budget of memory and beyond."""
    ids = (folder / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    yield "| images | cache_mb | crops/s | MiB | MiB of decoded images in the file |"
    yield "| --- | --- | --- | --- | --- |"
    for cache_mb, copies in ((8192, 1), (8192, 3), (100, 1), (100, 3), (100, 10)):
        with tempfile.TemporaryDirectory(dir=".") as name:
            place = Path(name).absolute()
            images, masks = [], []
            for copy in range(copies):
                for name in ids:
                    images.append(_linked(folder / "JPEGImages" / f"{name}.jpg", place / f"{name}_{copy}.jpg"))
                    masks.append(_linked(folder / "SegmentationClass" / f"{name}.png", place / f"{name}_{copy}.png"))
            decoded = place / "decoded.bin"
            settings = {
                "images": images, "masks": masks, "crop": 256, "batch": 8, "threads": 2, "cache_mb": cache_mb,
                "decode": False, "decoded": str(decoded),
            }  # fmt: skip
            rate, memory = measured(Contender("ours", "input_ours", settings))
            size = decoded.stat().st_size / 2**20 if decoded.exists() else 0
            yield f"| {len(images)} | {cache_mb} | {rate:.0f} | {memory:.0f} | {size:.0f} |"


def _linked(file: Path, link: Path) -> str:
    link.symlink_to(file)
    return str(link)


def steps(_: Path) -> Iterator[str]:
    """Training steps, one thing changed at a time."""
    yield f"| {', '.join(f'{key} {value}' for key, value in STEP.items() if key != 'steps')}, but | images/s | MiB |"
    yield "| --- | --- | --- |"
    for what, changes in CHANGES.items():
        for change in changes:
            rate, memory = measured(Contender("ours", "step_ours", {**STEP, **change}))
            yield f"| {what}: {' x '.join(str(value) for value in change.values())} | {rate:.1f} | {memory:.0f} |"


PARTS = {"images": images, "step": steps}


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    options = dict(argument.split("=", 1) for argument in sys.argv[2:])
    print(described() + "\n")
    for part in options.get("only", ",".join(PARTS)).split(","):
        for line in PARTS[part](folder):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
