"""EXIF orientations and 16 bits a channel: numpy, Pillow and TensorFlow agree."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from pipeline.data import decode
from pipeline.data.image_files import read_index_mask
from pipeline.data.pixels import displayed_size, orientation_of, read_orientation, scaled_values, turn_array
from tests.data.oriented import ORIENTATION, as_stored, png_of_16_bits, save_oriented

orientations = st.integers(1, 8)
turn_in_graph = tf.function(
    decode.turn_image, input_signature=[tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int32)]
)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


# ---- orientation


@settings(max_examples=60)
@given(orientations, st.integers(1, 9), st.integers(1, 9))
def test_arrays_and_tensors_are_turned_as_by_pillow(orientation: int, height: int, width: int) -> None:
    pixels = noise(height, width)
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    expected = np.array(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(turn_array(pixels, orientation), expected)
    np.testing.assert_array_equal(turn_in_graph(tf.constant(pixels), tf.constant(orientation)), expected)
    assert displayed_size((height, width), orientation) == expected.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_turned_file_is_the_displayed_image(tmp_path: Path, suffix: str, orientation: int) -> None:
    path, displayed = tmp_path / f"a{suffix}", Image.fromarray(noise(16, 24))
    save_oriented(as_stored(displayed, orientation), path, orientation)
    assert read_orientation(path) == orientation
    found = decode.decode_file(path, orientation)
    with Image.open(path) as stored:
        np.testing.assert_array_equal(found, np.array(ImageOps.exif_transpose(stored)))
    if suffix == ".png":
        np.testing.assert_array_equal(found, np.array(displayed))


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_undefined_orientation_is_none(tmp_path: Path, value: int) -> None:
    for path in (tmp_path / "a.jpg", tmp_path / "a.png"):
        save_oriented(Image.fromarray(noise(3, 5)), path, value)
        assert read_orientation(path) == 1


def test_orientation_after_the_pixels_of_a_png(tmp_path: Path) -> None:
    """The PNG specification allows eXIf there."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = 6
    Image.fromarray(noise(3, 5)).save(buffer, "PNG")
    content = buffer.getvalue()
    chunk = png_chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(content[:-12] + chunk + content[-12:])
    assert read_orientation(tmp_path / "a.png") == 6


@pytest.mark.filterwarnings("ignore::UserWarning:PIL.TiffImagePlugin")  # as outside of pytest
@settings(max_examples=300)
@given(st.data())
def test_damaged_exif_data_are_no_orientation_and_no_error(data: st.DataObject) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    content = bytearray(exif.tobytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    buffer = io.BytesIO()
    Image.fromarray(noise(3, 5)).save(buffer, "JPEG", exif=bytes(content))
    with Image.open(buffer) as opened:
        assert orientation_of(opened) in range(1, 9)


# ---- kinds of PNG that Pillow does not write

PASSES = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]  # Adam7


def png_of(pixels: np.ndarray, colour_type: int, chunks: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG of (height, width, channels) uint8 with further chunks before its pixels."""
    parts = [pixels[top::down, left::right] for top, left, down, right in PASSES] if interlaced else [pixels]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 8, colour_type, 0, 0, interlaced)
    content = png_chunk(b"IHDR", header) + chunks + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("height", [1, 3, 21])
def test_interlaced_and_gamma_do_not_change_pixels(tmp_path: Path, height: int, interlaced: bool) -> None:
    pixels = noise(height, 13)
    gamma = png_chunk(b"gAMA", struct.pack(">I", 30000)) + png_chunk(b"sBIT", b"\x05\x05\x05")
    (tmp_path / "a.png").write_bytes(png_of(pixels, 2, gamma, interlaced))
    np.testing.assert_array_equal(decode.decode_file(tmp_path / "a.png"), pixels)
    with Image.open(tmp_path / "a.png") as opened:
        np.testing.assert_array_equal(np.array(opened), pixels)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("order", ["", "t", "bt", "ht", "tb", "gt", "et", "g", "x"])
def test_masks_are_their_indices_whatever_chunks_they_have(tmp_path: Path, order: str, interlaced: bool) -> None:
    indices = np.random.default_rng(0).integers(0, 256, (11, 13, 1), np.uint8)
    palette = png_chunk(b"PLTE", bytes(range(256)) * 3)
    chunks = {
        "t": png_chunk(b"tRNS", b"\0\1"),
        "b": png_chunk(b"bKGD", b"\3"),
        "h": png_chunk(b"hIST", bytes(512)),
        "g": png_chunk(b"gAMA", struct.pack(">I", 30000)),
        "e": png_chunk(b"tEXt", b"Comment\0tRNS"),
    }
    extra = palette + b"".join(chunks[name] for name in order) if order != "x" else chunks["g"] + palette
    (tmp_path / "a.png").write_bytes(png_of(indices, 3, extra, interlaced))
    np.testing.assert_array_equal(read_index_mask(tmp_path / "a.png"), indices[..., 0])
    np.testing.assert_array_equal(decode.decode_mask(str(tmp_path / "a.png")), indices[..., 0])


# ---- more than 8 bits


@settings(max_examples=50)
@given(st.integers(0, 65534), st.integers(1, 65535))
def test_values_are_scaled_by_the_plain_formula(low: int, extent: int) -> None:
    high = min(65535, low + extent)
    found = scaled_values(low, high)
    for value in (0, low, (low + high) // 2, high, 65535):
        assert found[value] == min(255, max(0, round((value - low) * 255 / (high - low))))
    assert (np.diff(found.astype(int)) >= 0).all() and (found[low], found[high]) == (0, 255)


def test_the_range_of_earlier_runs_is_the_high_byte() -> None:
    np.testing.assert_array_equal(scaled_values(127.5, 65407.5), np.arange(2**16) >> 8)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("bounds", [(0.0, 65535.0), (1000.0, 1120.0), (127.5, 65407.5)])
def test_16_bit_files_are_scaled_and_lose_their_alpha(
    tmp_path: Path, channels: int, bounds: tuple[float, float]
) -> None:
    values = np.random.default_rng(1).integers(0, 2**16, (5, 7, channels)).astype(np.uint16)
    values[0] = np.arange(995, 1002)[:, None]
    (tmp_path / "a.png").write_bytes(png_of_16_bits(values))
    colours = np.repeat(values[..., :1], 3, axis=2) if channels < 3 else values[..., :3]
    low, high = bounds
    expected = np.clip(np.round((colours.astype(float) - low) * 255 / (high - low)), 0, 255)
    np.testing.assert_array_equal(decode.decode_file(tmp_path / "a.png", 1, bounds), expected)
    turned = decode.decode_file(tmp_path / "a.png", 6, bounds)
    np.testing.assert_array_equal(turned, turn_array(expected, 6))
    if bounds[0] == 127.5:
        np.testing.assert_array_equal(decode.decode_file(tmp_path / "a.png"), expected)
    np.testing.assert_array_equal(decode.decode_16_bits(tmp_path / "a.png"), colours)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_range_does_not_change_images_of_8_bits(tmp_path: Path, name: str) -> None:
    Image.fromarray(noise(5, 7)).save(tmp_path / name)
    np.testing.assert_array_equal(
        decode.decode_file(tmp_path / name, 1, (10.0, 20.0)), decode.decode_file(tmp_path / name)
    )
