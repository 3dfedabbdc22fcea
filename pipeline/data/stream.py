"""From examples to batches of training crops over all epochs, with tf.data."""

from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import augment
from pipeline.data.crop_plan import SEEDS, CropPlan, make_crop, plan_crops
from pipeline.data.sampling import balanced_draws, shuffled_indices
from pipeline.data.stream_map import parallel_map
from pipeline.data.training_images import TrainingImages
from pipeline.runtime.seeds import derive_seed

MOST_STREAMS = 4  # that are traced for one source of images


def steps_per_epoch(examples: int, config: Config) -> int:
    """The batches of an epoch: full ones of one pass over the examples or, with `steps`, an equal part of these.

    The examples that a pass leaves over differ between epochs, as their order does.
    """
    return examples // config.batch_size if config.steps is None else config.steps // config.epochs


def total_steps(examples: int, config: Config) -> int:
    """The batches of a run that nothing ends early."""
    return config.epochs * steps_per_epoch(examples, config)


def training_stream(
    source: TrainingImages,
    examples: int,
    config: Config,
    start_step: int = 0,
    factors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """One flat stream of batches over all epochs, from any step on.

    The batch of a step is a pure function of (seed, step): the order of an epoch is drawn from (seed, epoch), the
    augmentation from (seed, epoch, index, how often the image was drawn before in the epoch). Neither depends on the
    number of workers. With `steps`, an epoch of these is a pass over all examples, and a batch may have the end of one
    and the beginning of the next, so that there may be fewer examples than a batch has. CutMix pastes from the next
    crop of the batch, so with it a crop depends on the batch size, too.

    Args:
        examples: how many there are.
        start_step: the step of the first batch, counted from 0 over all epochs.
        factors: (examples,) how often each image is drawn relative to others; None: each once in an epoch.

    Yields:
        ((batch, crop, crop, 3) uint8 image, (batch, crop, crop) uint8 mask), with crop = config.image_size.
    """
    batch, crop = config.batch_size, config.image_size
    steps = total_steps(examples, config)
    taken = examples if config.steps is not None else examples // batch * batch  # draws of each pass
    constants = repr((examples, taken, batch, crop, config.augment, None if factors is None else factors.tolist()))
    if (build := source.streams.pop(constants, None)) is None:
        build = _stream_builder(source, examples, config, taken, factors)
    source.streams[constants] = build  # the one used last comes last
    if len(source.streams) > MOST_STREAMS:
        del source.streams[next(iter(source.streams))]
    seeds = [derive_seed(config.seed, purpose) for purpose in (*SEEDS, "cutmix", "order")]
    first, done = divmod(start_step * batch, taken)
    passes = [first, -(-steps * batch // taken), done, max(steps - start_step, 0)]
    with tf.device("CPU:0"):
        variant = build(tf.constant(seeds, tf.int64), tf.constant(passes, tf.int64))
    images, masks = (tf.TensorSpec((batch, crop, crop, *channels), tf.uint8) for channels in ((3,), ()))
    stream = tf.data.experimental.from_variant(variant, (images, masks))
    stream.built_by = build  # the variant does not hold the Python functions that it calls
    return stream


def _stream_builder(
    source: TrainingImages, examples: int, config: Config, taken: int, factors: np.ndarray | None
) -> Any:
    """A `tf.function` that builds streams of any seed and from any epoch on; it is traced once, which takes 0.15 s.

    Its arguments are (5,) int64 seeds, of `SEEDS`, CutMix and order, and (4,) int64: the first pass over the examples,
    the one after the last, the draws of the first that are left out, and the batches. It returns the stream as a
    variant.

    Args:
        taken: draws of each pass.
    """
    crop, share = config.image_size, config.augment.cutmix

    @tf.autograph.experimental.do_not_convert
    def plan_epoch(epoch: tf.Tensor, seeds: tf.Tensor) -> Any:
        """What becomes of each draw of a pass, and its numbers for CutMix."""
        mix_seed, order_seed = tf.unstack(seeds[-2:])
        if factors is None:
            order, repeated = shuffled_indices(order_seed, epoch, examples)[:taken], tf.zeros([taken], tf.int32)
        else:
            order, repeated = balanced_draws(order_seed, epoch, factors, taken)
        rows = order + examples * repeated  # different for every crop of the epoch
        plan = plan_crops(config.augment, crop, source.sizes, seeds[:-2], epoch, order, rows)
        mixing = augment.random_numbers(mix_seed, epoch, rows) if share else tf.zeros([taken, 0])
        return tf.data.Dataset.from_tensor_slices((plan, mixing))

    def crop_of(plan: CropPlan, mixing: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image, mask = make_crop(config.augment, crop, source, plan)
        return (image, mask, mixing) if share else (image, mask)

    def mix_batch(images: tf.Tensor, masks: tf.Tensor, mixing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment.cut_and_mix(images, masks, mixing, share)

    signature = [tf.TensorSpec((len(SEEDS) + 2,), tf.int64), tf.TensorSpec((4,), tf.int64)]

    @tf.function(input_signature=signature, autograph=False)
    def build(seeds: tf.Tensor, passes: tf.Tensor) -> tf.Tensor:
        start, end, done, count = tf.unstack(passes)
        plan = tf.data.Dataset.range(start, end).flat_map(lambda epoch: plan_epoch(epoch, seeds))
        batches = parallel_map(plan.skip(done), crop_of).batch(config.batch_size, drop_remainder=True)
        stream = (parallel_map(batches, mix_batch) if share else batches).take(count).prefetch(2)
        return tf.data.experimental.to_variant(stream)

    return build
