"""Downloading VOC from a real HTTP server that misbehaves, with tiny archives."""

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import pipeline
from pipeline.data.download.fetch import Archive, fetch_archive
from pipeline.data.download.voc import ARCHIVES, ensure_voc
from pipeline.runtime.errors import UserError
from tests.data.download.mirror import (
    FAST_RETRIES,
    NAME,
    ROOT,
    SEGMENTATION_PART,
    Mirror,
    archive_at,
    files_below,
    refusing_url,
    tar,
    voc_entries,
    voc_tar,
)


def test_every_known_archive_has_several_addresses() -> None:
    assert [len(archives) for archives in ARCHIVES.values()] == [1, 2]
    for archive in (archive for archives in ARCHIVES.values() for archive in archives):
        assert len(archive.md5) == 32 and len(archive.urls) >= 3 and len(set(archive.urls)) == len(archive.urls)
        assert all(url.endswith(f"/{archive.name}") for url in archive.urls)


def test_only_the_segmentation_part_is_unpacked_once(mirror: Mirror, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int | None]] = []
    archive = archive_at(mirror.url)
    folder = ensure_voc("2012", tmp_path, lambda *news: seen.append(news), [archive], FAST_RETRIES)
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


def test_dropped_download_is_resumed(mirror: Mirror, tmp_path: Path) -> None:
    half = len(mirror.body) // 2
    mirror.stop_after = [half, 1000]
    path = fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES)
    assert path.read_bytes() == mirror.body
    assert mirror.requests == [None, f"bytes={half}-", f"bytes={half + 1000}-"]
    assert mirror.bytes_sent == len(mirror.body), "no byte is sent twice"
    assert files_below(tmp_path) == {NAME}


def test_a_silent_connection_counts_as_dropped(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.stalls = [3000], True
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=3000-"]


def test_drops_are_bounded_and_the_next_mirror_resumes(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.stop_after = [10] * 100
    assert fetch_archive(archive_at(mirror.url, second.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=10-", "bytes=20-", "bytes=30-"]
    assert second.requests == ["bytes=40-"]


def test_drops_do_not_count_while_the_file_grows(mirror: Mirror, tmp_path: Path) -> None:
    mirror.body = os.urandom(10 * 2**20)
    mirror.stop_after = [2**20] * 9
    archive = archive_at(mirror.url, body=mirror.body)
    assert fetch_archive(archive, tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert len(mirror.requests) == 10


def test_server_without_ranges_that_drops_is_given_up(mirror: Mirror, tmp_path: Path) -> None:
    mirror.body, mirror.knows_ranges, mirror.stop_after = os.urandom(3 * 2**20), False, [2 * 2**20] * 100
    with pytest.raises(UserError, match=r"dropped the connection after 2097152 of 3145728 bytes"):
        fetch_archive(archive_at(mirror.url, body=mirror.body), tmp_path, policy=FAST_RETRIES)
    assert len(mirror.requests) == FAST_RETRIES.retries + 1  # only the first one made the file longer


def test_a_server_without_ranges_starts_over(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.knows_ranges = [5000], False
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=5000-"]


def test_server_that_sends_another_range_is_asked_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after, mirror.wrong_range = [5000], True
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == [None, "bytes=5000-", None]


def test_part_of_a_killed_process_is_resumed(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body[:7000])
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == ["bytes=7000-"]


def test_complete_part_is_not_downloaded_again(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(mirror.body)
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.bytes_sent == 0


@pytest.mark.parametrize("part", [b"rubbish", b"rubbish" * 100_000], ids=["shorter", "longer"])
def test_wrong_part_is_replaced(mirror: Mirror, tmp_path: Path, part: bytes) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    assert fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES).read_bytes() == mirror.body
    assert mirror.requests == [f"bytes={len(part)}-", None]


def test_a_wrong_checksum_leads_to_the_next_mirror(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body = b"another file"
    path = fetch_archive(archive_at(mirror.url, second.url), tmp_path, policy=FAST_RETRIES)
    assert path.read_bytes() == second.body and second.requests == [None]


def test_wrong_checksums_everywhere_are_reported(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body = second.body = b"another file"
    with pytest.raises(UserError) as error:
        fetch_archive(archive_at(mirror.url, second.url), tmp_path, policy=FAST_RETRIES)
    got, expected = (hashlib.md5(content).hexdigest() for content in (b"another file", voc_tar()))
    assert str(error.value).count(f"sent another file (12 bytes, MD5 {got}, expected {expected})") == 2
    assert files_below(tmp_path) == set()


def test_web_page_is_not_an_archive_and_keeps_the_part(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(second.body[:7000])
    mirror.body, mirror.content_type, mirror.knows_ranges = b"<html>please log in</html>", "text/html", False
    assert fetch_archive(archive_at(mirror.url, second.url), tmp_path, policy=FAST_RETRIES).read_bytes() == second.body
    assert second.requests == ["bytes=7000-"]


def test_message_says_which_file_to_put_where(mirror: Mirror, tmp_path: Path) -> None:
    mirror.status = 404
    refused = refusing_url()
    archive = archive_at(mirror.url, refused, "http://name.invalid/file.tar")
    with pytest.raises(UserError) as error:
        ensure_voc("2012", tmp_path, archives=[archive], policy=FAST_RETRIES)
    lines = error.value.faults
    assert len(lines) == 5
    assert lines[0] == f"{NAME}: could not be downloaded from any of 3 addresses"
    assert lines[1] == f"{mirror.url}: HTTP 404 Not Found"
    assert lines[2] == f"{refused}: Connection refused"
    assert lines[3].startswith("http://name.invalid/file.tar: ")
    assert NAME in lines[4] and archive.md5 in lines[4]
    assert lines[4].endswith(str(tmp_path / "downloads"))
    assert mirror.requests == [None], "a file that is not found is not requested again"
    assert not (tmp_path / "VOCdevkit/VOC2012").exists()


def test_message_reports_bytes_to_be_resumed(mirror: Mirror, tmp_path: Path) -> None:
    mirror.stop_after = [100] * 100
    with pytest.raises(UserError, match=rf"{NAME}\.part has the first 400 bytes and will be resumed"):
        fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES)


def test_archive_put_there_by_hand_needs_no_network(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / "downloads").mkdir()
    (tmp_path / "downloads" / NAME).write_bytes(mirror.body)
    folder = ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)])
    assert files_below(folder) == SEGMENTATION_PART and mirror.requests == []


def test_wrong_archive_put_there_by_hand_is_not_changed(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"half a file")
    with pytest.raises(UserError) as error:
        fetch_archive(archive_at(mirror.url), tmp_path, policy=FAST_RETRIES)
    for part in (str(tmp_path / NAME), hashlib.md5(b"half a file").hexdigest(), archive_at().md5):
        assert part in str(error.value)
    assert (tmp_path / NAME).read_bytes() == b"half a file" and mirror.requests == []


def test_dataset_unpacked_by_hand_is_used_as_it_is(mirror: Mirror, tmp_path: Path) -> None:
    lists = tmp_path / ROOT / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("mine\n")
    assert ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)]) == tmp_path / ROOT
    assert mirror.requests == [] and files_below(tmp_path) == {f"{ROOT}/ImageSets/Segmentation/train.txt"}


def test_folder_without_lists_is_refused(mirror: Mirror, tmp_path: Path) -> None:
    (tmp_path / ROOT / "JPEGImages").mkdir(parents=True)
    with pytest.raises(UserError, match=r"VOC2012: exists, but has no ImageSets/Segmentation/\*\.txt"):
        ensure_voc("2012", tmp_path, archives=[archive_at(mirror.url)])
    assert mirror.requests == []


def test_an_unknown_year_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"VOC2010 .* must be '2007' or '2012'"):
        ensure_voc("2010", tmp_path)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file where the folder belongs")
    with pytest.raises(UserError, match=r"data/VOCdevkit: cannot be written or read: Not a directory"):
        ensure_voc("2012", tmp_path / "data")


# ---- unpacking


def test_the_two_archives_of_2007_become_one_folder(mirror: Mirror, second: Mirror, tmp_path: Path) -> None:
    mirror.body, second.body = (
        tar(*voc_entries("2007", split, ids)) for split, ids in (("train", ("000032", "000039")), ("test", ("000068",)))
    )
    archives = [
        archive_at(mirror.url, body=mirror.body, name="trainval.tar"),
        archive_at(second.url, body=second.body, name="test.tar"),
    ]
    folder = ensure_voc("2007", tmp_path, archives=archives, policy=FAST_RETRIES)
    assert {path.name for path in (folder / "ImageSets/Segmentation").iterdir()} == {"train.txt", "test.txt"}
    ids = {"000032", "000039", "000068"}
    assert {path.stem for path in (folder / "JPEGImages").iterdir()} == ids
    assert {path.stem for path in (folder / "SegmentationClass").iterdir()} == ids


# ---- other processes


def _start(
    data_dir: Path, archive: Archive, progress: str = "print(what, done, total, flush=True)"
) -> subprocess.Popen[str]:
    program = f"""
        import sys, time
        from pathlib import Path
        from pipeline.data.download.voc import ensure_voc
        from pipeline.data.download.fetch import Archive

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


def test_killed_while_unpacking_leaves_no_dataset(mirror: Mirror, tmp_path: Path) -> None:
    archive = archive_at(mirror.url)
    stop = "what.startswith('unpacking') and (print(what, flush=True), time.sleep(60))"
    with _start(tmp_path, archive, stop) as killed:
        assert killed.stdout is not None and killed.stdout.readline().startswith("unpacking")
        killed.send_signal(signal.SIGKILL)
    left = files_below(tmp_path / "VOCdevkit")
    assert left and not (tmp_path / ROOT).exists(), "it was killed before the end"
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
