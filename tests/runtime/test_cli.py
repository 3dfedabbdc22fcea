"""`key=value` arguments of the side tools, their help and their exit status."""

import errno
import os
import sys

import pytest

from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import RunFailed, UserError

REQUIRED, OPTIONAL = ("run", "input"), ("tracking.uri",)


def test_keys_in_any_order_and_values_with_equals_signs() -> None:
    found = parse(["input=a=b", "tracking.uri=sqlite:///x?y=z", "run=1"], REQUIRED, OPTIONAL)
    assert found == {"run": "1", "input": "a=b", "tracking.uri": "sqlite:///x?y=z"}


def test_other_keys_are_taken_where_they_are_allowed() -> None:
    assert parse(["run=1", "input=x", "dataset=y"], REQUIRED, OPTIONAL, others=True)["dataset"] == "y"


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        (["run=1"], ["input: missing; input=… expected"]),
        ([], ["run: missing; run=… expected", "input: missing; input=… expected"]),
        (
            ["run=1", "input=a", "inptu=b"],
            ["inptu=b: there is no key 'inptu' (did you mean 'input'?); the keys are run,"],
        ),
        (["run=1", "input=a", "run=2"], ["run=2: run is given twice"]),
        (["run=1", "input="], ["input=: key=value expected, with one of the keys run, input", "input: missing"]),
        (["run=1", "input=a", "--fast"], ["--fast: key=value expected, with one of the keys run, input, tracking.uri"]),
    ],
)
def test_every_mistake_is_told(arguments: list[str], faults: list[str]) -> None:
    with pytest.raises(UserError) as told:
        parse(arguments, REQUIRED, OPTIONAL)
    assert len(told.value.faults) == len(faults)
    assert all(found.startswith(fault) for found, fault in zip(told.value.faults, faults, strict=True))


def _fault(number: int, file: str | None) -> OSError:
    return OSError(number, os.strerror(number), file)


def _ended(monkeypatch: pytest.MonkeyPatch, arguments: list[str], result: object) -> int:
    def main(given: list[str]) -> int:
        assert given == arguments
        if isinstance(result, BaseException):
            raise result
        return result  # type: ignore[return-value]

    monkeypatch.setattr(sys, "argv", ["tool", *arguments])
    with pytest.raises(SystemExit) as end:
        run_tool(main, "the help")
    return int(end.value.code or 0)


@pytest.mark.parametrize(
    ("result", "status", "told"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (UserError("first", "second"), 2, "error: first\nerror: second\n"),
        (RunFailed("journal.jsonl: cannot be written: why"), 1, "error: journal.jsonl: cannot be written: why\n"),
        (_fault(errno.EROFS, "out/a.png"), 2, "error: out/a.png: cannot be read or written: Read-only file system\n"),
        (_fault(errno.EACCES, "a\x1b"), 2, "error: a\\x1b: cannot be read or written: Permission denied\n"),
        (_fault(errno.ENOSPC, "out/a.png"), 1, "error: out/a.png: cannot be written: No space left on device\n"),
        (_fault(errno.ENOSPC, None), 1, "error: the disk: cannot be written: No space left on device\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_the_exit_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], result: object, status: int, told: str
) -> None:
    assert _ended(monkeypatch, ["run=1"], result) == status
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["run=1", "-h"], 0), ([], 2)])
def test_help(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int
) -> None:
    assert _ended(monkeypatch, arguments, AssertionError("main is not called")) == status
    assert capsys.readouterr().out == "the help\n"


@pytest.mark.parametrize("fault", [ZeroDivisionError(), BrokenPipeError(errno.EPIPE, "Broken pipe"), OSError("why")])
def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    with pytest.raises(type(fault)):
        _ended(monkeypatch, ["run=1"], fault)
