"""Archives that are unsafe, damaged or contradict each other make no dataset."""

import tarfile
from pathlib import Path

import pytest

from pipeline.data.download.extract import extract_segmentation
from pipeline.runtime.errors import UserError
from tests.data.download.mirror import (
    NAME,
    ROOT,
    SEGMENTATION_PART,
    Entry,
    files_below,
    special,
    tar,
    voc_entries,
    voc_tar,
)

LINKS = {
    "symlink": special(f"{ROOT}/JPEGImages/a_3.jpg", tarfile.SYMTYPE, "/etc/passwd"),
    "hardlink": special(f"{ROOT}/JPEGImages/a_3.jpg", tarfile.LNKTYPE, f"{ROOT}/JPEGImages/a_1.jpg"),
    "folder symlink": special(f"{ROOT}/ImageSets", tarfile.SYMTYPE, "../../.."),
    "device": special(f"{ROOT}/SegmentationClass/a_3.png", tarfile.CHRTYPE),
    "pipe": special(f"{ROOT}/ImageSets/Segmentation/val.txt", tarfile.FIFOTYPE),
    "folder as image": special(f"{ROOT}/JPEGImages/a_3.jpg", tarfile.DIRTYPE),
}
OUTSIDE = (
    "../evil.txt",
    f"{ROOT}/JPEGImages/../../../../evil.txt",
    "/evil.txt",
    "C:/evil.txt",
    "..\\evil.txt",
    "C:evil",
)


@pytest.mark.parametrize("evil", [*LINKS.values(), *((name, b"evil") for name in OUTSIDE)], ids=[*LINKS, *OUTSIDE])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_unsafe_archive_is_refused(tmp_path: Path, evil: Entry, first: bool) -> None:
    path, target = tmp_path / "archives" / NAME, tmp_path / "inside" / "VOC2012"
    path.parent.mkdir()
    target.parent.mkdir()
    path.write_bytes(tar(evil, *voc_entries()) if first else tar(*voc_entries(), evil))
    with pytest.raises(UserError) as error:
        extract_segmentation([path], target, "2012")
    name = evil.name if isinstance(evil, tarfile.TarInfo) else evil[0]
    assert f"{path}: refused, its member {name!r}" in str(error.value)
    assert files_below(tmp_path) == {f"archives/{NAME}"}
    assert list(target.parent.iterdir()) == []


def test_links_outside_the_segmentation_part_are_ignored(tmp_path: Path) -> None:
    path, target = tmp_path / NAME, tmp_path / "VOC2012"
    path.write_bytes(tar(special(f"{ROOT}/Annotations/a.xml", tarfile.SYMTYPE, "/etc/passwd"), *voc_entries()))
    extract_segmentation([path], target, "2012")
    assert files_below(target) == SEGMENTATION_PART


def _without(ending: str) -> bytes:
    return tar(*(e for e in voc_entries() if isinstance(e, tarfile.TarInfo) or not e[0].endswith(ending)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (voc_tar()[:9000], "not a complete, uncompressed tar archive"),
        (b"no tar at all" * 100, "not a complete, uncompressed tar archive"),
        (b"", "not a complete, uncompressed tar archive"),
        (tar(*voc_entries("2007")), r"no ids in VOCdevkit/VOC2012/ImageSets/Segmentation/\*\.txt"),
        (_without("a_2.jpg"), "1 listed images are missing, the first is 'a_2'"),
        (tar(*voc_entries(), *voc_entries()), "twice"),
        (tar((f"{ROOT}/JPEGImages/b.jpg", bytes(17 * 2**20))), "has 17825792 bytes, at most 16777216 expected"),
    ],
    ids=["cut off", "no tar", "empty", "another year", "image missing", "twice", "too large"],
)
def test_damaged_archive_makes_no_dataset(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match=expected):
        extract_segmentation([tmp_path / NAME], tmp_path / "VOC2012", "2012")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_contradicting_archives_make_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "one.tar").write_bytes(voc_tar())
    (tmp_path / "two.tar").write_bytes(tar(*voc_entries(ids=("a_1",))))
    with pytest.raises(UserError, match=r"two\.tar: ImageSets/Segmentation/train\.txt differs"):
        extract_segmentation([tmp_path / "one.tar", tmp_path / "two.tar"], tmp_path / "VOC2012", "2012")
    assert not (tmp_path / "VOC2012").exists()
