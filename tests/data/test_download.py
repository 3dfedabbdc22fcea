"""Downloading and unpacking VOC against a real HTTP server that misbehaves, with tiny archives."""

import hashlib
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import textwrap
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import pipeline
from pipeline.data.download import ARCHIVES, ensure_voc
from pipeline.data.extract import extract_segmentation
from pipeline.data.fetch import Archive, Patience, fetch_archive
from pipeline.errors import UserError

HURRIED = Patience(timeout=0.5, retries=3, pause=0.01)
ROOT = "VOCdevkit/VOC2012"
NAME = "VOCtrainval_11-May-2012.tar"


class Mirror:
    """A server on 127.0.0.1 that serves `body` under every path, with the faults that its attributes set."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = 200
        self.content_type = "application/x-tar"
        self.knows_ranges = True
        self.wrong_range = False
        self.stop_after: list[int] = []  # bytes after which the first, second, … reply ends too early
        self.stalls = False  # keep the connection open instead of dropping it
        self.requests: list[str | None] = []  # the Range header of each
        self.bytes_sent = 0
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/{NAME}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.knows_ranges else 0
        if self.status != 200:
            handler.send_error(self.status)
            return
        if start and start >= len(self.body):
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(self.body)}")
            handler.end_headers()
            return
        handler.send_response(206 if start else 200)
        if start:
            said = start - 1 if self.wrong_range else start
            handler.send_header("Content-Range", f"bytes {said}-{len(self.body) - 1}/{len(self.body)}")
        handler.send_header("Content-Type", self.content_type)
        handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        part = self.body[start:]
        if self.stop_after:
            part = part[: self.stop_after.pop(0)]
            stall = self.stalls
        else:
            stall = False
        self.bytes_sent += len(part)
        handler.wfile.write(part)
        handler.wfile.flush()
        if stall:
            time.sleep(1.5)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    yield from _serve(monkeypatch)


@pytest.fixture
def second(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    yield from _serve(monkeypatch)


def _serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    mirror = Mirror(voc_tar())
    yield mirror
    mirror.close()


def refusing_url() -> str:
    with socket.socket() as closed_at_once:
        closed_at_once.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed_at_once.getsockname()[1]}/{NAME}"


Entry = tuple[str, bytes] | tarfile.TarInfo


def tar(*entries: Entry) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                member = tarfile.TarInfo(entry[0])
                member.size = len(entry[1])
                archive.addfile(member, io.BytesIO(entry[1]))
    return buffer.getvalue()


def special(name: str, kind: bytes, linkname: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, linkname
    return member


def voc_entries(year: str = "2012", split: str = "train", ids: tuple[str, ...] = ("a_1", "a_2")) -> list[Entry]:
    """Images before the lists that name them, and everything else that VOC's archives hold."""
    root = f"VOCdevkit/VOC{year}"
    entries: list[Entry] = [special("VOCdevkit", tarfile.DIRTYPE), special(f"{root}/JPEGImages", tarfile.DIRTYPE)]
    for image_id in (*ids, f"{split}_unlisted"):
        entries.append((f"{root}/JPEGImages/{image_id}.jpg", f"image {image_id}".encode() * 500))
        entries.append((f"{root}/Annotations/{image_id}.xml", b"<annotation/>"))
    entries += [(f"{root}/SegmentationObject/{image_id}.png", b"objects") for image_id in ids]
    entries += [(f"{root}/SegmentationClass/{image_id}.png", f"mask {image_id}".encode()) for image_id in ids]
    entries.append((f"{root}/ImageSets/Main/{split}.txt", f"{split}_unlisted\n".encode()))
    entries.append((f"{root}/ImageSets/Segmentation/{split}.txt", "".join(f"{i}\n" for i in ids).encode()))
    return entries


def voc_tar() -> bytes:
    return tar(*voc_entries())


def archive_at(*urls: str, body: bytes | None = None, name: str = NAME) -> Archive:
    return Archive(name, hashlib.md5(voc_tar() if body is None else body).hexdigest(), urls)


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


SEGMENTATION_PART = {
    "ImageSets/Segmentation/train.txt",
    *(f"SegmentationClass/{image_id}.png" for image_id in ("a_1", "a_2")),
    *(f"JPEGImages/{image_id}.jpg" for image_id in ("a_1", "a_2")),
}


# Downloading


def test_every_known_archive_has_several_addresses_of_its_own_name() -> None:
    assert [len(archives) for archives in ARCHIVES.values()] == [1, 2]
    for archive in (archive for archives in ARCHIVES.values() for archive in archives):
        assert len(archive.md5) == 32 and len(archive.urls) >= 3 and len(set(archive.urls)) == len(archive.urls)
        assert all(url.endswith(f"/{archive.name}") for url in archive.urls)


def test_only_the_segmentation_part_is_unpacked_and_a_second_call_asks_nothing(mirror: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    archive = archive_at(mirror.url)
    folder = ensure_voc("2012", tmp_path, lambda *told: seen.append(told), [archive], HURRIED)
    assert folder == tmp_path / "VOCdevkit" / "VOC2012"
    assert files_below(folder) == SEGMENTATION_PART
    assert (folder / "JPEGImages/a_1.jpg").read_bytes() == b"image a_1" * 500
    assert (folder / "SegmentationClass/a_2.png").read_bytes() == b"mask a_2"
    assert [path.name for path in (tmp_path / "VOCdevkit").iterdir()] == ["VOC2012"]
    assert (tmp_path / "downloads" / NAME).read_bytes() == mirror.body
    size = len(mirror.body)
    assert {(f"{doing} {NAME}", size, size) for doing in ("downloading", "checking", "unpacking")} <= set(seen)
    assert ensure_voc("2012", tmp_path, archives=[archive]) == folder
    assert mirror.requests == [None]


def test_a_dropped_download_goes_on_where_it_stopped(mirror: Mirror, tmp_path: Path) -> None:
    half = len(mirror.body) // 2
    mirror.stop_after = [half, 1000]
    path = fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED)
    assert path.read_bytes() == mirror.body
    assert mirror.requests == [None, f"bytes={half}-", f"bytes={half + 1000}-"]
    assert mirror.bytes_sent == len(mirror.body), "no byte is sent twice"
    assert files_below(tmp_path) == {NAME}


def test_a_silent_connection_counts_as_dropped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.stalls = [3000], True
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=3000-"]


def test_drops_are_bounded_and_the_next_mirror_goes_on(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.stop_after = [10] * 100
    assert fetch_archive(archive_at(mirror.url, second.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=10-", "bytes=20-", "bytes=30-"]
    assert second.requests == ["bytes=40-"]


def test_drops_do_not_count_while_the_file_grows_by_megabytes(mirror: Mirror, tmp_path: Path) -> None:
    mirror.body = os.urandom(10 * 2**20)
    mirror.stop_after = [2**20] * 9
    archive = archive_at(mirror.url, body=mirror.body)
    assert fetch_archive(archive, tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert len(mirror.requests) == 10


def test_a_server_without_ranges_that_always_drops_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.body, mirror.knows_ranges, mirror.stop_after = os.urandom(3 * 2**20), False, [2 * 2**20] * 100
    with pytest.raises(UserError, match=r"dropped the connection after 2097152 of 3145728 bytes"):
        fetch_archive(archive_at(mirror.url, body=mirror.body), tmp_path, patience=HURRIED)
    assert len(mirror.requests) == HURRIED.retries + 1  # only the first one made the file longer


def test_a_server_without_ranges_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.knows_ranges = [5000], False
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=5000-"]


def test_a_server_that_sends_another_range_is_asked_anew(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.wrong_range = [5000], True
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=5000-", None]


def test_what_a_killed_process_left_is_continued(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body[:7000])
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == ["bytes=7000-"]


def test_a_whole_left_over_part_is_recognised(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body)
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.bytes_sent == 0


@pytest.mark.parametrize("left_over", [b"rubbish", b"rubbish" * 100_000], ids=["shorter", "longer"])
def test_a_wrong_left_over_part_is_replaced(mirror: Mirror, tmp_path: Path, left_over: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(left_over)
    assert fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED).read_bytes() == mirror.body
    assert mirror.requests == [f"bytes={len(left_over)}-", None]


def test_a_wrong_checksum_leads_to_the_next_mirror(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body = b"another file"
    path = fetch_archive(archive_at(mirror.url, second.url), tmp_path, patience=HURRIED)
    assert path.read_bytes() == second.body and second.requests == [None]


def test_wrong_checksums_everywhere_are_told(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body = second.body = b"another file"
    with pytest.raises(UserError) as error:
        fetch_archive(archive_at(mirror.url, second.url), tmp_path, patience=HURRIED)
    got, expected = (hashlib.md5(content).hexdigest() for content in (b"another file", voc_tar()))
    assert str(error.value).count(f"sent another file (12 bytes, MD5 {got}, expected {expected})") == 2
    assert files_below(tmp_path) == set()


def test_a_web_page_is_no_archive_and_leaves_the_part_alone(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(second.body[:7000])
    mirror.body, mirror.content_type, mirror.knows_ranges = b"<html>please log in</html>", "text/html", False
    assert fetch_archive(archive_at(mirror.url, second.url), tmp_path, patience=HURRIED).read_bytes() == second.body
    assert second.requests == ["bytes=7000-"]


def test_when_nothing_answers_the_message_says_what_to_put_where(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = 404
    refused = refusing_url()
    archive = archive_at(mirror.url, refused, "http://name.invalid/file.tar")
    with pytest.raises(UserError) as error:
        ensure_voc("2012", tmp_path, archives=[archive], patience=HURRIED)
    lines = str(error.value).splitlines()
    assert len(lines) == 6
    assert lines[0] == f"{NAME}: could not be downloaded from any of 3 addresses"
    assert lines[1] == f"  {mirror.url}: HTTP 404 Not Found"
    assert lines[2] == f"  {refused}: Connection refused"
    assert lines[3].startswith("  http://name.invalid/file.tar: ")
    assert NAME in lines[4] and archive.md5 in lines[4]
    assert lines[5].endswith(str(tmp_path / "downloads"))
    assert mirror.requests == [None], "what was not found is not asked for again"
    assert not (tmp_path / "VOCdevkit/VOC2012").exists()


def test_the_message_tells_of_bytes_that_are_kept(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after = [100] * 100
    with pytest.raises(UserError, match=rf"400 bytes are kept in {NAME}\.part"):
        fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED)


def test_an_archive_put_there_by_hand_is_used_without_the_network(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / NAME).write_bytes(mirror.body)
    folder = ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)])
    assert files_below(folder) == SEGMENTATION_PART and mirror.requests == []


def test_a_wrong_archive_put_there_by_hand_is_named_and_kept(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"half a file")
    with pytest.raises(UserError) as error:
        fetch_archive(archive_at(mirror.url), tmp_path, patience=HURRIED)
    for part in (str(tmp_path / NAME), hashlib.md5(b"half a file").hexdigest(), archive_at().md5):
        assert part in str(error.value)
    assert (tmp_path / NAME).read_bytes() == b"half a file" and mirror.requests == []


def test_a_dataset_unpacked_by_hand_is_taken_as_it_is(mirror: Mirror, tmp_path: Path) -> None:
    lists = tmp_path / ROOT / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("mine\n")
    assert ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)]) == tmp_path / ROOT
    assert mirror.requests == [] and files_below(tmp_path) == {f"{ROOT}/ImageSets/Segmentation/train.txt"}


def test_a_folder_without_lists_is_neither_used_nor_touched(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ROOT / "JPEGImages").mkdir(parents=True)
    with pytest.raises(UserError, match=r"VOC2012: is there but has no ImageSets/Segmentation/\*\.txt"):
        ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)])
    assert mirror.requests == []


def test_an_unknown_year_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"VOC2010 .* must be '2007' or '2012'"):
        ensure_voc("2010", tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder belongs")
    with pytest.raises(UserError, match=r"data/VOCdevkit: cannot be written or read: Not a directory"):
        ensure_voc("2012", tmp_path / "data")


# Unpacking


def test_the_two_archives_of_2007_become_one_folder(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body, second.body = (
        tar(*voc_entries("2007", split, ids)) for split, ids in (("train", ("000032", "000039")), ("test", ("000068",)))
    )
    archives = [
        archive_at(mirror.url, body=mirror.body, name="trainval.tar"),
        archive_at(second.url, body=second.body, name="test.tar"),
    ]
    folder = ensure_voc("2007", tmp_path, archives=archives, patience=HURRIED)
    assert {path.name for path in (folder / "ImageSets/Segmentation").iterdir()} == {"train.txt", "test.txt"}
    ids = {"000032", "000039", "000068"}
    assert {path.stem for path in (folder / "JPEGImages").iterdir()} == ids
    assert {path.stem for path in (folder / "SegmentationClass").iterdir()} == ids


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
def test_an_unsafe_archive_is_refused(tmp_path: Path, evil: Entry, first: bool) -> None:
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


def test_links_where_nothing_is_wanted_are_ignored(tmp_path: Path) -> None:
    path, target = tmp_path / NAME, tmp_path / "VOC2012"
    path.write_bytes(tar(special(f"{ROOT}/Annotations/a.xml", tarfile.SYMTYPE, "/etc/passwd"), *voc_entries()))
    extract_segmentation([path], target, "2012")
    assert files_below(target) == SEGMENTATION_PART


def _without(ending: str) -> bytes:
    return tar(*(e for e in voc_entries() if isinstance(e, tarfile.TarInfo) or not e[0].endswith(ending)))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (voc_tar()[:9000], "not a whole, uncompressed tar archive"),
        (b"no tar at all" * 100, "not a whole, uncompressed tar archive"),
        (b"", "not a whole, uncompressed tar archive"),
        (tar(*voc_entries("2007")), r"no ids in VOCdevkit/VOC2012/ImageSets/Segmentation/\*\.txt"),
        (_without("a_2.jpg"), "1 listed images are not in the archive, the first is 'a_2'"),
        (tar(*voc_entries(), *voc_entries()), "twice"),
        (tar((f"{ROOT}/JPEGImages/b.jpg", bytes(17 * 2**20))), "has 17825792 bytes, at most 16777216 expected"),
    ],
    ids=["cut off", "no tar", "empty", "another year", "image missing", "twice", "too large"],
)
def test_a_damaged_archive_makes_no_dataset(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(UserError, match=expected):
        extract_segmentation([tmp_path / NAME], tmp_path / "VOC2012", "2012")
    assert [path.name for path in tmp_path.iterdir()] == [NAME]


def test_archives_that_contradict_each_other_make_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "one.tar").write_bytes(voc_tar())
    (tmp_path / "two.tar").write_bytes(tar(*voc_entries(ids=("a_1",))))
    with pytest.raises(UserError, match=r"two\.tar: ImageSets/Segmentation/train\.txt differs"):
        extract_segmentation([tmp_path / "one.tar", tmp_path / "two.tar"], tmp_path / "VOC2012", "2012")
    assert not (tmp_path / "VOC2012").exists()


# Other processes


def _start(
    data_dir: Path, archive: Archive, progress: str = "print(what, done, total, flush=True)"
) -> subprocess.Popen[str]:
    program = f"""
        import sys, time
        from pathlib import Path
        from pipeline.data.download import ensure_voc
        from pipeline.data.fetch import Archive

        def progress(what, done, total):
            {progress}

        print(ensure_voc("2012", Path(sys.argv[1]), progress, [Archive(*sys.argv[2:4], (sys.argv[4],))]))
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), data_dir, archive.name, archive.md5, archive.urls[0]],
        env=os.environ | {"PYTHONPATH": str(Path(pipeline.__file__).parents[1]), "no_proxy": "127.0.0.1"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_killed_while_unpacking_leaves_no_dataset_and_the_next_call_completes(mirror: Mirror, tmp_path: Path) -> None:
    archive = archive_at(mirror.url)
    stop = "what.startswith('unpacking') and (print(what, flush=True), time.sleep(60))"
    with _start(tmp_path, archive, stop) as killed:
        assert killed.stdout is not None and killed.stdout.readline().startswith("unpacking")
        killed.send_signal(signal.SIGKILL)
    left = files_below(tmp_path / "VOCdevkit")
    assert left and not (tmp_path / ROOT).exists(), "it was killed half way"
    folder = ensure_voc("2012", tmp_path, archives=[archive])
    assert files_below(folder) == SEGMENTATION_PART
    assert [path.name for path in (tmp_path / "VOCdevkit").iterdir()] == ["VOC2012"]
    assert mirror.requests == [None]


def test_two_processes_at_once_download_once(mirror: Mirror, tmp_path: Path) -> None:
    archive = archive_at(mirror.url)
    mirror.stop_after, mirror.stalls = [100], True  # the first process is held up while the second starts
    processes = [_start(tmp_path, archive) for _ in range(2)]
    outputs = [process.communicate(timeout=15)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert all(output.splitlines()[-1] == str(tmp_path / ROOT) for output in outputs)
    assert sorted("downloading" in output for output in outputs) == [False, True]
    assert sum("waiting for another process" in output for output in outputs) == 1
    assert mirror.bytes_sent == len(mirror.body)
