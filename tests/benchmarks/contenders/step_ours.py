"""A training step of this project's U-Net on one batch that lies in memory: `fit`, as in a run."""

import numpy as np
import tensorflow as tf

from pipeline.config.overrides import checked_config
from pipeline.model.build import build_network
from pipeline.model.losses import SegmentationLoss
from pipeline.runtime.hardware import resolve_auto, set_up
from pipeline.train.optimizers import WarmupSchedule, build_optimizer
from tests.benchmarks.contenders.clock import Clock
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
batch, side, steps, classes = wanted["batch"], wanted["side"], wanted["steps"], 21
unet = [
    "dataset=voc2012", "optimizer=adam", "model.upsampling=transposed", f"model.depth={wanted['depth']}",
    f"model.width={wanted['width']}", f"optimizer.accumulate={wanted.get('accumulate', 1)}",
]  # fmt: skip
common = [f"threads={wanted['threads']}", f"precision={wanted['precision']}"]
config = resolve_auto(checked_config([*wanted.get("options", unet), *common]))
set_up(config)
network = build_network(config)
schedule = WarmupSchedule(config.schedule, config.optimizer.learning_rate, 1000, 100)
loss = SegmentationLoss(config.loss, np.ones(classes, np.float32))
network.compile(optimizer=build_optimizer(config.optimizer, schedule), loss=loss)
rng = np.random.default_rng(0)
images = rng.integers(0, 256, (batch, side, side, 3), np.uint8)
masks = rng.integers(0, classes, (batch, side, side), np.uint8)
stream = tf.data.Dataset.from_tensors((images, masks)).repeat()


def work() -> tuple[float, float]:
    """In images."""
    clock = Clock()
    network.fit(stream, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
    return batch * steps, clock.seconds


serve(work)
