"""Standard streams without a reader, on a full disk, closed, in any encoding: real ones of small programs."""

import codecs
import errno
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.runtime import output
from pipeline.runtime.files import ROOT

FULL = "No space left on device"
# What a command does: it prints more than a pipe holds, logs, warns, draws, and writes a file of its own.
COMMAND = """
import logging, os, sys, warnings
from pathlib import Path
from pipeline.runtime import output
from pipeline.runtime.cli import run_tool

def main(arguments):
    if "training" in arguments:
        output.make_expendable()
    from pipeline.runtime.console import PreparationDisplay, text_console
    logging.basicConfig(level=logging.INFO)
    with PreparationDisplay() as progress:
        for number in range(400):
            print("line", number, "B\\u00fcsche", "\\udcff", flush=number % 50 == 0)
            text_console().print("epoch", number)
            progress("drawing", number, 400)
    logging.getLogger("mlflow").info("a line")
    warnings.warn("a warning")
    print("error: a file", file=sys.stderr)
    descriptor = os.open("product", os.O_CREAT | os.O_WRONLY)
    os.write(descriptor, b"product")
    assert descriptor > 2
    return 0

run_tool(main, "the help\\n" * 100_000, needs_arguments=False)
"""


def shell(cwd: Path, redirections: str, *arguments: str, **more: str) -> tuple[int, str, str]:
    """The command with a shell's redirections, or piped into another: its own exit status, stdout and stderr."""
    (cwd / "command.py").write_text(COMMAND)
    typed = f"{sys.executable} command.py {' '.join(arguments)} {redirections}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", typed], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), **more}, capture_output=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")


def warning(stream: str, why: str) -> str:
    return f"warning: {stream} cannot be written: {why}; the command continues without it"


@pytest.mark.parametrize("kind", ["training", "tool"])
def test_a_reader_that_had_enough_ends_nothing(tmp_path: Path, kind: str) -> None:
    status, shown, reported = shell(tmp_path, "| head -1", kind)
    assert status == 0 and shown.startswith("line 0") and (tmp_path / "product").read_text() == "product"
    assert (warning("stdout", "Broken pipe") in reported) is (kind == "training")
    assert "Traceback" not in reported and "error: stdout" not in reported and "error: a file" in reported


def test_a_tool_whose_result_is_not_written_fails(tmp_path: Path) -> None:
    status, _, reported = shell(tmp_path, "> /dev/full", "tool")
    assert status == 1 and reported.endswith(f"error: a file\nerror: stdout: cannot be written: {FULL}\n")


def test_training_goes_on_when_the_disk_of_its_log_is_full(tmp_path: Path) -> None:
    status, _, reported = shell(tmp_path, "> /dev/full", "training")
    assert status == 0 and reported.count(FULL) == 1 and reported.startswith(warning("stdout", FULL))
    assert (tmp_path / "product").read_text() == "product"
    status, shown, _ = shell(tmp_path, "2> /dev/full", "training")
    assert status == 0 and warning("stderr", FULL) in shown and "line 399" in shown


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full 2>&1"])
def test_without_streams_a_command_does_its_work(tmp_path: Path, redirections: str) -> None:
    status, shown, _ = shell(tmp_path, redirections, "training")
    assert status == 0 and (tmp_path / "product").read_bytes() == b"product"
    assert ("line 399" in shown) is (redirections == "2>&-")


@pytest.mark.parametrize(("redirections", "status"), [("| head -1", 0), (">&-", 0), ("> /dev/full", 1)])
def test_help_needs_no_reader(tmp_path: Path, redirections: str, status: int) -> None:
    ended, _, reported = shell(tmp_path, redirections, "--help")
    assert (ended, "Traceback" in reported) == (status, False)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [("ascii", "B\\xfcsche \\udcff"), ("latin-1", "B\xfcsche \\udcff"), ("utf-8", "B\xc3\xbcsche \\udcff")],
)
def test_any_character_is_shown_in_any_encoding(tmp_path: Path, encoding: str, shown: str) -> None:
    status, out, reported = shell(tmp_path, "", PYTHONIOENCODING=encoding)
    assert status == 0 and f"line 399 {shown}\n" in out and "Error" not in reported


@pytest.mark.parametrize(
    "more",
    [
        {"TERM": "dumb"}, {"TERM": ""}, {"COLUMNS": "0"}, {"COLUMNS": "20"}, {"COLUMNS": "-3"}, {"COLUMNS": "²"},
        {"NO_COLOR": "1"}, {"FORCE_COLOR": "1"}, {"LC_ALL": "C"}, {"LC_ALL": "xx_YY"}, {"PYTHONUNBUFFERED": "1"},
    ],
    ids=str,
)  # fmt: skip
def test_odd_terminals_are_written_to(tmp_path: Path, terminal: "Terminal", more: dict[str, str]) -> None:
    assert terminal.run(tmp_path, closes=False, **more) == 0
    assert b"line 399" in terminal.shown and b"Traceback" not in terminal.shown


def test_a_closed_terminal_ends_nothing(tmp_path: Path, terminal: "Terminal") -> None:
    assert terminal.run(tmp_path, closes=True) == 0
    assert (tmp_path / "product").read_text() == "product"


class Terminal:
    """A pseudo-terminal of no size, and what was shown on it."""

    def __init__(self) -> None:
        self.shown = b""

    def run(self, cwd: Path, closes: bool, **more: str) -> int:
        """The exit status of the command, in whose middle the terminal is closed, if it is."""
        (cwd / "command.py").write_text(COMMAND)
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "command.py", "training"], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT), **more},
            stdin=slave, stdout=slave, stderr=slave,
        )  # fmt: skip
        os.close(slave)
        while not (closes and b"line 100" in self.shown):
            try:
                self.shown += os.read(master, 1 << 16)
            except OSError:  # the command has ended
                break
        os.close(master)
        return process.wait()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


# ---- one stream, in this process


@pytest.fixture
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], output._Display]]:
    monkeypatch.setattr(output, "_displays", {})

    def made(descriptor: int) -> output._Display:
        return output._displays.setdefault("stdout", output._Display("stdout", descriptor))

    yield made


def test_what_cannot_be_written_counts_as_written(display: Callable[[int], output._Display]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    stream = display(writing)
    assert stream.write(b"four") == 4 and stream.write(memoryview(b"five!")) == 5
    assert stream.error is not None and stream.error.errno == errno.EPIPE
    assert output.lost() == "stdout: Broken pipe"
    os.close(writing)
    assert stream.write(b"a closed descriptor") == 19 and output.lost() == "stdout: Broken pipe"  # the first error


def test_a_pipe_that_does_not_wait_is_waited_for(display: Callable[[int], output._Display]) -> None:
    """As where another program made the shared end of a pipe non-blocking."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    data = bytes(range(256)) * 4096
    received = bytearray()

    def read() -> None:
        while part := os.read(reading, 65536):
            received.extend(part)

    reader = threading.Timer(0.2, read)
    reader.start()
    rest = memoryview(data)
    while rest:
        rest = rest[display(writing).write(rest) :]
    os.close(writing)
    reader.join()
    os.close(reading)
    assert bytes(received) == data and output.lost() == ""


def test_streams_of_something_else_stay(capsys: pytest.CaptureFixture[str]) -> None:
    """As those of a notebook; here they are pytest's."""
    streams = sys.stdout, sys.stderr
    output.protect()
    output.protect()
    assert (sys.stdout, sys.stderr) == streams
    print("\udcff")
    assert capsys.readouterr().out == "\\udcff\n"


@pytest.mark.parametrize(
    ("text", "encoding", "written"),
    [
        ("Übung".encode().decode("ascii", "surrogateescape"), "ascii", "Übung".encode()),  # an argument under LANG=C
        ("Übung".encode().decode("ascii", "surrogateescape"), "utf-8", "Übung".encode()),
        ("Übung", "ascii", b"\\xdcbung"),
        ("\udc9bx", "latin-1", b"\\udc9bx"),  # starts an escape sequence
        ("\udcc2\udc9bx", "ascii", b"\\udcc2\\udc9bx"),
    ],
)
def test_arguments_are_shown_as_they_were_typed(text: str, encoding: str, written: bytes) -> None:
    codecs.register_error("as_typed", output._as_typed)
    assert text.encode(encoding, "as_typed") == written
