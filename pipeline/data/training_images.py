"""Where training images come from: memory, a file of decoded images, or their own files, decoded each time."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.data import decode
from pipeline.data.lock import data_lock
from pipeline.data.stream_map import parallel_map
from pipeline.data.voc import Example
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.progress import Progress, silent

ImageAndMask = tuple[tf.Tensor, tf.Tensor]  # (height, width, 3) uint8 and (height, width) uint8
DecodedPairs = Iterator[tuple[np.ndarray, np.ndarray]]  # the same as arrays, in the order of the examples
MIB = 2**20


class FileImages:
    """Training images and masks by index, decoded from their files each time."""

    def __init__(self, examples: Sequence[Example], sizes: np.ndarray, long_side: int | None) -> None:
        """Args: sizes: (examples, 2) height and width at working scale."""
        self.sizes, self.long_side = tf.constant(sizes, tf.int32), long_side
        self.streams: dict[str, Any] = {}  # traced by `pipeline.data.stream`
        self.decode_image = decode.image_decoder(examples)
        self.masks = tf.constant([str(example.mask) for example in examples])

    def whole(self, index: tf.Tensor) -> ImageAndMask:
        """One image and its mask at working scale."""
        image = decode.scale_image(self.decode_image(index), self.long_side)
        return image, decode.scale_mask(decode.decode_mask(self.masks[index]), self.long_side)

    def rectangle(self, index: tf.Tensor, start: tf.Tensor, extent: tf.Tensor) -> ImageAndMask:
        """A rectangle of one image and its mask at working scale.

        Args:
            index: scalar, of the example.
            start: (2,) int32, the top row and the left column.
            extent: (2,) int32, height and width.
        """
        image, mask = self.whole(index)
        (top, left), (bottom, right) = tf.unstack(start), tf.unstack(start + extent)
        return image[top:bottom, left:right], mask[top:bottom, left:right]


class DecodedImages:
    """Training images and masks by index, decoded once and stored one after another as bytes."""

    def __init__(self, sizes: np.ndarray, content: np.ndarray) -> None:
        """Args:
        sizes: (examples, 2) height and width at working scale.
        content: (4 * pixels,) uint8, the colours of all images and then all masks; it is not copied.
        """
        ends = _pixel_ends(sizes)
        self.sizes = tf.constant(sizes, tf.int32)
        self.streams: dict[str, Any] = {}  # traced by `pipeline.data.stream`
        self._sizes, self._starts = sizes, ends - sizes.prod(axis=1)
        self._colours, self._labels = content[: 3 * ends[-1]].reshape(-1, 3), content[3 * ends[-1] :]

    def rectangle(self, index: tf.Tensor, start: tf.Tensor, extent: tf.Tensor) -> ImageAndMask:
        """The same bits as `FileImages.rectangle`.

        It is cut out by numpy: as a tensor, all images would be copied into the graph of tf.data; as a variable, they
        could not be read in parallel.
        """
        image, mask = tf.numpy_function(self._cut, [index, start, extent], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(mask, (None, None))

    def _cut(self, index: np.ndarray, start: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = self._sizes[index]
        pixels = slice(self._starts[index], self._starts[index] + height * width)
        rows, columns = (slice(first, first + length) for first, length in zip(start, extent, strict=True))
        image = self._colours[pixels].reshape(height, width, 3)[rows, columns]
        mask = self._labels[pixels].reshape(height, width)[rows, columns]
        return np.ascontiguousarray(image), np.ascontiguousarray(mask)


TrainingImages = FileImages | DecodedImages


def training_images(
    examples: Sequence[Example],
    sizes: np.ndarray,
    long_side: int | None,
    cache_mb: int,
    decoded: Path,
    progress: Progress = silent,
) -> TrainingImages:
    """Training images by index, from the first of these places that has room for them.

    1. Memory, if all of them fit into `cache_mb` MiB.
    2. A file of decoded images, if that leaves half of the disk's free space. The operating system caches it in memory
       as far as it can, and other processes and later runs use it too.
    3. Their own files, decoded each time; also if `cache_mb` is 0.

    Args:
        sizes: (examples, 2) height and width of the images before scaling.
        decoded: the file of decoded images; its name identifies its content.

    Raises:
        UserError: the file of decoded images cannot be written.
    """
    scaled = decode.working_size(tf.constant(sizes, tf.int32), long_side).numpy().astype(np.int64)
    files, pixels = FileImages(examples, scaled, long_side), int(_pixel_ends(scaled)[-1])
    if not cache_mb:
        return files
    pairs = _decode_all(files, len(scaled), progress)
    needed = 4 * pixels  # bytes: three of colour and one of mask
    if needed <= cache_mb * MIB:
        return DecodedImages(scaled, _in_memory(pairs, pixels))
    with data_lock(decoded, progress):
        if not decoded.exists() or decoded.stat().st_size != needed:
            if 2 * needed > shutil.disk_usage(decoded.parent).free:
                return files
            _write(decoded, pairs, pixels)
    return DecodedImages(scaled, np.memmap(decoded, np.uint8, "r", shape=(needed,)))


def _decode_all(files: FileImages, count: int, progress: Progress) -> DecodedPairs:
    pairs = parallel_map(tf.data.Dataset.range(count), files.whole)
    for number, pair in enumerate(pairs.as_numpy_iterator()):
        yield pair
        progress("decoding images", number + 1, count)


def _in_memory(pairs: DecodedPairs, pixels: int) -> np.ndarray:
    """(4 * pixels,) uint8: the colours of all images and then all masks."""
    content, done = np.empty(4 * pixels, np.uint8), 0
    for image, mask in pairs:
        content[3 * done : 3 * done + image.size] = image.ravel()
        content[3 * pixels + done :][: mask.size] = mask.ravel()
        done += mask.size
    return content


def _write(decoded: Path, pairs: DecodedPairs, pixels: int) -> None:
    """Write the same as `_in_memory` to a file, which is complete or absent."""
    unfinished = decoded.with_name(f".{decoded.name}.unfinished")
    try:
        unfinished.write_bytes(b"")
        # Not through a memory map: when the disk is full, writing to it ends the process.
        with unfinished.open("r+b") as colours, unfinished.open("r+b") as labels:
            labels.seek(3 * pixels)
            for image, mask in pairs:
                colours.write(image.data)
                labels.write(mask.data)
        publish(unfinished, decoded)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)  # it may be large, and would not be continued
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"{decoded}: cannot be written: {error.strerror}; set another data_dir, a larger cache_mb, or cache_mb=0"
        ) from error


def _pixel_ends(sizes: np.ndarray) -> np.ndarray:
    """The number of pixels up to the end of each image, (examples,) int64."""
    return np.cumsum(sizes.astype(np.int64).prod(axis=1))
