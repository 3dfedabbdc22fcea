"""Images as they are sent to the logged model: arrays, files, base64 of files, and everything that is none of these."""

import base64
import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data import image_files
from pipeline.data.pixels import PixelRules, turn_array
from pipeline.tracking import served_images as module
from pipeline.tracking.served_images import read_images
from pipeline.tracking.serving import BadRequest

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)


def file_of(pixels: np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def text_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


def objects(*values: Any) -> np.ndarray:
    """An array of one axis, whatever the values are."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def read(given: Any, **rules: Any) -> list[np.ndarray]:
    images = list(read_images(given, PixelRules(**rules)))
    assert all(image.dtype == np.uint8 and image.ndim == 3 for image in images)
    return images


PNG = file_of(PIXELS)
WRAPPED = base64.encodebytes(PNG).decode()  # with line breaks


@pytest.mark.parametrize(
    "given",
    [
        PIXELS[np.newaxis],
        PIXELS[np.newaxis].astype(np.int64),
        np.array([PIXELS.tolist()], object),  # as MLflow's server parses JSON
        objects(PIXELS.tolist()),  # as it does where the sizes of images differ
        objects(PIXELS),
        objects(PNG),
        objects(text_of(PNG)),
        np.array([text_of(PNG)]),
        objects(WRAPPED),
        objects(np.array(text_of(PNG), object)),  # of `{"instances": [{"image": …}]}`
        {"image": objects(text_of(PNG))},
    ],
)
def test_every_form_of_an_image_has_its_pixels(given: Any) -> None:
    (image,) = read(given)
    np.testing.assert_array_equal(image, PIXELS)


def test_images_of_several_forms_and_sizes_keep_their_order() -> None:
    other = PIXELS[:4, :5]
    images = read(objects(text_of(PNG), other.tolist(), file_of(other)))
    assert [image.shape for image in images] == [(6, 9, 3), (4, 5, 3), (4, 5, 3)]


def test_files_are_read_by_the_rules_of_the_run() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = objects(text_of(file_of(PIXELS, exif=exif)))
    np.testing.assert_array_equal(read(turned, exif="apply")[0], turn_array(PIXELS, 6))
    np.testing.assert_array_equal(read(turned, exif="ignore")[0], PIXELS)
    with pytest.raises(
        BadRequest, match=r"^image 0: has EXIF orientation 6: .*the model was trained with dataset.exif"
    ):
        read(turned)
    deep = objects(file_of(np.full((2, 2), 4095, np.uint16)))
    assert read(deep, intensity=(0.0, 4095.0))[0].min() == 255
    with pytest.raises(BadRequest, match=r"^image 0: has 16 bits a channel, with values from 4095 to 4095"):
        read(deep)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PIXELS[np.newaxis] / 255, "image 0: values of type float64; whole numbers from 0 to 255 expected"),
        (PIXELS[np.newaxis].astype(int) + 99, "image 0: values from .* to 3..; whole numbers from 0 to 255 expected"),
        (PIXELS[np.newaxis].astype(int) - 256, "image 0: values from -256 to "),
        (PIXELS[np.newaxis] > 9, "image 0: values of type bool;"),
        (np.array([[[[10**30, 0, 0]]]], object), "image 0: values of type object;"),
        (PIXELS[np.newaxis, ..., :1], r"image 0: shape \(6, 9, 1\); \(height, width, 3\) expected, in RGB"),
        (PIXELS, r"image 0: shape \(9, 3\); \(height, width, 3\) expected"),
        (np.zeros((1, 0, 4, 3), np.uint8), r"image 0: shape \(0, 4, 3\)"),
        (np.zeros((0, 4, 4, 3), np.uint8), "at least one image expected"),
        (np.array("abc", object), "at least one image expected, in a list"),
        (objects([[[1, 2, 3], [4, 5]]]), "image 0: its rows have different lengths"),
        (objects(None), r"image 0: shape \(\)"),
        (objects({"b64": "x"}), r"image 0: shape \(\)"),
        (objects("photo.jpg"), "image 0: is not base64 of a JPEG or PNG file: "),
        (objects("data:image/png;base64," + text_of(PNG)), "is not base64 .*; send what follows the comma alone"),
        (objects(""), "image 0: is not a JPEG or PNG file"),
        (objects(PNG, text_of(b"GIF89a")), "image 1: is not a JPEG or PNG file, or its header is damaged"),
        (objects(file_of(PIXELS, "BMP")), "image 0: is not a JPEG or PNG file"),
        (objects(file_of(PIXELS, "JPEG")[:400]), "image 0: cannot be decoded: "),
        (objects(PNG[:-8]), "image 0: cannot be decoded: "),
    ],
)
def test_anything_else_is_refused_in_one_line(given: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=f"^{message}|: {message}") as refused:
        read(given)
    assert "\n" not in refused.value.fault


def test_a_decompression_bomb_is_refused_by_its_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "MAX_PIXELS", 50)
    monkeypatch.setattr(module, "MAX_PIXELS", 50)
    for given in (objects(PNG), PIXELS[np.newaxis]):
        with pytest.raises(BadRequest, match=r"^image 0: .*9x6 pixels are more than the 50 allowed"):
            read(given)
