"""Images by step in MLflow's own naming, which its image grid reads: key, step and time are in the name of a file.

`MlflowClient.log_image` draws time and name anew at each call, so an image that is sent twice would be there twice.
Here a file has its name before it is sent.
"""

import hashlib
import re
import shutil
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import FileInfo

PLACE = "images"  # where MLflow's UI looks for them, among a run's artifacts
LONGEST_KEY = 120  # characters: with what follows in the name of a file, less than the 255 bytes of file systems
NAME = re.compile(
    PLACE + r"/(val|test)~[^/+]+\+step\+(\d{1,9})\+timestamp\+(\d{1,15})\+[0-9a-f-]{36}(\+compressed)?\.webp"
)


@dataclass(frozen=True)
class LoggedImage:
    """One image, as the contents of two WebP files, which MLflow's UI shows whereas it shows no JPEG."""

    whole: bytes  # opened by a click
    small: bytes  # shown in the grid

    @property
    def size(self) -> int:
        """Bytes of both."""
        return len(self.whole) + len(self.small)


@dataclass(frozen=True)
class LoggedStep:
    """The images of one split and step that MLflow has."""

    split: str
    step: int
    time: int  # milliseconds since the epoch
    size: int  # bytes of all files


def image_key(split: str, example_id: str) -> str:
    """`<split>/<id>`, without the characters that MLflow refuses or interprets; different ids have different keys."""
    safe = re.sub(r"[^A-Za-z0-9_\-./ ]", "_", example_id)[:LONGEST_KEY]
    if safe != example_id:
        safe += "-" + hashlib.sha256(example_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{split}/{safe}"


def write_images(folder: Path, images: Mapping[str, LoggedImage], step: int, time: int) -> None:
    """Write the images of a step into a new folder.

    Args:
        images: by their keys.
        time: milliseconds since the epoch.
    """
    shutil.rmtree(folder, ignore_errors=True)  # what a killed process had begun
    folder.mkdir(parents=True)
    for key, image in images.items():
        name = f"{key.replace('/', '~')}+step+{step}+timestamp+{time}+{uuid.uuid5(uuid.NAMESPACE_OID, f'{key} {step}')}"
        (folder / f"{name}.webp").write_bytes(image.whole)
        (folder / f"{name}+compressed.webp").write_bytes(image.small)


def logged_steps(listed: Iterable[FileInfo]) -> list[LoggedStep]:
    """The steps that have images.

    Args:
        listed: the contents of `PLACE`. Names that `write_images` does not write are ignored.
    """
    found: dict[tuple[str, int, int], int] = {}
    for entry in listed:
        if (match := NAME.fullmatch(entry.path)) is not None:
            key = match[1], int(match[2]), int(match[3])
            found[key] = found.get(key, 0) + (entry.file_size or 0)
    return [LoggedStep(*key, size) for key, size in sorted(found.items())]
