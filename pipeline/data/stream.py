"""From examples to batches with tf.data: training crops without end, and whole pictures in batches of equal size."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from pipeline.config import Config
from pipeline.data import augment, decode
from pipeline.data.order import balanced_draws, shuffled_indices
from pipeline.data.progress import Progress, silent
from pipeline.data.voc import Example
from pipeline.seeds import derive_seed


def load_example(image_path: tf.Tensor, mask_path: tf.Tensor, long_side: int | None) -> tuple[tf.Tensor, tf.Tensor]:
    """One pair at working scale: (height, width, 3) and (height, width), both uint8."""
    image = decode.scale_image(decode.decode_image(image_path), long_side)
    return image, decode.scale_mask(decode.decode_mask(mask_path), long_side)


class Pictures:
    """Training pairs by index, decoded from their files each time."""

    def __init__(self, examples: Sequence[Example], long_side: int | None) -> None:
        self.long_side = long_side
        self.images = tf.constant([str(example.image) for example in examples])
        self.masks = tf.constant([str(example.mask) for example in examples])

    def load(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The pair of one example, (height, width, 3) and (height, width), both uint8, at working scale."""
        return load_example(self.images[index], self.masks[index], self.long_side)


class CachedPictures:
    """Training pairs by index from memory: decoded once, kept one behind the other as bytes."""

    def __init__(self, files: Pictures, sizes: np.ndarray, progress: Progress = silent) -> None:
        """Decode everything.

        Args:
            sizes: (examples, 2) height and width at working scale.
        """
        self.sizes = tf.constant(sizes, tf.int64)
        pixels = sizes.astype(np.int64).prod(axis=1)
        ends = np.cumsum(pixels)
        self.starts = tf.constant(ends - pixels)
        images, masks = _aligned(3 * ends[-1]).reshape(-1, 3), _aligned(ends[-1])
        decoded = tf.data.Dataset.range(len(sizes)).map(files.load, num_parallel_calls=tf.data.AUTOTUNE)
        for number, (image, mask) in enumerate(decoded.as_numpy_iterator()):
            place = slice(ends[number] - pixels[number], ends[number])
            images[place], masks[place] = image.reshape(-1, 3), mask.ravel()
            progress("decoding pictures into memory", number + 1, len(sizes))
        # Without a copy: the tensors use numpy's memory.
        self.images = tf.experimental.dlpack.from_dlpack(images.__dlpack__())
        self.masks = tf.experimental.dlpack.from_dlpack(masks.__dlpack__())

    def load(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `Pictures.load`, to the last bit."""
        start, (height, width) = self.starts[index], tf.unstack(self.sizes[index])
        image = tf.slice(self.images, [start, 0], [height * width, 3])
        mask = tf.slice(self.masks, [start], [height * width])
        return tf.reshape(image, (height, width, 3)), tf.reshape(mask, (height, width))


def _aligned(count: int, alignment: int = 64) -> np.ndarray:
    """Empty bytes that start at an address TensorFlow's kernels accept, (count,) uint8."""
    room = np.empty(count + alignment, np.uint8)
    start = -room.ctypes.data % alignment
    return room[start : start + count]


def training_pictures(
    examples: Sequence[Example], sizes: np.ndarray, long_side: int | None, cache_mb: int, progress: Progress = silent
) -> Pictures | CachedPictures:
    """Where training pairs come from: memory if all of them fit into `cache_mb` MiB, else their files each time.

    Args:
        sizes: (examples, 2) height and width of the files' pictures.
    """
    files = Pictures(examples, long_side)
    scaled = np.array([decode.working_size(tf.constant(size, tf.int32), long_side).numpy() for size in sizes])
    needed = 4 * int(scaled.astype(np.int64).prod(axis=1).sum())  # three bytes of colour and one of mask a pixel
    return CachedPictures(files, scaled, progress) if needed <= cache_mb * 2**20 else files


def steps_per_epoch(examples: int, batch_size: int) -> int:
    """Full batches in an epoch. What is left over differs from epoch to epoch, since the order does."""
    return examples // batch_size


def training_stream(
    pictures: Pictures | CachedPictures,
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
        image, mask = pictures.load(index)
        box = augment.crop_box(tf.shape(mask), crop, config.augment, numbers)
        return *augment.warp(image, mask, box, crop), numbers, mixing

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
