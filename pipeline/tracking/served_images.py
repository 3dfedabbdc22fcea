"""The images of a call of the logged model, as arrays or as JPEG and PNG files, and what is wrong with them."""

import base64
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.data.decode import decode_file
from pipeline.data.image_check import check_image, orientation_fault
from pipeline.data.image_files import MAX_PIXELS
from pipeline.data.pixels import PixelRules
from pipeline.tracking.serving import IMAGE, BadRequest


def read_images(given: Any, rules: PixelRules) -> Iterator[np.ndarray]:
    """Each image of a call, (height, width, 3) uint8; files are decoded one after the other, as a run reads its own.

    Args:
        given: an array of images (batch, height, width, 3) with whole numbers from 0 to 255; or of batch objects, each
            such an image, the bytes of a JPEG or PNG file, or these as base64; or {IMAGE: one of these}.
        rules: of the run.

    Raises:
        BadRequest: with the place of the image among the others, from 0, and what is wrong with it.
    """
    images = np.asarray(given[IMAGE] if isinstance(given, Mapping) else given)
    if not images.ndim or not len(images):
        raise BadRequest("at least one image expected, in a list")
    for number, image in enumerate(images):
        name = f"image {number}"
        if isinstance(image, np.ndarray) and not image.ndim:  # of `{"instances": [{"image": …}]}`
            image = image.item()
        content = _from_base64(image, name) if isinstance(image, str) else image
        yield _decoded(content, name, rules) if isinstance(content, bytes) else _pixels(content, name)


def _from_base64(text: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)  # without the line breaks of some encoders
    except ValueError as error:
        advice = "; send what follows the comma alone" if text.startswith("data:") else ""
        raise BadRequest(f"{name}: is not base64 of a JPEG or PNG file: {error}{advice}") from error


def _decoded(content: bytes, name: str, rules: PixelRules) -> np.ndarray:
    """The image of a file's bytes, (height, width, 3) uint8, by the decoder and the checks of `pipeline.predict`."""
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        path = Path(file.name)
        faults, found = check_image(path, name, rules)
        if not faults and found is not None and (fault := orientation_fault(name, found, rules)):
            faults = [f"{fault}; the model was trained with dataset.exif=refuse: send the pixels without orientation"]
        if faults or found is None:
            raise BadRequest(faults[0])
        return decode_file(path, rules.turn(found.orientation), rules.intensity)


def _pixels(given: Any, name: str) -> np.ndarray:
    """An image that came as numbers, (height, width, 3) uint8."""
    try:  # from JSON the numbers come as objects
        pixels = np.array(given.tolist() if isinstance(given, np.ndarray) and given.dtype == object else given)
    except ValueError:
        raise BadRequest(f"{name}: its rows have different lengths; (height, width, 3) expected") from None
    if pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadRequest(
            f"{name}: shape {pixels.shape}; (height, width, 3) expected, in RGB, or base64 of a JPEG or PNG file"
        )
    height, width, _ = pixels.shape
    if height * width > MAX_PIXELS:
        raise BadRequest(f"{name}: {width}x{height} pixels are more than the {MAX_PIXELS} allowed")
    if pixels.dtype.kind not in "iu":
        raise BadRequest(f"{name}: values of type {pixels.dtype}; whole numbers from 0 to 255 expected (uint8)")
    low, high = int(pixels.min()), int(pixels.max())
    if not 0 <= low <= high <= 255:
        raise BadRequest(f"{name}: values from {low} to {high}; whole numbers from 0 to 255 expected (uint8)")
    return pixels.astype(np.uint8, copy=False)
