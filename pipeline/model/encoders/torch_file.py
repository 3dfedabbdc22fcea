"""The tensors of a PyTorch file, read without PyTorch and without calling anything that the file names.

The format is that of `torch.save` before PyTorch 1.6: five pickles (a magic number, a version, the machine that wrote
it, the tensors' places, the keys of the storages), then each storage as its number of values and their bytes.
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
    """Values that tensors are views of; they stand behind the pickles."""

    key: str
    dtype: np.dtype
    size: int


@dataclass(frozen=True)
class _View:
    """A tensor's place in its storage, in values."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Reader(pickle.Unpickler):
    """Knows four names, each of which stands for a function or a type of this file; any other is refused."""

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
            raise ValueError(f"it names {module}.{name}, which a file of weights does not need")
        return self.KNOWN[module, name]

    def persistent_load(self, description: Any) -> _Storage:
        kind, dtype, key, _, size, whole = description
        if kind != "storage" or whole is not None:
            raise ValueError(f"it has something other than a storage: {kind}")
        return _Storage(key, dtype, size)


def read_torch_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file, float32 or int64, by name.

    Raises:
        UserError: the file is missing, is no such file, is cut off, or names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # what pickle raises on damaged bytes is anything
        text = str(error) or type(error).__name__
        raise UserError(f"{path}: cannot be read as PyTorch weights (torch.save before 1.6): {text}") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    content = io.BytesIO(file.read())
    magic, protocol, machine, views, keys = (_Reader(content).load() for _ in range(5))
    if (magic, protocol) != (MAGIC, PROTOCOL) or not machine["little_endian"]:
        raise ValueError("its head is another")
    storages = {view.storage.key: view.storage for view in views.values()}
    if set(keys) != set(storages):
        raise ValueError("its list of storages is not that of its tensors")
    values = {}
    for key in keys:
        size, dtype = int.from_bytes(content.read(8), "little"), storages[key].dtype
        data = content.read(size * dtype.itemsize)
        if size != storages[key].size or len(data) < size * dtype.itemsize:
            raise ValueError(f"storage {key} has {len(data)} bytes, {storages[key].size * dtype.itemsize} expected")
        values[key] = np.frombuffer(data, dtype)
    if content.read(1):
        raise ValueError("bytes are left over behind its tensors")
    return {name: _tensor(view, values[view.storage.key]) for name, view in views.items()}


def _tensor(view: _View, values: np.ndarray) -> np.ndarray:
    """A view's own values, which must all lie in its storage."""
    steps = list(zip(view.shape, view.strides, strict=True))
    last = view.offset + sum((side - 1) * stride for side, stride in steps)
    # A stride of 0 repeats values, so that a few bytes could fill the memory.
    repeats = math.prod(view.shape) > len(values)
    if view.offset < 0 or last >= len(values) or repeats or any(side < 1 or stride < 0 for side, stride in steps):
        raise ValueError(f"a tensor of shape {view.shape} does not lie in its storage of {len(values)} values")
    strides = [stride * values.itemsize for stride in view.strides]
    return np.lib.stride_tricks.as_strided(values[view.offset :], view.shape, strides).copy()
