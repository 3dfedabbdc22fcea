"""From examples to batches with tf.data: training crops over all epochs, and whole images in batches of equal size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import augment, decode
from pipeline.data.palette import VOID
from pipeline.data.sampling import balanced_draws, shuffled_indices
from pipeline.data.stream_map import parallel_map
from pipeline.data.training_images import TrainingImages
from pipeline.data.voc import Example
from pipeline.runtime.seeds import derive_seed

# What `whole_images` yields.
WHOLE_IMAGES = (
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None, None, None, 3), tf.uint8),
    tf.TensorSpec((None, 2), tf.int32),
    tf.TensorSpec((None, None, None), tf.uint8),
    tf.TensorSpec((None, 2), tf.int32),
)


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """The number of full batches in an epoch. The examples left over differ between epochs, as their order does."""
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
    augmentation from (seed, epoch, index, how often the image was drawn before in the epoch). Neither depends on the
    number of workers.

    Args:
        examples: how many there are.
        start_step: the step of the first batch, counted from 0 over all epochs.
        factors: (examples,) how often each image is drawn relative to others; None: each once in an epoch.

    Yields:
        ((batch, crop, crop, 3) uint8 image, (batch, crop, crop) uint8 mask), with crop = config.image_size.
    """
    crop, batch_size, share = config.image_size, config.batch_size, config.augment.cutmix
    taken = steps_per_epoch(examples, batch_size) * batch_size  # draws of each epoch
    augment_seed, mix_seed, order_seed = (derive_seed(config.seed, what) for what in ("augment", "cutmix", "order"))
    start_epoch, done = divmod(start_step * batch_size, taken)

    @tf.autograph.experimental.do_not_convert
    def plan_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        """What becomes of each draw of an epoch: index, window, change of colours, numbers for CutMix."""
        if factors is None:
            order, repeated = shuffled_indices(order_seed, epoch, examples)[:taken], tf.zeros([taken], tf.int32)
        else:
            order, repeated = balanced_draws(order_seed, epoch, factors, taken)
        rows = order + examples * repeated  # different for every crop of the epoch
        numbers = augment.random_numbers(augment_seed, epoch, rows)
        windows = augment.crop_windows(tf.gather(source.sizes, order), crop, config.augment, numbers)
        changes = augment.colour_changes(config.augment, numbers)
        mixing = augment.random_numbers(mix_seed, epoch, rows) if share else tf.zeros([taken, 0])
        return tf.data.Dataset.from_tensor_slices((order, windows, changes, mixing))

    def make_crop(
        index: tf.Tensor, window: augment.Window, change: augment.ColourChange | None, mixing: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        image, mask = source.rectangle(index, window.start, window.extent)
        image, mask = augment.warp(image, mask, window, crop)
        image = augment.change_colours(image, change)
        return (image, mask, mixing) if share else (image, mask)

    def mix_batch(images: tf.Tensor, masks: tf.Tensor, mixing: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment.cut_and_mix(images, masks, mixing, share)

    plan = tf.data.Dataset.range(start_epoch, config.epochs).flat_map(plan_epoch).skip(done)
    batches = parallel_map(plan, make_crop).batch(batch_size, drop_remainder=True)
    return (parallel_map(batches, mix_batch) if share else batches).prefetch(2)


def whole_images(
    examples: Sequence[Example], sizes: np.ndarray, *, long_side: int | None, multiple: int, batch_size: int
) -> tf.data.Dataset:
    """Whole images for scoring, in batches of equal padded size; the order of the examples within a size is kept.

    Args:
        sizes: (examples, 2) height and width of the images before scaling.
        multiple: both sides are padded to a multiple of it.

    Yields:
        index: (batch,) int64, of the example.
        image: (batch, height, width, 3) uint8, scaled and padded.
        working size: (batch, 2) int32, of the scaled image without its padding.
        mask: (batch, tall, wide) uint8 at the image's own size, padded with 255 to the largest of the batch.
        own size: (batch, 2) int32, of the image before scaling.
    """
    own = tf.constant(sizes, tf.int32)  # (examples, 2)
    batches = _batches_of_equal_size(decode.working_size(own, long_side).numpy(), multiple, batch_size)
    decode_image = decode.image_decoder(examples)
    masks = tf.constant([str(example.mask) for example in examples])

    def load(indices: tf.Tensor) -> tuple[tf.Tensor, ...]:
        tall, wide = tf.unstack(tf.reduce_max(tf.gather(own, indices), axis=0))

        def load_one(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
            image = decode.scale_image(decode_image(index), long_side)
            mask = decode.decode_mask(masks[index])
            height, width = tf.unstack(tf.shape(mask))
            padded = tf.pad(mask, [[0, tall - height], [0, wide - width]], constant_values=VOID)
            return decode.pad_reflect(image, multiple), tf.shape(image)[:2], padded, tf.shape(mask)

        types = (tf.uint8, tf.int32, tf.uint8, tf.int32)
        return indices, *tf.map_fn(load_one, indices, fn_output_signature=types)

    rows = tf.RaggedTensor.from_row_lengths(
        tf.constant([index for batch in batches for index in batch], tf.int64), [len(batch) for batch in batches]
    )
    stream = tf.data.Dataset.from_tensor_slices(rows)
    return parallel_map(stream, load).prefetch(2)


def _batches_of_equal_size(sizes: np.ndarray, multiple: int, batch_size: int) -> list[list[int]]:
    """Indices of the images in batches of equal padded size.

    Args:
        sizes: (images, 2) height and width before padding.
    """
    groups: dict[tuple[int, ...], list[int]] = {}  # padded size -> indices
    for index, size in enumerate(sizes):
        groups.setdefault(tuple(decode.padded_length(int(side), multiple) for side in size), []).append(index)
    return [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
