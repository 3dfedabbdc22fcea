"""How well the memory of training is estimated: `python -m tests.benchmarks.memory` trains networks, a process each.

Prints, for each, the peak of its resident memory in three steps beyond what it had before the first, the estimate of
`pipeline.train.cost`, and what would certainly be taken.
"""

import subprocess
import sys
import threading
import time

NETWORKS = """
model.depth=4 model.width=16 image_size=256 batch_size=8 precision=float32
model.depth=4 model.width=16 image_size=256 batch_size=8 precision=mixed_bfloat16
model.depth=4 model.width=16 image_size=256 batch_size=2 precision=mixed_bfloat16
model.depth=3 model.width=16 image_size=64 batch_size=8 precision=mixed_bfloat16
model.depth=4 model.width=32 image_size=256 batch_size=4 precision=float32
model.depth=5 model.width=64 image_size=128 batch_size=4 precision=mixed_bfloat16
model=unet_efficientnet_lite0 model.encoder_weights=null image_size=256 batch_size=8 precision=mixed_bfloat16
model=unet_efficientnet_lite0 model.encoder_weights=null image_size=256 batch_size=16 precision=float32
model=unet_efficientnet_lite2 model.encoder_weights=null image_size=256 batch_size=4 precision=mixed_bfloat16
model=unet_efficientnetv2_b0 model.encoder_weights=null image_size=256 batch_size=4 precision=mixed_bfloat16
model=unet_resnet50 model.encoder_weights=null image_size=256 batch_size=4 precision=float32
model=unet_vgg16 model.encoder_weights=null image_size=128 batch_size=4 precision=mixed_bfloat16
model=unet_mobilenet_v2 model.encoder_weights=null image_size=256 batch_size=8 precision=float32
model.depth=4 model.width=16 image_size=256 batch_size=8 precision=float32 optimizer=sgd
model=unet_efficientnet_lite0 optimizer.encoder_rate=0 image_size=256 batch_size=12 precision=mixed_bfloat16
"""
MIB, STEPS = 2**20, 3


def measure(overrides: list[str]) -> None:
    """Train a network on random crops in this process, and print a row of the table."""
    from pipeline.runtime.hardware import import_tensorflow, resolve_auto, set_up

    import_tensorflow()
    import numpy as np
    import psutil

    from pipeline.config.overrides import checked_config
    from pipeline.model.build import build_network
    from pipeline.model.losses import SegmentationLoss
    from pipeline.train.compiled import CompiledNetwork
    from pipeline.train.cost import training_cost
    from pipeline.train.optimizers import training_schedule

    config = resolve_auto(checked_config(["dataset=folder", "dataset.root=/", "threads=2", *overrides]))
    set_up(config)
    side, batch, classes = config.image_size, config.batch_size, len(config.dataset.classes)
    loss = SegmentationLoss(config.loss, np.ones(classes, np.float32))
    model = CompiledNetwork.of(build_network(config), training_schedule(config, STEPS), loss, config).model
    cost = training_cost(model, config)
    images = np.random.default_rng(0).integers(0, 256, (batch, side, side, 3), np.uint8)
    masks = np.random.default_rng(1).integers(0, classes, (batch, side, side), np.uint8)
    process, done = psutil.Process(), threading.Event()
    before = process.memory_info().rss
    peaks = [before]

    def watch() -> None:
        while not done.is_set():
            peaks.append(process.memory_info().rss)
            time.sleep(0.005)

    watching = threading.Thread(target=watch)
    watching.start()
    for _ in range(STEPS):
        model.train_on_batch(images, masks)
    done.set()
    watching.join()
    found = [max(peaks) - before, cost.memory(batch), cost.least_memory(batch)]
    cells = " | ".join(f"{value / MIB:.0f} MiB" for value in found)
    print(f"| {' '.join(overrides)} | {cells} | {found[1] / found[0]:.2f} | {found[2] / found[0]:.2f} |", flush=True)


def main() -> None:
    """A table in Markdown."""
    print("| network | peak | estimate | certain | estimate / peak | certain / peak |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for network in NETWORKS.strip().splitlines():
        subprocess.run([sys.executable, "-m", "tests.benchmarks.memory", *network.split()], check=True)


if __name__ == "__main__":
    measure(sys.argv[1:]) if sys.argv[1:] else main()
