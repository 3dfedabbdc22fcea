"""Training crops of this project, from the files or from memory, in the order of its seed."""

import itertools
from dataclasses import replace
from pathlib import Path

import tensorflow as tf

from pipeline.config.overrides import checked_config
from pipeline.data.stream import steps_per_epoch, training_stream
from pipeline.data.training_images import TrainingImages, training_images
from tests.benchmarks.contenders.examples import NOWHERE, examples_of
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
tf.config.threading.set_intra_op_parallelism_threads(wanted["threads"])
tf.config.threading.set_inter_op_parallelism_threads(wanted["threads"])
tf.config.experimental.enable_op_determinism()

options = [f"image_size={wanted['crop']}", f"batch_size={wanted['batch']}", "dataset=voc2012"]
config = checked_config([*options, f"augment={wanted.get('augment', 'standard')}"])
config = replace(config, long_side=None, epochs=1000)
examples, sizes = examples_of(wanted)
steps = steps_per_epoch(len(examples), config)


def decode() -> TrainingImages:
    return training_images(examples, sizes, None, wanted["cache_mb"], Path(wanted.get("decoded", NOWHERE)))


if wanted["decode"]:

    def work() -> float:
        """In images, decoded into memory."""
        decode()
        return len(examples)
else:
    stream = iter(training_stream(decode(), len(examples), config))

    def work() -> float:
        """In crops of an epoch."""
        return sum(len(images) for images, _ in itertools.islice(stream, steps))


serve(work)
