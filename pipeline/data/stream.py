"""From examples to batches with tf.data: training crops without end, and whole images in batches of equal size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import augment, decode
from pipeline.data.sampling import balanced_draws, shuffled_indices
from pipeline.data.stream_map import parallel_map
from pipeline.data.training_images import TrainingImages
from pipeline.data.voc import Example
from pipeline.runtime.seeds import derive_seed


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Full batches in an epoch. What is left over differs from epoch to epoch, since the order does."""
    return examples // batch_size


def training_stream(
    source: TrainingImages,
    examples: int,
    config: Config,
    start_step: int = 0,
    factors: np.ndarray | None = None,
) -> tf.data.Dataset:
    """One flat stream of batches over all epochs, from any step on.

    The batch of a step is a pure function of (seed, step): the order of an epoch is drawn from (seed, epoch), the
    augmentation from (seed, epoch, index, how often the image came before). Neither depends on how many workers map.

    Args:
        factors: (examples,) how often each image is wanted; None: each once in an epoch.

    Yields:
        ((batch, crop, crop, 3) uint8, (batch, crop, crop) uint8).
    """
    crop, batch_size, share = config.image_size, config.batch_size, config.augment.cutmix
    taken = steps_per_epoch(examples, batch_size) * batch_size  # of each epoch's order
    augment_seed, mix_seed, order_seed = (derive_seed(config.seed, what) for what in ("augment", "cutmix", "order"))
    start_epoch, done = divmod(start_step * batch_size, taken)

    @tf.autograph.experimental.do_not_convert
    def drawn(epoch: tf.Tensor) -> tf.data.Dataset:
        if factors is None:
            order, repeated = shuffled_indices(order_seed, epoch, examples)[:taken], tf.zeros([taken], tf.int32)
        else:
            order, repeated = balanced_draws(order_seed, epoch, factors, taken)
        rows = order + examples * repeated  # belong to no other crop of the epoch
        numbers = augment.random_numbers(augment_seed, epoch, rows)
        windows = augment.crop_windows(tf.gather(source.sizes, order), crop, config.augment, numbers)
        changes = augment.colour_changes(config.augment, numbers)
        mixing = augment.random_numbers(mix_seed, epoch, rows) if share else tf.zeros([taken, 0])
        return tf.data.Dataset.from_tensor_slices((order, windows, changes, mixing))

    def crop_of(
        index: tf.Tensor, window: augment.Window, change: augment.ColourChange | None, mixing: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        image, mask = source.part(index, window.start, window.extent)
        image, mask = augment.warp(image, mask, window, crop)
        image = augment.change_colours(image, change)
        return (image, mask, mixing) if share else (image, mask)

    def mixed(images: tf.Tensor, masks: tf.Tensor, mixing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment.cut_and_mix(images, masks, mixing, share)

    plan = tf.data.Dataset.range(start_epoch, config.epochs).flat_map(drawn).skip(done)
    batches = parallel_map(plan, crop_of).batch(batch_size, drop_remainder=True)
    return (parallel_map(batches, mixed) if share else batches).prefetch(2)


def whole_images(
    examples: Sequence[Example], sizes: np.ndarray, *, long_side: int | None, multiple: int, batch_size: int
) -> tf.data.Dataset:
    """Whole images for scoring, in batches of equal padded size; the order of the examples within a size is kept.

    Args:
        sizes: (examples, 2) height and width of the files' images.
        multiple: what both sides are padded to a multiple of.

    Yields:
        index (batch,) int64 of the example; image (batch, height, width, 3) uint8, scaled and padded; working size
        (batch, 2) int32 of the image in it; mask (batch, tall, wide) uint8 at the file's own size, filled up with
        255 to the largest of the batch; own size (batch, 2) int32.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    own = tf.constant(sizes, tf.int32)
    for index, scaled in enumerate(decode.working_size(own, long_side).numpy()):
        groups.setdefault(tuple(decode.padded_length(int(side), multiple) for side in scaled), []).append(index)
    batches = [group[i : i + batch_size] for group in groups.values() for i in range(0, len(group), batch_size)]
    images = tf.constant([str(example.image) for example in examples])
    masks = tf.constant([str(example.mask) for example in examples])

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
    return parallel_map(stream, load).prefetch(2)
