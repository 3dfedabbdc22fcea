"""The journal of a run: nothing that was logged is lost or logged twice, whatever ends the process."""

import json
import math
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pipeline.runtime.files import ROOT, Busy
from pipeline.tracking.journal import Journal, read_journal
from pipeline.tracking.records import Metrics, Params, Status, Tags, history_of
from tests.tracking.journals import contents, kinds, reopened

# ---- what is appended is there


def test_records_are_read_back_in_order_with_their_time(journal: Journal) -> None:
    journal.append(Tags({"a": "line\nbreak\r\u2028", "b": "Büsche \ud800"}))
    journal.append(Params({}))
    assert read_journal(journal.folder) == journal.records
    assert contents(journal.records) == [
        {"kind": "tags", "values": {"a": "line\nbreak\r\u2028", "b": "Büsche \ud800"}},
        {"kind": "params", "values": {}},
    ]
    assert journal.path.read_bytes().count(b"\n") == 2  # a record, a line
    assert journal.of(Params) == journal.records[1:]


def test_a_folder_without_a_journal_has_no_records(tmp_path: Path) -> None:
    assert read_journal(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_threads_append_at_once_without_loss(journal: Journal) -> None:
    """No record is torn, lost or written twice."""
    start = threading.Barrier(4)

    def work(thread: int) -> None:
        start.wait()
        for number in range(25):
            journal.append(Tags({"thread": str(thread), "number": str(number)}))
            journal.append_metrics({"same": number, f"own/{thread}": number}, step=number)

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_journal(journal.folder) == journal.records
    for thread in range(4):
        numbers = [int(tag.values["number"]) for tag in journal.of(Tags) if tag.values["thread"] == str(thread)]
        assert numbers == list(range(25))
    logged = [(key, record.step) for record in journal.of(Metrics) for key in record.values]
    assert len(logged) == len(set(logged)) == 5 * 25


# ---- metrics


def test_a_step_of_a_metric_is_logged_once(journal: Journal) -> None:
    """By the process that resumes the run as well."""
    journal.append_metrics({"a": 1.0}, step=1)
    journal.append_metrics({"a": 2.0, "b": 3.0}, step=1)
    journal.append_metrics({"a": 2.0}, step=1)
    again = reopened(journal)
    again.append_metrics({"a": 4.0, "b": 5.0, "c": 6.0}, step=1)
    again.append_metrics({"a": 7.0}, step=2)
    assert again.history() == {"a": {1: 1.0, 2: 7.0}, "b": {1: 3.0}, "c": {1: 6.0}}
    assert [record.values for record in again.of(Metrics)] == [{"a": 1.0}, {"b": 3.0}, {"c": 6.0}, {"a": 7.0}]
    again.close()


def test_nan_is_left_out_and_infinity_is_stored(journal: Journal) -> None:
    journal.append_metrics({"a": math.nan, "b": math.inf, "c": -math.inf}, step=0)
    journal.append_metrics({"d": math.nan}, step=0)
    expected = {"b": {0: math.inf}, "c": {0: -math.inf}}
    assert journal.history() == expected == history_of(read_journal(journal.folder))
    assert len(journal.records) == 1
    journal.append_metrics({"a": 1.0}, step=0)  # what was left out was not logged
    assert journal.history()["a"] == {0: 1.0}


# ---- a process that died in the middle of a line

LINES = [json.dumps({"kind": "tags", "time": 1, "values": {"ü": number}}).encode() + b"\n" for number in range(3)]


@pytest.mark.parametrize("tail", [b"", b"\0" * 5, b"\0" * 5000, b"\0\n", b"null\n", b"[1]\n", b"{}\n", b"\xff\xfe\n"])
def test_a_last_line_torn_at_any_byte_is_removed(tmp_path: Path, tail: bytes) -> None:
    """And appending continues. Zeros are what some file systems leave after the last byte before a power cut."""
    complete = b"".join(LINES[:2])
    for length in range(len(LINES[2])) if not tail else [0]:
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(complete + LINES[2][:length] + tail)
        assert len(read_journal(folder)) == 2
        journal = Journal(folder)
        assert (folder / "journal.jsonl").read_bytes() == complete
        journal.append(Status("KILLED"))
        assert read_journal(folder) == journal.records
        assert kinds(journal.records) == ["tags", "tags", "status"]
        journal.close()


# ---- two processes

HOLD = """
import sys
from pathlib import Path
from pipeline.runtime.files import Busy
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Tags
try:
    journal = Journal(Path(sys.argv[1]))
except Busy:
    sys.exit(7)
journal.append(Tags({}))
print("open", flush=True)
sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


def test_one_process_has_a_journal_until_it_ends(tmp_path: Path) -> None:
    """Even by SIGKILL."""
    holder = hold(tmp_path)
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(Busy):
            Journal(tmp_path)
        assert len(read_journal(tmp_path)) == 1  # reading needs no lock
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    finally:
        holder.kill()
    journal = Journal(tmp_path)
    journal.append(Status("KILLED"))
    other = hold(tmp_path)
    assert other.wait(60) == 7
    journal.close()
    assert len(read_journal(tmp_path)) == 2
