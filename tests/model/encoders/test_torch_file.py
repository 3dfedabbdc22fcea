"""Weights files of PyTorch, valid, hostile and damaged: written with stand-ins for its types and read without it."""

import io
import os
import pickle
import sys
from collections import OrderedDict
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from pipeline.model.encoders.torch_file import MAGIC, PROTOCOL, read_torch_file
from pipeline.runtime.errors import UserError


class Storage:
    """The values that tensors are views of; pickled as a persistent ID."""

    def __init__(self, key: str, values: np.ndarray) -> None:
        self.key, self.values = key, values


class Tensor:
    """A view of a storage, pickled as PyTorch pickles a tensor."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


class Pickler(pickle.Pickler):
    def persistent_id(self, found: object) -> object:
        if not isinstance(found, Storage):
            return None
        kind = {"float32": "FloatStorage", "int64": "LongStorage"}[str(found.values.dtype)]
        return ("storage", getattr(sys.modules["torch"], kind), found.key, "cpu", found.values.size, None)


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules with PyTorch's names, for pickling only."""
    torch, functions = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage"):
        kind = type(name, (), {"__module__": "torch"})
        setattr(torch, name, kind)
    exec("def _rebuild_tensor_v2(): ...", functions.__dict__)
    functions._rebuild_tensor_v2.__module__ = "torch._utils"
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", functions)


def written(tensors: object, storages: list[Storage], magic: int = MAGIC) -> bytes:
    file = io.BytesIO()
    for content in (magic, PROTOCOL, {"little_endian": True}, tensors, [storage.key for storage in storages]):
        Pickler(file, 2).dump(content)
    for storage in storages:
        file.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return file.getvalue()


@pytest.fixture
def whole(torch: None) -> bytes:
    one, two = Storage("1", np.arange(12, dtype=np.float32)), Storage("2", np.array([7], np.int64))
    tensors = OrderedDict(
        plain=Tensor(one, 0, (3, 4), (4, 1)),
        turned=Tensor(one, 0, (4, 3), (1, 4)),
        part=Tensor(one, 5, (2,), (3,)),
        count=Tensor(two, 0, (), ()),
    )
    return written(tensors, [one, two])


def refused(tmp_path: Path, content: bytes) -> str:
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(UserError) as error:
        read_torch_file(tmp_path / "w.pth")
    assert "w.pth: cannot be read as PyTorch weights" in str(error.value)
    return str(error.value)


def test_tensors_are_views_of_storages(tmp_path: Path, whole: bytes) -> None:
    (tmp_path / "w.pth").write_bytes(whole)
    read = read_torch_file(tmp_path / "w.pth")
    values = np.arange(12, dtype=np.float32)
    np.testing.assert_array_equal(read["plain"], values.reshape(3, 4))
    np.testing.assert_array_equal(read["turned"], values.reshape(3, 4).T)
    np.testing.assert_array_equal(read["part"], values[[5, 8]])
    assert read["count"].shape == () and read["count"] == 7 and read["count"].dtype == np.int64


def test_a_truncated_or_longer_file_is_refused(tmp_path: Path, whole: bytes) -> None:
    for length in range(0, len(whole), 7):
        refused(tmp_path, whole[:length])
    assert "unexpected bytes" in refused(tmp_path, whole + b"x")
    assert "no such file" in refused_missing(tmp_path).lower()


def refused_missing(tmp_path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_torch_file(tmp_path / "none.pth")
    return str(error.value)


def test_a_view_beyond_its_storage_is_refused(tmp_path: Path, torch: None) -> None:
    one = Storage("1", np.zeros(12, np.float32))
    for offset, shape, strides in ((0, (13,), (1,)), (-1, (2,), (1,)), (0, (2,), (-1,)), (1, (3, 4), (4, 1)),
                                   (0, (0,), (1,)), (0, (2**15,) * 2, (0, 0)), (0, (4, 4), (0, 1))):  # fmt: skip
        message = refused(tmp_path, written({"a": Tensor(one, offset, shape, strides)}, [one]))
        assert "reaches beyond its storage" in message


def test_nothing_that_a_file_names_is_called(tmp_path: Path, torch: None) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    assert "system" in refused(tmp_path, written(Evil(), []))
    assert "system" in refused(tmp_path, pickle.dumps(Evil(), 2))
    assert not (tmp_path / "ran").exists()


def test_a_file_of_another_format_is_refused(tmp_path: Path, torch: None) -> None:
    assert "unexpected header" in refused(tmp_path, written({}, [], magic=1))
    refused(tmp_path, b"PK\x03\x04 a zip file, as later versions write it")
