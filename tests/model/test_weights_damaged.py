"""Files of weights that are hostile or damaged: refused with one message, and nothing in them is run."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.model.weights import named_weights, read_arrays, set_weights
from pipeline.runtime.errors import UserError
from tests.model.networks import small_arrays, small_network


class Payload:
    """Creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def npz_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_pickled_objects_are_refused_without_being_loaded(tmp_path: Path) -> None:
    payload = Payload(tmp_path / "made")
    np.savez(tmp_path / "a.npz", w=np.array([payload], object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(payload))
    npz_of(tmp_path / "c.npz", {"w": pickle.dumps(payload)})
    for name in ("a", "b"):
        with pytest.raises(UserError, match=rf"{name}\.npz: cannot be read as named arrays"):
            read_arrays(tmp_path / f"{name}.npz")
    read_arrays(tmp_path / "c.npz")
    assert not payload.folder.exists()
    pickle.loads(pickle.dumps(payload))
    assert payload.folder.exists()  # it would have been noticed


def test_a_file_truncated_anywhere_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **small_arrays())
    content = (tmp_path / "w.npz").read_bytes()
    for length in range(0, len(content), 37):
        (tmp_path / "w.npz").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"w\.npz: cannot be read"):
            read_arrays(tmp_path / "w.npz")


def test_a_changed_byte_of_an_array_is_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.arange(100, dtype=np.float32))
    content = bytearray((tmp_path / "w.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "w.npz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz: cannot be read"):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "single.npy")


def test_a_member_that_is_not_an_array_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(2, np.float32))
    path = npz_of(tmp_path / "w.npz", {"w.npy": content.getvalue(), "logits/bias": b"no array"})
    read = read_arrays(path)
    assert all(isinstance(values, np.ndarray) for values in read.values())
    with pytest.raises(UserError, match="'logits/bias' are"):
        set_weights(small_network(), {**named_weights(small_network()), "logits/bias": read["logits/bias"]}, "here")


def header_of(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """The first bytes of a .npy file with this shape in its header."""
    text = str({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def test_a_compressed_file_is_refused_without_unpacking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few bytes could fill the memory."""
    np.savez_compressed(tmp_path / "w.npz", w=np.zeros(10**6, np.float32))
    assert (tmp_path / "w.npz").stat().st_size < 10**4
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(UserError, match=r"w\.npz: cannot be read .*: it is compressed; uncompressed arrays expected"):
        read_arrays(tmp_path / "w.npz")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    """Many names for the same bytes could fill the memory, too."""
    content = io.BytesIO()
    np.save(content, np.zeros(1000, np.float32))
    path = npz_of(tmp_path / "w.npz", {"a.npy": content.getvalue(), "b.npy": b""})
    with zipfile.ZipFile(path, "a") as file:
        first = file.getinfo("a.npy")
        for number in range(5):
            again = zipfile.ZipInfo(f"{number}.npy")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            file.filelist.append(again)
        file._didModify = True
    with pytest.raises(UserError, match=r"w\.npz: cannot be read .*: its members are larger than the file"):
        read_arrays(path)


@pytest.mark.parametrize("shape", [(2**40,), (2**62, 4), (-1,), (10**30,), (2**20, 2**20)])
def test_a_header_larger_than_the_file_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = npz_of(tmp_path / "w.npz", {"w.npy": header_of(shape) + bytes(64)})
    with pytest.raises(UserError, match=r"w\.npz: cannot be read"):
        read_arrays(path)


@pytest.mark.parametrize(
    "content",
    [
        b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + b"{",
        b"\x93NUMPY\x02\x00" + (20000).to_bytes(4, "little") + b"{" + b" " * 19998 + b"}",
        b"\x93NUMPY\x01\x00\x10\x00__import__('os')",
        header_of((2,), "|O") + pickle.dumps([1, 2]),
        header_of((2,), "<f4; import os") + bytes(8),
    ],
    ids=["longer than the file", "long", "code", "objects", "no type"],
)
def test_a_header_that_is_not_a_plain_array_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(UserError, match=r"w\.npz: cannot be read"):
        read_arrays(npz_of(tmp_path / "w.npz", {"w.npy": content}))


@given(st.data())
def test_changed_bytes_give_plain_arrays_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    file = io.BytesIO()
    np.savez(file, **small_arrays())
    content = bytearray(file.getvalue())
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    ):
        content[place] = value
    path = tmp_path_factory.mktemp("weights") / "w.npz"
    path.write_bytes(content)
    try:
        read = read_arrays(path)
    except UserError as error:
        assert str(error).startswith(f"{path}: ")
        return
    assert all(isinstance(values, np.ndarray) and values.dtype != object for values in read.values())
