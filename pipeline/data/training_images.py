"""Where training images come from: memory, a file of decoded images, or their own files each time."""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.data import decode
from pipeline.data.lock import data_lock
from pipeline.data.stream_map import parallel_map
from pipeline.data.voc import Example
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.progress import Progress, silent

Part = tuple[tf.Tensor, tf.Tensor]  # of an image, (height, width, 3), and of its mask, (height, width), both uint8
MIB = 2**20


class FileImages:
    """Training pairs by index, decoded from their files each time."""

    def __init__(self, examples: Sequence[Example], sizes: np.ndarray, long_side: int | None) -> None:
        """Args: sizes: (examples, 2) height and width at working scale."""
        self.sizes, self.long_side = tf.constant(sizes, tf.int32), long_side
        self.images = tf.constant([str(example.image) for example in examples])
        self.masks = tf.constant([str(example.mask) for example in examples])

    def whole(self, index: tf.Tensor) -> Part:
        """One pair at working scale."""
        image = decode.scale_image(decode.decode_image(self.images[index]), self.long_side)
        return image, decode.scale_mask(decode.decode_mask(self.masks[index]), self.long_side)

    def part(self, index: tf.Tensor, start: tf.Tensor, extent: tf.Tensor) -> Part:
        """A rectangle of one pair: `start` and `extent` are (2,) int32 over height and width."""
        image, mask = self.whole(index)
        (top, left), (bottom, right) = tf.unstack(start), tf.unstack(start + extent)
        return image[top:bottom, left:right], mask[top:bottom, left:right]


class DecodedImages:
    """Training pairs by index, decoded once and kept one behind the other as bytes."""

    def __init__(self, sizes: np.ndarray, kept: np.ndarray) -> None:
        """Args:
        sizes: (examples, 2) height and width at working scale.
        kept: (4 * pixels,) uint8, the colours of all images and then all masks; used where they lie.
        """
        ends = _ends(sizes)
        self.sizes = tf.constant(sizes, tf.int32)
        self._sizes, self._starts = sizes, ends - sizes.prod(axis=1)
        self._colours, self._labels = kept[: 3 * ends[-1]].reshape(-1, 3), kept[3 * ends[-1] :]

    def part(self, index: tf.Tensor, start: tf.Tensor, extent: tf.Tensor) -> Part:
        """As `FileImages.part`, to the last bit.

        By numpy: tf.data would copy all images into its graph if they were a tensor, and would no longer work in
        parallel if they were a variable.
        """
        image, mask = tf.numpy_function(self._cut, [index, start, extent], (tf.uint8, tf.uint8), stateful=False)
        return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(mask, (None, None))

    def _cut(self, index: np.ndarray, start: np.ndarray, extent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        height, width = self._sizes[index]
        place = slice(self._starts[index], self._starts[index] + height * width)
        rows, columns = (slice(first, first + length) for first, length in zip(start, extent, strict=True))
        image = self._colours[place].reshape(height, width, 3)[rows, columns]
        return np.ascontiguousarray(image), np.ascontiguousarray(
            self._labels[place].reshape(height, width)[rows, columns]
        )


TrainingImages = FileImages | DecodedImages


def training_images(
    examples: Sequence[Example],
    sizes: np.ndarray,
    long_side: int | None,
    cache_mb: int,
    decoded: Path,
    progress: Progress = silent,
) -> TrainingImages:
    """Training pairs by index, by the first of these that has the room.

    Memory, if all of them fit into `cache_mb` MiB; a file of decoded images, which the operating system keeps in
    memory as far as there is room and which other processes and later runs use as well, if that leaves half of the
    disk's free room; else the files, decoded each time.

    Args:
        sizes: (examples, 2) height and width of the files' images.
        decoded: the file of decoded images; its name tells what is in it.
    """
    scaled = decode.working_size(tf.constant(sizes, tf.int32), long_side).numpy().astype(np.int64)
    files, pixels = FileImages(examples, scaled, long_side), int(_ends(scaled)[-1])
    if not cache_mb:
        return files
    pairs = _decoded_pairs(files, len(scaled), progress)
    if (needed := 4 * pixels) <= cache_mb * MIB:  # three bytes of colour and one of mask
        kept, place = np.empty(needed, np.uint8), 0
        for image, mask in pairs:
            kept[3 * place : 3 * place + image.size] = image.ravel()
            kept[3 * pixels + place :][: mask.size] = mask.ravel()
            place += mask.size
        return DecodedImages(scaled, kept)
    with data_lock(decoded, progress):
        if not decoded.exists() or decoded.stat().st_size != needed:
            if 2 * needed > shutil.disk_usage(decoded.parent).free:
                return files
            _write(decoded, pairs, pixels)
    return DecodedImages(scaled, np.memmap(decoded, np.uint8, "r", shape=(needed,)))


def _decoded_pairs(files: FileImages, count: int, progress: Progress) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    pairs = parallel_map(tf.data.Dataset.range(count), files.whole)
    for number, pair in enumerate(pairs.as_numpy_iterator()):
        yield pair
        progress("decoding images", number + 1, count)


def _write(decoded: Path, pairs: Iterator[tuple[np.ndarray, np.ndarray]], pixels: int) -> None:
    """The colours of all images and then all masks; the file is there in full or not at all."""
    unfinished = decoded.with_name(f".{decoded.name}.unfinished")
    try:
        unfinished.write_bytes(b"")
        # Not through a mapping, which ends the process when the disk is full.
        with unfinished.open("r+b") as images, unfinished.open("r+b") as masks:
            masks.seek(3 * pixels)
            for image, mask in pairs:
                images.write(image.data)
                masks.write(mask.data)
        publish(unfinished, decoded)
    except BaseException as error:
        unfinished.unlink(missing_ok=True)  # it may be large, and would be begun anew
        if not isinstance(error, OSError):
            raise
        raise UserError(
            f"{decoded}: cannot be written: {error.strerror}; set another data_dir, a larger cache_mb, or cache_mb=0"
        ) from error


def _ends(sizes: np.ndarray) -> np.ndarray:
    """Pixels of all images up to and with each, (examples,) int64."""
    return np.cumsum(sizes.astype(np.int64).prod(axis=1))
