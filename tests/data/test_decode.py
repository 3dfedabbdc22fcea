"""From a file to the input of the network: the same pixels as Pillow, then scaling and padding."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import decode

sides = st.integers(1, 40)
long_sides = st.integers(8, 60)


def smooth_image(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth random colours: noise would be lost in JPEG's quantisation, and all decoders agree on a plain image."""
    small = np.random.default_rng(seed).integers(0, 256, (-(-height // 4), -(-width // 4), 3), np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def decoded(path: Path) -> np.ndarray:
    return decode.decode_image(str(path)).numpy()


def as_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


# ---- images


@pytest.mark.parametrize("size", [(37, 53), (48, 64), (1, 1), (8, 1)])
@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("RGB", {"subsampling": "4:4:4"}),
        ("RGB", {"subsampling": "4:2:2"}),
        ("RGB", {"subsampling": "4:2:0"}),
        ("RGB", {"subsampling": "4:2:0", "progressive": True, "quality": 60}),
        ("L", {}),
        ("CMYK", {}),
    ],
)
def test_jpeg_has_the_pixels_of_pillow(
    tmp_path: Path, size: tuple[int, int], mode: str, options: dict[str, object]
) -> None:
    path = tmp_path / "image.jpg"
    smooth_image(*size).convert(mode).save(path, **options)
    assert decoded(path).shape == (*size, 3)
    np.testing.assert_array_equal(decoded(path), as_pillow(path))


def test_tensorflow_default_gives_other_pixels(tmp_path: Path) -> None:
    """So the comparison above can fail: without INTEGER_ACCURATE it does."""
    path = tmp_path / "image.jpg"
    smooth_image(48, 64).save(path)
    assert (tf.io.decode_jpeg(path.read_bytes(), channels=3).numpy() != as_pillow(path)).mean() > 0.1


def test_cmyk_keeps_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    colours = np.zeros((16, 48, 3), np.uint8)
    colours[:, :16], colours[:, 16:32], colours[:, 32:] = (250, 20, 20), (20, 250, 20), (240, 240, 240)
    Image.fromarray(colours).convert("CMYK").save(path, quality=95, subsampling=0)
    assert np.abs(decoded(path).astype(int) - colours).max() < 12


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1", "LA"])
def test_png_has_the_pixels_of_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "image.png"
    smooth_image(13, 17).convert(mode).save(path)
    np.testing.assert_array_equal(decoded(path), as_pillow(path))


def test_alpha_is_dropped_not_blended(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 4), np.uint8)
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(decoded(path), pixels[..., :3])


def test_transparent_palette_entry_keeps_its_colour(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    smooth_image(9, 11).quantize(8).save(path, transparency=2)
    np.testing.assert_array_equal(decoded(path), as_pillow(path))


def test_16_bit_grey_without_a_range_becomes_its_high_byte(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    grey = np.random.default_rng(0).integers(0, 2**16, (9, 11)).astype(np.uint16)
    Image.fromarray(grey).save(path)
    np.testing.assert_array_equal(decoded(path), np.repeat((grey >> 8)[..., np.newaxis], 3, axis=2))


def test_exif_orientation_is_not_applied_unasked(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees when shown
    upright, rotated = tmp_path / "upright.jpg", tmp_path / "rotated.jpg"
    smooth_image(24, 40).save(upright)
    smooth_image(24, 40).save(rotated, exif=exif)
    np.testing.assert_array_equal(decoded(rotated), decoded(upright))


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    smooth_image(9, 11).save(path, format="PNG")
    np.testing.assert_array_equal(decoded(path), as_pillow(path))


def test_jpeg_that_ends_too_early_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ValueError, match="damaged or end too early"):
        decode.decode_file(path)


@pytest.mark.parametrize("content", [b"no image", b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"])
def test_file_that_is_not_an_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "image.jpg").write_bytes(content)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(tmp_path / "image.jpg")


def test_half_a_png_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    smooth_image(48, 64).save(path)
    path.write_bytes(path.read_bytes()[:-900])
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoded(path)


def test_same_pixels_inside_a_dataset(tmp_path: Path) -> None:
    names = [str(tmp_path / "one.jpg"), str(tmp_path / "two.png")]
    smooth_image(9, 11, 1).save(names[0])
    smooth_image(12, 7, 2).save(names[1])
    stream = tf.data.Dataset.from_tensor_slices(names).map(decode.decode_image, num_parallel_calls=2)
    assert stream.element_spec.shape.as_list() == [None, None, 3]
    for name, image in zip(names, stream.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(image, as_pillow(Path(name)))


# ---- scale


@settings(max_examples=60, deadline=None)
@given(sides, sides, long_sides)
@example(1, 1, 8)
@example(1, 40, 9)
@example(40, 1, 9)
@example(2, 1000, 8)
def test_long_side_is_exact_and_aspect_is_preserved(height: int, width: int, long_side: int) -> None:
    tall, wide = decode.working_size(tf.constant([height, width]), long_side).numpy()
    assert max(tall, wide) == long_side
    short, scale = min(height, width), long_side / max(height, width)
    assert min(tall, wide) == 1 or abs(min(tall, wide) - short * scale) <= 0.5
    assert min(tall, wide) >= 1


def test_own_size_without_a_long_side() -> None:
    image, mask = tf.zeros((5, 9, 3), tf.uint8), tf.zeros((5, 9), tf.uint8)
    assert decode.working_size(tf.constant([5, 9]), None).numpy().tolist() == [5, 9]
    assert decode.scale_image(image, None) is image
    assert decode.scale_mask(mask, None) is mask


@settings(max_examples=40, deadline=None)
@given(sides, sides, long_sides, st.integers(0, 9))
def test_image_and_mask_are_scaled_alike(height: int, width: int, long_side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.choice(np.array([0, 3, 17, 255], np.uint8), (height, width))
    image = tf.constant(rng.integers(0, 256, (height, width, 3), np.uint8))
    scaled, mask = decode.scale_image(image, long_side), decode.scale_mask(tf.constant(labels), long_side)
    size = decode.working_size(tf.constant([height, width]), long_side).numpy().tolist()
    assert scaled.shape == (*size, 3) and mask.shape == size
    assert scaled.dtype == mask.dtype == tf.uint8
    assert set(np.unique(mask)) <= set(np.unique(labels))
    # The pixel with the nearest centre; where two are equally near, either is right.
    rows, columns = ((np.arange(new) + 0.5) * old / new for new, old in zip(size, (height, width), strict=True))
    nearest = labels[np.ix_(rows.astype(int), columns.astype(int))]
    tied = np.logical_or.outer(np.abs(rows - rows.round()) < 1e-3, np.abs(columns - columns.round()) < 1e-3)
    assert (mask.numpy() == nearest)[~tied].all()


def test_scaling_to_its_own_size_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 37, 3), np.uint8)
    np.testing.assert_array_equal(decode.scale_image(tf.constant(image), 37), image)
    np.testing.assert_array_equal(decode.scale_mask(tf.constant(image[..., 0]), 37), image[..., 0])


def test_shrinking_averages_and_enlarging_interpolates() -> None:
    """Noise that is shrunk by 8 is nearly grey, as is the mean of 64 pixels; a ramp remains a ramp."""
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    shrunk = decode.scale_image(tf.constant(noise), 16).numpy().astype(float)
    assert shrunk.std() < 255 / np.sqrt(12) / 8
    blocks = noise.reshape(16, 8, 16, 8, 3).mean(axis=(1, 3))
    assert np.corrcoef(shrunk.ravel(), blocks.ravel())[0, 1] > 0.7
    ramp = np.repeat(np.array([[[0], [100], [200]]], np.uint8), 3, axis=2)
    enlarged = decode.scale_image(tf.constant(np.repeat(ramp, 3, axis=0)), 6).numpy()
    np.testing.assert_array_equal(enlarged[0, :, 0], [0, 25, 75, 125, 175, 200])


# ---- padding


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.sampled_from([1, 2, 4, 8, 16, 32]))
@example(1, 1, 32)
@example(2, 1, 32)
@example(33, 2, 32)
def test_padding_is_the_reflection_of_numpy(height: int, width: int, multiple: int) -> None:
    image = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), np.uint8)
    padded = decode.pad_reflect(tf.constant(image), multiple)
    room = [(0, -side % multiple) for side in (height, width)]
    expected = np.pad(image, [*room, (0, 0)], mode="reflect")
    assert padded.dtype == tf.uint8
    np.testing.assert_array_equal(padded, expected)
    assert expected.shape[:2] == tuple(decode.padded_length(side, multiple) for side in (height, width))


def test_padding_keeps_the_static_rank_in_a_graph() -> None:
    spec = tf.TensorSpec((None, None, 3), tf.uint8)
    padded = tf.function(lambda image: decode.pad_reflect(image, 8), input_signature=[spec])
    assert padded.get_concrete_function().output_shapes.as_list() == [None, None, 3]
    assert padded(tf.zeros((9, 3, 3), tf.uint8)).shape == (16, 8, 3)
