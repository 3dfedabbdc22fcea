"""`dataset.yaml` of a folder in VOC layout: its classes, which is the background, and their colours.

`python -m pipeline.convert` writes it. It comes with data, from strangers: it is parsed as plain values of a bounded
size, changes no other key, and what it says passes the same checks as values typed by hand.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.config.yaml_text import is_plain
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.text import nearest

NAME = "dataset.yaml"
KEYS = ("classes", "background", "colours", "made_of")  # made_of is for people, and ignored
MAX_BYTES = 2**16


def with_dataset_file(dataset: DatasetConfig, default: list[str]) -> DatasetConfig:
    """The dataset with the classes of its folder's `dataset.yaml`, if it names none itself (`dataset.classes=[]`).

    Its background and colours come along, unless the configuration has others.

    Args:
        default: classes of a folder without such a file.

    Raises:
        UserError: the file cannot be used.
    """
    if dataset.classes or dataset.name != "folder":  # the classes of the other datasets are known
        return dataset
    path = dataset_file(dataset)
    if path is None:
        return replace(dataset, classes=list(default))
    found = read_dataset_file(path)
    background = found.get("background", "auto") if dataset.background == "auto" else dataset.background
    colours = found.get("colours") if dataset.colours is None else dataset.colours
    return replace(dataset, classes=found["classes"], background=background, colours=colours)


def dataset_file(dataset: DatasetConfig) -> Path | None:
    """The `dataset.yaml` of a folder that has one; else None.

    Raises:
        UserError: `dataset.root` cannot be a folder's name.
    """
    if dataset.name != "folder" or dataset.root is None:
        return None
    path = typed_path("dataset.root", dataset.root) / NAME
    return path if path.is_file() else None


def read_dataset_file(path: Path) -> dict[str, Any]:
    """The keys `classes`, `background` and `colours` of a file, the latter two if it has them.

    Raises:
        UserError: it cannot be read, or its values have other types.
    """
    instead = "give dataset.classes=[…] instead"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UserError(f"{path}: more than {MAX_BYTES} bytes; {instead}")
        text = path.read_text(encoding="utf-8-sig")
        content = yaml.safe_load(text) if is_plain(text) else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read: {' '.join(str(error).split())}; {instead}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: plain keys and values expected, without types and aliases; {instead}")
    faults = [
        f"{path}: unknown key '{key}'{nearest(str(key), list(KEYS))}; {', '.join(KEYS)} expected"
        for key in content
        if key not in KEYS
    ]
    faults += _type_faults(path, content)
    if faults:
        raise UserError(*faults)
    return {key: value for key, value in content.items() if key != "made_of"}


def _type_faults(path: Path, content: dict[Any, Any]) -> list[str]:
    faults = []
    for key in ("classes", "colours"):
        value = content.get(key)
        if value is None and key == "colours":
            continue
        if not isinstance(value, list) or not value or not all(isinstance(part, str) for part in value):
            faults.append(f"{path}: {key}: a list of texts expected; quotes make 'no' and '1' texts")
    background = content.get("background")
    if background is not None and not isinstance(background, str):
        faults.append(f"{path}: background: a class, or null, expected")
    return faults
