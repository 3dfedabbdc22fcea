"""From examples to batches with tf.data: training crops without end, and whole pictures in batches of equal size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.config import Config
from pipeline.data import augment, decode
from pipeline.data.order import balanced_draws, shuffled_indices
from pipeline.data.pictures import Pictures
from pipeline.data.voc import Example
from pipeline.seeds import derive_seed


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Full batches in an epoch. What is left over differs from epoch to epoch, since the order does."""
    return examples // batch_size


def training_stream(
    pictures: Pictures,
    examples: int,
    config: Config,
    start_step: int = 0,
    factors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """One flat stream of batches over all epochs, from any step on.

    The batch of a step is a pure function of (seed, step): the order of an epoch is drawn from (seed, epoch), the
    augmentation from (seed, epoch, index, how often the picture came before). Neither depends on how many workers map.

    Args:
        factors: (examples,) how often each picture is wanted; None: each once in an epoch.

    Yields:
        ((batch, crop, crop, 3) uint8, (batch, crop, crop) uint8).
    """
    crop, batch_size, share = config.image_size, config.batch_size, config.augment.cutmix
    taken = steps_per_epoch(examples, batch_size) * batch_size  # of each epoch's order
    augment_seed, mix_seed, order_seed = (derive_seed(config.seed, what) for what in ("augment", "cutmix", "order"))
    start_epoch, done = divmod(start_step * batch_size, taken)

    def epoch_order(epoch: tf.Tensor) -> tf.data.Dataset:
        if factors is None:
            order, repeated = shuffled_indices(order_seed, epoch, examples)[:taken], tf.zeros([taken], tf.int32)
        else:
            order, repeated = balanced_draws(order_seed, epoch, factors, taken)
        return tf.data.Dataset.from_tensor_slices((tf.fill([taken], epoch), order, repeated))

    def crop_at(epoch: tf.Tensor, index: tf.Tensor, repeated: tf.Tensor) -> tuple[tf.Tensor, ...]:
        drawn = epoch, index + examples * repeated  # belongs to no other crop
        numbers = augment.random_numbers(augment_seed, *drawn)
        mixing = augment.random_numbers(mix_seed, *drawn) if share else tf.zeros([0])
        window = augment.crop_window(pictures.sizes[index], crop, config.augment, numbers)
        image, mask = pictures.part(index, window.start, window.extent)
        return *augment.warp(image, mask, window, crop), numbers, mixing

    def change_batch(
        images: tf.Tensor, masks: tf.Tensor, numbers: tf.Tensor, mixing: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        images = augment.jitter_colours(images, numbers, config.augment)
        return augment.cut_and_mix(images, masks, mixing, share) if share else (images, masks)

    order = tf.data.Dataset.range(start_epoch, config.epochs).flat_map(epoch_order).skip(done)
    crops = order.map(crop_at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = crops.batch(batch_size, drop_remainder=True)
    return batches.map(change_batch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)


def whole_pictures(
    examples: Sequence[Example], sizes: np.ndarray, *, long_side: int | None, multiple: int, batch_size: int
) -> tf.data.Dataset:
    """Whole pictures for scoring, in batches of equal padded size; the order of the examples within a size is kept.

    Args:
        sizes: (examples, 2) height and width of the files' pictures.
        multiple: what both sides are padded to a multiple of.

    Yields:
        index (batch,) int64 of the example; image (batch, height, width, 3) uint8, scaled and padded; working size
        (batch, 2) int32 of the picture in it; mask (batch, tall, wide) uint8 at the file's own size, filled up with
        255 to the largest of the batch; own size (batch, 2) int32.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, size in enumerate(sizes):
        scaled = decode.working_size(tf.constant(size, tf.int32), long_side).numpy()
        groups.setdefault(tuple(decode.padded_length(int(side), multiple) for side in scaled), []).append(index)
    batches = [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]
    images = tf.constant([str(example.image) for example in examples])
    masks = tf.constant([str(example.mask) for example in examples])
    own = tf.constant(sizes, tf.int32)

    def load(indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tall, wide = tf.unstack(tf.reduce_max(tf.gather(own, indices), axis=0))

        def one(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image = decode.scale_image(decode.decode_image(images[index]), long_side)
            mask = decode.decode_mask(masks[index])
            height, width = tf.unstack(tf.shape(mask))
            filled = tf.pad(mask, [[0, tall - height], [0, wide - width]], constant_values=255)
            return decode.pad_reflect(image, multiple), tf.shape(image)[:2], filled, tf.shape(mask)

        types = (tf.uint8, tf.int32, tf.uint8, tf.int32)
        return indices, *tf.map_fn(one, indices, fn_output_signature=types)

    rows = tf.RaggedTensor.from_row_lengths(
        tf.constant([index for batch in batches for index in batch], tf.int64), [len(batch) for batch in batches]
    )
    stream = tf.data.Dataset.from_tensor_slices(rows)
    return stream.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(2)
