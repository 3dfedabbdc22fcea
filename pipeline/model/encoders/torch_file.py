"""Read the tensors of a PyTorch file, without PyTorch and without calling anything that the file names.

The format is that of `torch.save` before PyTorch 1.6: five pickles (a magic number, a version, properties of the
writing machine, the tensors as views of storages, the keys of the storages), then each storage as the number of its
values and their bytes.
"""

import io
import math
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from pipeline.runtime.errors import UserError

MAGIC, PROTOCOL = 0x1950A86A20F9469CFC6C, 1001


@dataclass(frozen=True)
class _Storage:
    """Values that tensors are views of; they follow the pickles in the file."""

    key: str
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class _View:
    """A tensor as a view of its storage; offset and strides are counted in values, not bytes."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """An unpickler that knows four names and maps each to a function or type of its own; any other is refused."""

    KNOWN: ClassVar = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): lambda storage, offset, shape, strides, *_: _View(
            storage, offset, shape, strides
        ),
        ("torch", "FloatStorage"): np.dtype("<f4"),
        ("torch", "LongStorage"): np.dtype("<i8"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.KNOWN:
            raise ValueError(f"unexpected name {module}.{name} in a file of weights")
        return self.KNOWN[module, name]

    def persistent_load(self, description: Any) -> _Storage:
        kind, dtype, key, _, size, whole = description
        if kind != "storage" or whole is not None:
            raise ValueError(f"unexpected persistent object {kind!r}; a storage expected")
        return _Storage(key, dtype, size)


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a file, float32 or int64, by name.

    Raises:
        UserError: the file is missing, truncated, of another format, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # pickle may raise any type on damaged bytes
        text = str(error) or type(error).__name__
        raise UserError(f"{path}: cannot be read as PyTorch weights (torch.save before 1.6): {text}") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    content = io.BytesIO(file.read())
    magic, protocol, machine, views, keys = (_Reader(content).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL) or not machine["little_endian"]:
        raise ValueError("unexpected header")
    storages = {view.storage.key: view.storage for view in views.values()}
    if set(keys) != set(storages):
        raise ValueError("its list of storages does not match its tensors")
    values = {}
    for key in keys:
        size, dtype = int.from_bytes(content.read(8), "little"), storages[key].dtype
        data = content.read(size * dtype.itemsize)
        if size != storages[key].size or len(data) < size * dtype.itemsize:
            raise ValueError(f"storage {key} has {len(data)} bytes, {storages[key].size * dtype.itemsize} expected")
        values[key] = np.frombuffer(data, dtype)
    if content.read(1):
        raise ValueError("unexpected bytes after its last storage")
    return {name: _tensor(view, values[view.storage.key]) for name, view in views.items()}


def _tensor(view: _View, values: np.ndarray) -> np.ndarray:
    """The values of a view, copied.

    Raises:
        ValueError: the view reaches beyond its storage.
    """
    steps = list(zip(view.shape, view.strides, strict=True))
    last = view.offset + sum((side - 1) * stride for side, stride in steps)
    # A stride of 0 repeats values: a few bytes could fill the memory.
    repeats = math.prod(view.shape) > len(values)
    if view.offset < 0 or last >= len(values) or repeats or any(side < 1 or stride < 0 for side, stride in steps):
        raise ValueError(f"a tensor of shape {view.shape} reaches beyond its storage of {len(values)} values")
    strides = [stride * values.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides).copy()
