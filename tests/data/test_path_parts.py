"""Parts of paths are those of pathlib."""

from pathlib import PurePosixPath

import pytest

from pipeline.data.path_parts import ending_of, folder_of, folders_of, name_of, stem_of


@pytest.mark.parametrize(
    "path", ["a.png", "x/y/a.b.png", "x.y/a", "x/.hidden", "x/a.", "x/a..", "x/.a.png", "x/a.png.", "é/ a .PNG", "..a"]
)
def test_parts_are_those_of_pathlib(path: str) -> None:
    expected = PurePosixPath(path)
    assert folders_of(path) == expected.parts[:-1]
    assert folder_of(path) == "/".join(expected.parts[:-1])
    assert (name_of(path), stem_of(path), ending_of(path)) == (expected.name, expected.stem, expected.suffix)
