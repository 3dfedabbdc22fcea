"""Training images from memory, from a file of decoded images or from their own files: the same bits."""

import re
import resource
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.data.stream import training_stream
from pipeline.data.training_images import DecodedImages, FileImages, TrainingImages, training_images
from pipeline.data.voc import Example
from pipeline.runtime.errors import UserError
from tests.data.augmentations import IDENTITY, STANDARD
from tests.data.folders import MIXED_SIZES, Folder, examples_of, sizes_of

LARGE, SMALL = 700, 100  # long sides at which seven tiny images need more than one MiB, and less


@pytest.fixture
def examples(voc_folder: Folder) -> list[Example]:
    """Seven images of mixed sizes."""
    return examples_of(voc_folder(train=7, val=0, test=0, size=MIXED_SIZES))


@pytest.fixture
def decoded(tmp_path: Path) -> Path:
    return tmp_path / "decoded" / "images.bin"


def is_mapped(images: TrainingImages, decoded: Path) -> bool:
    return isinstance(images, DecodedImages) and decoded.exists()


@pytest.mark.parametrize("long_side", [None, 20, 50, LARGE])
def test_memory_mapped_file_and_files_give_the_same_bits(
    examples: list[Example], long_side: int | None, decoded: Path
) -> None:
    sizes, reported = sizes_of(examples), []
    files = training_images(examples, sizes, long_side, 0, decoded)
    memory = training_images(examples, sizes, long_side, 64, decoded, lambda *now: reported.append(now))
    assert isinstance(files, FileImages) and isinstance(memory, DecodedImages) and not decoded.exists()
    assert [done for _, done, _ in reported] == list(range(1, 8)) and {total for *_, total in reported} == {7}
    sources: list[TrainingImages] = [files, memory]
    if long_side == LARGE:
        sources.append(training_images(examples, sizes, long_side, 1, decoded))
        assert is_mapped(sources[-1], decoded)
    config = Config(image_size=16, long_side=long_side, batch_size=3, epochs=2, seed=5)
    config.augment = STANDARD
    streams = [training_stream(source, 7, config).as_numpy_iterator() for source in sources]
    for batches in zip(*streams, strict=True):
        for batch in batches[1:]:
            np.testing.assert_array_equal(batch[0], batches[0][0])
            np.testing.assert_array_equal(batch[1], batches[0][1])


def test_rectangle_is_cut_from_the_whole_image(examples: list[Example], decoded: Path) -> None:
    for source in (training_images(examples, sizes_of(examples), 30, cache, decoded) for cache in (0, 1)):
        for index, example in enumerate(examples):
            image = decode.scale_image(decode.decode_image(str(example.image)), 30).numpy()
            mask = decode.scale_mask(decode.decode_mask(str(example.mask)), 30).numpy()
            height, width = source.sizes[index].numpy()
            assert image.shape == (height, width, 3) and max(mask.shape) == 30
            for top, left, bottom, right in ((0, 0, height, width), (1, 2, height - 1, width - 2), (0, 3, 1, 4)):
                found = source.rectangle(
                    tf.constant(index), tf.constant([top, left]), tf.constant([bottom - top, right - left])
                )
                np.testing.assert_array_equal(found[0], image[top:bottom, left:right])
                np.testing.assert_array_equal(found[1], mask[top:bottom, left:right])


@pytest.mark.parametrize(("pixels", "fits"), [(2**18 - 256, True), (2**18, True), (2**18 + 256, False)])
def test_memory_holds_four_bytes_a_pixel(pixels: int, fits: bool, tmp_path: Path, decoded: Path) -> None:
    """Exactly `cache_mb` MiB still fit; more does not."""
    height, width = pixels // 256, 256
    Image.fromarray(np.zeros((height, width, 3), np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((height, width), np.uint8)).save(tmp_path / "mask.png")
    example = Example("a", tmp_path / "a.png", tmp_path / "mask.png")
    images = training_images([example], np.array([[height, width]]), None, 1, decoded)
    assert isinstance(images, DecodedImages) and decoded.exists() != fits


def test_memory_is_counted_at_working_scale(examples: list[Example], decoded: Path) -> None:
    training_images(examples, sizes_of(examples), SMALL, 1, decoded)
    assert not decoded.exists()
    training_images(examples, sizes_of(examples), LARGE, 1, decoded)
    assert decoded.exists()


def test_mapped_file_is_decoded_once(examples: list[Example], decoded: Path) -> None:
    """And not again while the file exists; the unfinished file of an interrupted process is replaced."""
    decoded.parent.mkdir(parents=True)
    decoded.with_name(f".{decoded.name}.unfinished").write_bytes(b"interrupted")
    decoded.write_bytes(b"cut off")
    reported: list[int] = []
    first = training_images(examples, sizes_of(examples), LARGE, 1, decoded, lambda _, done, __: reported.append(done))
    assert reported == list(range(1, 8)) and not decoded.with_name(f".{decoded.name}.unfinished").exists()
    again = training_images(examples, sizes_of(examples), LARGE, 1, decoded, lambda _, done, __: reported.append(done))
    assert len(reported) == 7
    whole = tf.constant(3), tf.constant([0, 0]), first.sizes[3]
    np.testing.assert_array_equal(first.rectangle(*whole)[0], again.rectangle(*whole)[0])


@pytest.mark.skipif(sys.platform != "linux", reason="the memory of the process is read from /proc")
def test_stream_does_not_copy_images_in_memory() -> None:
    """tf.data copies constants into its graph: as a constant, all images would be in memory twice."""

    def private_memory() -> int:
        status = Path("/proc/self/status").read_text()
        return int(re.findall(r"RssAnon:\s*(\d+)", status)[0]) * 1024

    sizes = np.array([[1000, 1000]] * 40)
    content = np.ones(4 * 40 * 10**6, np.uint8)
    images = DecodedImages(sizes, content)
    config = Config(image_size=16, long_side=None, batch_size=2, epochs=1)
    config.augment = IDENTITY
    before = private_memory()
    batches = iter(training_stream(images, 40, config))
    next(batches)
    assert private_memory() - before < content.nbytes / 2


def test_too_little_disk_space_leaves_the_files(
    examples: list[Example], decoded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=2**20))
    images = training_images(examples, sizes_of(examples), LARGE, 1, decoded)
    assert isinstance(images, FileImages) and not decoded.exists()


def test_disk_that_fills_up_is_reported(examples: list[Example], decoded: Path) -> None:
    """And no part of the file remains. Here no file may be larger than a MiB."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(UserError, match=r"images\.bin: cannot be written: File too large; set another data_dir"):
            training_images(examples, sizes_of(examples), LARGE, 1, decoded)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not [path for path in decoded.parent.iterdir() if path.suffix != ".lock"]


def test_folder_that_cannot_be_written_is_named(examples: list[Example], tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(UserError, match=r"taken/images\.bin: cannot be written .*set another data_dir"):
        training_images(examples, sizes_of(examples), LARGE, 1, tmp_path / "taken" / "images.bin")
