"""Images of any kind become JPEG or PNG of 8 bits, as viewers display them; what is that already keeps its bytes."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.convert.images import Recipe, read_image, smaller, value_range
from tests.convert.sources import assert_masks, converted, drawn_image, index_mask, masks_of, refused, save, write_pairs
from tests.data.oriented import STORED, as_stored, png_of_16_bits, save_oriented


def image_of(output: Path, name: str = "a0") -> Path:
    (found,) = (output / "JPEGImages").glob(f"{name}.*")
    return found


def test_what_can_be_read_is_linked(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    save(source / "images/b.png", drawn_image(9))
    save(source / "masks/b.png", index_mask(9))
    output = converted(source)
    for name in ("a0.jpg", "b.png"):
        assert os.path.samefile(output / "JPEGImages" / name, source / "images" / name)


@pytest.mark.parametrize("orientation", [orientation for orientation in STORED if orientation != 1])
def test_orientation_is_applied_to_the_image(tmp_path: Path, orientation: int) -> None:
    source = write_pairs(tmp_path / "s", count=3)
    shown = drawn_image(0).resize((64, 48)).crop((0, 0, 32, 24))
    save_oriented(as_stored(shown, orientation), source / "images/a0.png", orientation)
    (source / "images/a0.jpg").unlink()
    output = converted(source)
    assert np.array_equal(np.asarray(Image.open(image_of(output))), np.asarray(shown))
    assert_masks(output, {f"a{number}": index_mask(number) for number in range(3)})


def test_a_mask_of_the_stored_pixels_is_turned_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write_pairs(tmp_path / "s", count=3)
    save_oriented(as_stored(drawn_image(0), 6), source / "images/a0.jpg", 6)
    save(source / "masks/a0.png", as_stored(Image.fromarray(index_mask(0)), 6))
    assert_masks(converted(source), {f"a{number}": index_mask(number) for number in range(3)})
    assert "0 taken as drawn on the displayed image, 1 turned with it" in capsys.readouterr().out


def test_16_bits_are_scaled_by_one_range(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.linspace(1000, 3000, 24 * 32).reshape(24, 32).astype(np.uint16)
    source = write_pairs(tmp_path / "s", count=3, image="images/{}.png")
    for number, low in enumerate((0, 500)):
        path = source / f"images/a{number}.png"
        path.write_bytes(png_of_16_bits((values - low)[..., None]))
    output = converted(source)
    assert "values from 500 to 3000 became 0 to 255" in capsys.readouterr().out
    expected = np.rint((values.astype(float) - 500) * 255 / 2500)
    assert np.array_equal(np.asarray(Image.open(image_of(output))), expected)
    output = converted(source, "intensity=[1000,2000]", "overwrite=true")
    assert np.asarray(Image.open(image_of(output))).max() == 255


def test_tiff_of_16_bits_in_colour_and_of_numbers(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    colour = np.random.default_rng(0).integers(0, 4096, (24, 32, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "colour.tif", colour, photometric="rgb")
    tifffile.imwrite(tmp_path / "number.tif", colour[..., 0].astype(np.float32))
    recipe = Recipe(intensity=(0, 4095))
    expected = np.rint(colour.astype(float) * 255 / 4095).astype(np.uint8)
    assert np.array_equal(read_image(tmp_path / "colour.tif", recipe).pixels, expected)
    assert np.array_equal(read_image(tmp_path / "number.tif", recipe).pixels, expected[..., 0])


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_png_of_16_bits_in_colour_or_with_transparency(tmp_path: Path, channels: int) -> None:
    values = np.random.default_rng(channels).integers(0, 2**16, (24, 32, channels)).astype(np.uint16)
    (tmp_path / "a.png").write_bytes(png_of_16_bits(values))
    recipe = Recipe(intensity=(100, 60_000))
    shown = values[..., 0] if channels == 2 else values[..., :3]
    expected = np.clip(np.rint((shown.astype(float) - 100) * 255 / 59_900), 0, 255)
    assert np.array_equal(read_image(tmp_path / "a.png", recipe).pixels, expected)
    assert value_range(tmp_path, "a.png") == (shown.min(), shown.max())


def test_other_kinds_become_rgb_or_grey(tmp_path: Path) -> None:
    noise = drawn_image(0)
    noise.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    noise.convert("RGBA").save(tmp_path / "alpha.png")
    noise.save(tmp_path / "a.bmp")
    noise.save(tmp_path / "a.webp", lossless=True)
    noise.save(tmp_path / "a.tif")
    noise.convert("L").save(tmp_path / "grey.jpg")
    found = {path.name: read_image(path, Recipe()) for path in tmp_path.iterdir()}
    assert {name: one.changes for name, one in found.items()} == {
        "cmyk.jpg": ("CMYK to RGB",),
        "alpha.png": ("transparency dropped",),
        "a.bmp": ("BMP to PNG",),
        "a.webp": ("WEBP to PNG",),
        "a.tif": ("TIFF to PNG",),
        "grey.jpg": (),
    }
    for name in ("alpha.png", "a.bmp", "a.webp", "a.tif"):
        assert np.array_equal(found[name].pixels, np.asarray(noise)), name


def test_larger_images_are_made_smaller_with_their_masks(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    output = converted(source, "max_side=16")
    assert Image.open(image_of(output)).size == (16, 12)
    assert np.array_equal(masks_of(output)["a1"], index_mask(1)[1::2, 1::2])
    assert smaller((32, 24), 40) == (32, 24) and smaller((3000, 1), 100) == (100, 1)


def test_what_is_no_whole_image_is_named(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    (source / "images/a1.jpg").write_bytes(b"nothing")
    whole = (source / "images/a2.jpg").read_bytes()
    (source / "images/a2.jpg").write_bytes(whole[: len(whole) // 2])
    (source / "images/a3.jpg").unlink()
    (source / "images/a3.png").write_bytes(png_of_16_bits(np.zeros((24, 32, 3), np.uint16))[:-30])
    message = refused(source)
    assert f"{source}/images/a1.jpg: is not an image of a known format" in message
    assert f"{source}/images/a2.jpg: cannot be decoded: " in message
    assert "a3.png: cannot be decoded: " in message


def test_a_bomb_ends_in_a_line(tmp_path: Path) -> None:
    source = write_pairs(tmp_path / "s")
    Image.new("1", (20_000, 20_000)).save(source / "images/a0.png")
    (source / "images/a0.jpg").unlink()
    assert "20000x20000 pixels" in refused(source) or "could be decompression bomb" in refused(source)
