"""How fast this project is next to what people would use instead, and next to what the machine can do at most.

`python -m tests.benchmarks <VOC folder> <output.md> [peers=<python>] [only=input,step,…] [repeats=5]` prints tables in
Markdown and writes them to the file. `peers` is the interpreter of an environment with `torch`, `albumentations`,
`torchmetrics` and `pillow`; without it only this project and the limits are measured.
"""

import itertools
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.runtime.kernels import cpu_field
from tests.benchmarks.contest import Contender, contest, table
from tests.benchmarks.machine import RETAINED, described
from tests.benchmarks.startup import startup

THREADS = 2
SCALE = (0.7, 1.5)


@dataclass(frozen=True)
class Work:
    """What is measured: on which images, with whose interpreter, how often."""

    images: list[str]
    masks: list[str]
    peers: str | None
    repeats: int

    def table(self, title: str, unit: str, contenders: list[Contender]) -> list[str]:
        """Of those contenders whose interpreter there is."""
        return table(title, unit, contest([one for one in contenders if one.python], self.repeats))


def limits(work: Work) -> Iterator[list[str]]:
    """What the machine can do at most."""
    ours = partial(Contender, module="limits")
    yield work.table(
        "Matrix products",
        "GFLOP/s",
        [ours(dtype, settings={"threads": THREADS, "precision": dtype}) for dtype in ("float32", "bfloat16")],
    )
    yield work.table(
        "Bare JPEG decoding", "images/s", [ours("TensorFlow", settings={"threads": THREADS, "images": work.images})]
    )


def inputs(work: Work) -> Iterator[list[str]]:
    """Training crops."""
    common = {
        "images": work.images, "masks": work.masks, "crop": 256, "batch": 8, "threads": THREADS, "scale": SCALE,
    }  # fmt: skip
    peer = partial(Contender, module="input_torch", python=work.peers or "")
    ours = partial(Contender, module="input_ours")
    loader = "DataLoader, 2 workers, albumentations"
    yield work.table(
        "Decoding the training images into memory, once in a run",
        "images/s",
        [ours("ours", settings={**common, "cache_mb": 4096, "decode": True})],
    )
    yield work.table(
        "Input from the files (in the page cache)",
        "crops/s",
        [
            ours("ours, cache_mb=0", settings={**common, "cache_mb": 0, "decode": False}),
            peer(loader, settings={**common, "memory": False}),
        ],
    )
    yield work.table(
        "Input from memory",
        "crops/s",
        [
            ours("ours", settings={**common, "cache_mb": 4096, "decode": False}),
            peer(loader, settings={**common, "memory": False}),
            peer(f"{loader}, images kept in memory by hand", settings={**common, "memory": True}),
        ],
    )


def augmentation(work: Work) -> Iterator[list[str]]:
    """Training crops of each preset, from memory."""
    common = {
        "images": work.images, "masks": work.masks, "crop": 256, "batch": 8, "threads": THREADS, "scale": SCALE,
    }  # fmt: skip
    for preset in ("standard", "any_orientation", "strong"):
        settings = {**common, "augment": preset, "scale": (0.5, 2.0) if preset == "strong" else SCALE}
        yield work.table(
            f"Crops of 256 pixels from memory, augment={preset}",
            "crops/s",
            [
                Contender("ours", "input_ours", {**settings, "cache_mb": 4096, "decode": False}),
                Contender(
                    "DataLoader, 2 workers, albumentations, images kept in memory by hand",
                    "input_torch", {**settings, "memory": True}, work.peers or "",
                ),
            ],
        )  # fmt: skip


def steps(work: Work) -> Iterator[list[str]]:
    """Training steps; in bfloat16 where the processor multiplies it, since others take ten times as long."""
    common = {"threads": THREADS, "batch": 8, "side": 256, "depth": 4, "width": 16, "steps": 2}
    peer = partial(Contender, module="step_torch", python=work.peers or "")
    fast = {"avx512_bf16", "amx_bf16"} & set(cpu_field("flags").split())
    for precision in ("float32", *(("mixed_bfloat16",) if fast else ())):
        settings = {**common, "precision": precision}
        yield work.table(
            f"Training step, U-Net of depth 4 and width 16, 256 pixels, batch 8, {precision}",
            "images/s",
            [
                Contender("ours", "step_ours", settings),
                Contender("ours, kernels=eigen", "step_ours", settings, kernels="eigen"),
                peer("PyTorch, eager, channels_last", settings=settings),
                peer("PyTorch, the same, malloc retains its memory", settings=settings, variables=RETAINED),
            ],
        )
    frozen = {**common, "precision": "float32", "options": ["experiment=voc_small", "dataset.root=/"]}
    yield work.table(
        "Training step of voc_small, float32",
        "images/s",
        [
            Contender("ours", "step_ours", frozen),
            Contender("ours, kernels=eigen", "step_ours", frozen, kernels="eigen"),
        ],
    )


def evaluation(work: Work) -> Iterator[list[str]]:
    """Scores of a split, at the images' own size and scaled to a long side."""
    unet, small = ["dataset=voc2012", "model.width=8"], ["experiment=voc_small"]
    for title, options, images in (
        ("U-Net of width 8 at the images' own size", unet, 40),
        ("voc_small", small, 80),
    ):
        with tempfile.TemporaryDirectory() as folder:
            settings = {
                "images": work.images[:images], "masks": work.masks[:images], "options": options,
                "threads": THREADS, "precision": "float32",
            }  # fmt: skip
            matrices = [Path(folder) / name for name in ("ours", "obvious")]
            yield work.table(
                f"Scoring, {title}, float32",
                "images/s",
                [
                    Contender("ours", "evaluation", {**settings, "ours": True, "matrix": str(matrices[0])}),
                    Contender(
                        "ours, kernels=eigen",
                        "evaluation",
                        {**settings, "ours": True, "matrix": str(Path(folder) / "eigen")},
                        kernels="eigen",
                    ),
                    Contender(
                        "an image at a time",
                        "evaluation",
                        {
                            **settings,
                            "options": [*options, "kernels=tensorflow"],
                            "ours": False,
                            "matrix": str(matrices[1]),
                        },
                        kernels="tensorflow",
                    ),
                ],
            )
            one, other = (np.array(json.loads(matrix.read_text())) for matrix in matrices)
            yield [f"{np.abs(one - other).sum()} of {one.sum()} counts differ.", ""]


def epochs(work: Work) -> Iterator[list[str]]:
    """Whole epochs of training, with their input."""
    for precision in ("float32", "mixed_bfloat16"):
        settings = {
            "images": work.images[:160], "masks": work.masks[:160], "side": 128, "batch": 8, "width": 8,
            "threads": THREADS, "precision": precision,
        }  # fmt: skip
        yield work.table(
            f"An epoch of 160 images, U-Net of depth 4 and width 8, 128 pixels, batch 8, {precision}",
            "images/s",
            [
                Contender("ours", "epoch", {**settings, "ours": True, "one_batch": False}),
                Contender("ours, one batch again and again", "epoch", {**settings, "ours": True, "one_batch": True}),
                Contender(
                    "keras.io's way: PyDataset and fit", "epoch", {**settings, "ours": False}, kernels="tensorflow"
                ),
            ],
        )


def waiting(work: Work) -> Iterator[list[str]]:
    """What the input keeps training from, where a step is short."""
    common = {"images": work.images, "masks": work.masks, "threads": THREADS, "steps": 20}
    for place, cache_mb in (("memory", 4096), ("the files", 0)):
        yield work.table(
            f"Training waits for its input from {place}",
            "% of its time",
            [
                Contender(name, "waiting", {**common, "options": ["dataset=voc2012", *options], "cache_mb": cache_mb})
                for name, options in (
                    ("experiment=shapes_quick, 64 pixels", ["experiment=shapes_quick", "image_size=64"]),
                    ("the default network, 64 pixels", ["image_size=64"]),
                    ("experiment=voc_small", ["experiment=voc_small"]),
                    ("the default network, 256 pixels", ["image_size=256"]),
                )
            ],
        )


def counts(work: Work) -> Iterator[list[str]]:
    """Confusion matrices alone."""
    settings = {"images": 100, "threads": THREADS}
    yield work.table(
        "Confusion matrices of 500x375 pixels, 21 classes",
        "images/s",
        [
            Contender("ours", "counts", {**settings, "way": "ours"}),
            Contender("numpy.bincount", "counts", {**settings, "way": "numpy"}),
            Contender("torchmetrics", "counts", {**settings, "way": "torchmetrics"}, work.peers or ""),
        ],
    )


def commands(work: Work) -> Iterator[list[str]]:
    """Seconds of whole commands, and of an epoch's tracking."""
    yield startup(work.repeats)


PARTS: dict[str, Callable[[Work], Iterator[list[str]]]] = {
    "limits": limits,
    "input": inputs,
    "augmentation": augmentation,
    "step": steps,
    "epoch": epochs,
    "waiting": waiting,
    "evaluation": evaluation,
    "counts": counts,
    "commands": commands,
}


def main() -> None:
    folder, output = Path(sys.argv[1]).absolute(), Path(sys.argv[2])
    options = dict(argument.split("=", 1) for argument in sys.argv[3:])
    ids = (folder / "ImageSets" / "Segmentation" / "train.txt").read_text().split()
    work = Work(
        [str(folder / "JPEGImages" / f"{example_id}.jpg") for example_id in ids],
        [str(folder / "SegmentationClass" / f"{example_id}.png") for example_id in ids],
        options.get("peers"),
        int(options.get("repeats", "5")),
    )
    with output.open("a") as file:
        for part in options.get("only", ",".join(PARTS)).split(","):
            for lines in itertools.chain([[described(), ""]], PARTS[part](work)):
                print("\n".join(lines), flush=True)
                print("\n".join(lines), file=file, flush=True)


if __name__ == "__main__":
    main()
