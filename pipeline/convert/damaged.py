"""Files that are damaged in ways by which Pillow's and tifffile's readers of TIFF and others raise any error."""

import contextlib
import struct
from collections.abc import Iterator


@contextlib.contextmanager
def as_value_error() -> Iterator[None]:
    """Errors of a decoder about a damaged file become ValueError, which is reported with the file's name.

    Raises:
        ValueError: with the decoder's words.
    """
    try:
        yield
    except (TypeError, LookupError, ArithmeticError, AttributeError, struct.error) as error:
        raise ValueError(str(error)) from error
