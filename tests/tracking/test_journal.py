"""The journal of a run: nothing told is lost or told twice, whatever ends the process."""

import json
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.tracking import journal as module
from pipeline.tracking.journal import (
    Busy,
    Journal,
    begin_of,
    history_of,
    in_use,
    read_journal,
    says_its_end,
    status_of,
)

ROOT = Path(__file__).resolve().parent.parent.parent


def contents(records: list[dict]) -> list[dict]:
    """Records without their time."""
    return [{key: value for key, value in record.items() if key != "time"} for record in records]


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal(journal.folder)


# ---- what is appended is there


def test_what_is_appended_is_read_back_in_its_order_with_its_time(journal: Journal) -> None:
    journal.append("tags", values={"a": "line\nbreak\r\u2028", "b": "Büsche \ud800"})
    journal.append("params", values={})
    assert read_journal(journal.folder) == journal.records
    assert contents(journal.records) == [
        {"kind": "tags", "values": {"a": "line\nbreak\r\u2028", "b": "Büsche \ud800"}},
        {"kind": "params", "values": {}},
    ]
    assert 0 <= journal.records[1]["time"] - journal.records[0]["time"] < 60_000
    assert journal.path.read_bytes().count(b"\n") == 2  # a record, a line
    assert list(journal.of("params")) == journal.records[1:]


def test_there_is_no_journal_before_one_is_opened(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == [] and not in_use(tmp_path)


def test_how_a_run_ended_is_told_by_the_last_start(journal: Journal) -> None:
    assert journal.status == "RUNNING"
    for kind, content, status in (
        ("begin", {}, "RUNNING"),
        ("process", {}, "RUNNING"),
        ("status", {"status": "KILLED"}, "KILLED"),
        ("process", {}, "RUNNING"),  # resumed
        ("tags", {"values": {"x": "y" * 1000}}, "RUNNING"),
        ("status", {"status": "FINISHED"}, "FINISHED"),
    ):
        journal.append(kind, **content)
        assert journal.status == status == status_of(read_journal(journal.folder))
        assert says_its_end(journal.folder) == (kind == "status")
    assert begin_of(journal.folder) == journal.records[0]


def test_a_journal_that_was_never_begun_has_no_begin_and_no_end(journal: Journal) -> None:
    assert begin_of(journal.folder) is None and not says_its_end(journal.folder)
    journal.path.write_bytes(b'{"kind": "begin", "ti')
    assert begin_of(journal.folder) is None and not says_its_end(journal.folder)


def test_threads_append_at_once_and_no_record_is_torn_lost_or_doubled(journal: Journal) -> None:
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for number in range(25):
            journal.append("tags", values={"thread": thread, "number": number})
            journal.metrics({"same": number, f"own/{thread}": number}, step=number)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_journal(journal.folder) == journal.records
    for thread in range(4):
        numbers = [tag["values"]["number"] for tag in journal.of("tags") if tag["values"]["thread"] == thread]
        assert numbers == list(range(25))
    told = [(key, record["step"]) for record in journal.of("metrics") for key in record["values"]]
    assert len(told) == len(set(told)) == 5 * 25


# ---- metrics


def test_a_step_of_a_metric_is_told_once_also_by_the_next_process(journal: Journal) -> None:
    journal.metrics({"a": 1.0}, step=1)
    journal.metrics({"a": 2.0, "b": 3.0}, step=1)
    journal.metrics({"a": 2.0}, step=1)
    again = reopened(journal)
    again.metrics({"a": 4.0, "b": 5.0, "c": 6.0}, step=1)
    again.metrics({"a": 7.0}, step=2)
    assert again.history() == {"a": {1: 1.0, 2: 7.0}, "b": {1: 3.0}, "c": {1: 6.0}}
    assert [record["values"] for record in again.of("metrics")] == [{"a": 1.0}, {"b": 3.0}, {"c": 6.0}, {"a": 7.0}]
    again.close()


def test_nan_is_left_out_and_infinity_kept(journal: Journal) -> None:
    journal.metrics({"a": math.nan, "b": math.inf, "c": -math.inf}, step=0)
    journal.metrics({"d": math.nan}, step=0)
    expected = {"b": {0: math.inf}, "c": {0: -math.inf}}
    assert journal.history() == expected == history_of(read_journal(journal.folder))
    assert len(journal.records) == 1
    journal.metrics({"a": 1.0}, step=0)  # what was left out was not told
    assert journal.history()["a"] == {0: 1.0}


# ---- a process that died in the middle of a line

LINES = [json.dumps({"kind": "tags", "time": 1, "values": {"ü": number}}).encode() + b"\n" for number in range(3)]


@pytest.mark.parametrize("tail", [b"", b"\0" * 5, b"\0" * 5000, b"\0\n", b"null\n", b"[1]\n", b"{}\n", b"\xff\xfe\n"])
def test_a_last_line_torn_at_any_byte_is_cut_off_and_appending_goes_on(tmp_path: Path, tail: bytes) -> None:
    """Zeros are what some file systems leave behind the last byte that was written before a power cut."""
    whole = b"".join(LINES[:2])
    for length in range(len(LINES[2])) if not tail else [0]:
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(whole + LINES[2][:length] + tail)
        assert len(read_journal(folder)) == 2
        journal = Journal(folder)
        assert (folder / "journal.jsonl").read_bytes() == whole
        journal.append("status", status="KILLED")
        assert contents(read_journal(folder)) == contents(journal.records)
        assert [record["kind"] for record in journal.records] == ["tags", "tags", "status"]
        journal.close()


@given(st.binary(max_size=40))
def test_whatever_bytes_follow_the_whole_lines_these_are_kept(tail: bytes) -> None:
    records, ends = module._whole_records(b"".join(LINES) + tail)
    assert [record["values"]["ü"] for record in records[:3]] == [0, 1, 2]
    assert len(ends) == len(records) + 1
    assert ends[:4] == [0, len(LINES[0]), 2 * len(LINES[0]), 3 * len(LINES[0])]


# ---- two processes

HOLD = """
import sys
from pathlib import Path
from pipeline.tracking.journal import Busy, Journal
try:
    journal = Journal(Path(sys.argv[1]))
except Busy:
    sys.exit(7)
journal.append("begin")
print("open", flush=True)
sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_one_process_has_a_journal_until_it_ends_even_when_it_is_killed(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Busy):
            Journal(tmp_path)
        assert in_use(tmp_path)
        assert len(read_journal(tmp_path)) == 1  # reading needs no lock
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    finally:
        holder.kill()
    assert not in_use(tmp_path)
    journal = Journal(tmp_path)
    journal.append("status", status="KILLED")
    other = hold(tmp_path)
    assert other.wait(60) == 7
    journal.close()
    assert len(read_journal(tmp_path)) == 2
