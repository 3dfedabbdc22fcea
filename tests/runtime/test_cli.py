"""`key=value` arguments, help and exit status, the same for every command."""

import errno
import os
import signal
import sys
from pathlib import Path

import pytest

from pipeline.runtime import cli
from pipeline.runtime.cli import LESS_MEMORY, exit_status, output_folder, parse, run_tool
from pipeline.runtime.errors import RerunDiffers, RunFailed, UserError
from pipeline.runtime.signals import Interrupted

REQUIRED, OPTIONAL = ("run", "input"), ("tracking.uri", "register")


# ---- arguments


def test_keys_in_any_order_and_values_with_equals_signs() -> None:
    found = parse(["input=a=b", "tracking.uri=sqlite:///x?y=z", "run=1"], REQUIRED, OPTIONAL)
    assert found.values == {"run": "1", "input": "a=b", "tracking.uri": "sqlite:///x?y=z"}
    assert found.names == found.overrides == []


def test_overrides_are_passed_on_as_they_are() -> None:
    found = parse(["-m", "run=1", "dataset=y", "dataset=z", "input=x", "epochs"], REQUIRED, overrides=True)
    assert found.overrides == ["-m", "dataset=y", "dataset=z", "epochs"]
    assert found.values == {"run": "1", "input": "x"}


def test_names_stand_between_keys() -> None:
    assert parse(["a", "register=true", "b c"], (), OPTIONAL, names=True).names == ["a", "b c"]


@pytest.mark.parametrize(("typed", "is_true"), [("true", True), ("True", True), ("FALSE", False), (None, False)])
def test_boolean(typed: str | None, is_true: bool) -> None:
    given = [] if typed is None else [f"register={typed}"]
    assert parse(given, (), OPTIONAL, booleans=("register",)).is_true("register") is is_true


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (["run=1"], ["input: missing; input=… expected"]),
        ([], ["run: missing; run=… expected", "input: missing; input=… expected"]),
        (
            ["run=1", "input=a", "inptu=b"],
            ["inptu=b: unknown key 'inptu' (did you mean 'input'?); the keys are run, input, tracking.uri, register"],
        ),
        (["run=1", "input=a", "run=2"], ["run=2: run is given twice"]),
        (["run=1", "input="], ["input=: input=… expected"]),
        (
            ["run=1", "input=a", "--fast"],
            ["--fast: key=value expected, with one of the keys run, input, tracking.uri, register"],
        ),
        (["run=1", "++input=a", "input=b"], ["++input=a: input is not an override of the configuration; input=…"]),
        (["run=1", "input=a", "register=ture"], ["register=ture: true or false expected (did you mean 'true'?)"]),
        (["run=1", "input=a", "register=1"], ["register=1: true or false expected"]),
        (["run=1", "run=2", "register=x", "nothing=3"], ["run=2", "register=x", "nothing=3", "input: missing"]),
    ],
)
def test_every_mistake_is_reported(arguments: list[str], faults: list[str]) -> None:
    with pytest.raises(UserError) as raised:
        parse(arguments, REQUIRED, OPTIONAL, booleans=("register",))
    assert len(raised.value.faults) == len(faults)
    assert all(found.startswith(fault) for found, fault in zip(raised.value.faults, faults, strict=True))


@pytest.mark.parametrize("argument", ["--fast", "-f"])
def test_an_option_is_not_a_name(argument: str) -> None:
    with pytest.raises(UserError, match=f"{argument}: key=value expected"):
        parse([argument], (), OPTIONAL, names=True)


def test_output_folder_is_created(tmp_path: Path) -> None:
    folder = output_folder(str(tmp_path / "a" / "b"))
    assert folder.is_dir() and output_folder(str(folder)) == folder
    (folder / "file").write_text("")
    with pytest.raises(UserError, match=r"^output=.*/file: cannot create this folder: File exists$"):
        output_folder(str(folder / "file"))


# ---- exit status


def _os_error(number: int, file: str | None) -> OSError:
    return OSError(number, os.strerror(number), file)


def _end(monkeypatch: pytest.MonkeyPatch, arguments: list[str], result: object) -> int:
    def main(given: list[str]) -> int:
        assert given == arguments
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[return-value]

    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process keeps its handlers
    with pytest.raises(SystemExit) as end:
        run_tool(main, "the help")
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("result", "status", "message"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (UserError("first", "second"), 2, "error: first\nerror: second\n"),
        (RunFailed("journal.jsonl: cannot be written: why"), 1, "error: journal.jsonl: cannot be written: why\n"),
        (MemoryError(), 1, f"error: no memory is left (MemoryError): {LESS_MEMORY}\n"),
        (RerunDiffers("other weights"), 3, "error: other weights\n"),
        (_os_error(errno.EROFS, "out/a"), 2, "error: out/a: cannot be read or written: Read-only file system\n"),
        (_os_error(errno.EACCES, "a\x1b"), 2, "error: a\\x1b: cannot be read or written: Permission denied\n"),
        (_os_error(errno.ENOSPC, "out/a"), 1, "error: out/a: cannot be written: No space left on device\n"),
        (_os_error(errno.ENOSPC, None), 1, "error: the disk: cannot be written: No space left on device\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Interrupted(15), 143, "terminated\n"),
    ],
)
def test_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: object, status: int, message: str
) -> None:
    assert _end(monkeypatch, ["run=1"], result) == status
    assert capsys.readouterr().err == message


def test_an_unusable_file_fails_a_run_that_has_begun(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_status(_os_error(errno.EACCES, "a"), run_begun=True) == 1
    assert exit_status(UserError("b"), run_begun=True) == 2
    assert capsys.readouterr().err == "error: a: cannot be read or written: Permission denied\nerror: b\n"


def test_a_user_without_a_home_gets_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(cli.os.path, "expanduser", lambda path: path)  # as for a user that the system does not know
    monkeypatch.setattr(cli.tempfile, "gettempdir", lambda: str(tmp_path))
    _end(monkeypatch, ["run=1"], 0)
    assert os.environ["HOME"] == str(tmp_path)


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["run=1", "-h"], 0), ([], 2)])
def test_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int
) -> None:
    assert _end(monkeypatch, arguments, AssertionError("main is not called")) == status
    assert capsys.readouterr().out == "the help\n"


@pytest.mark.parametrize("error", [ZeroDivisionError(), BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError("why")])
def test_a_fault_of_the_program_is_not_hidden(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    with pytest.raises(type(error)):
        _end(monkeypatch, ["run=1"], error)
