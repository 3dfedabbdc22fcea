"""`key=value` arguments of the side tools, their help and their exit status."""

import sys

import pytest

from pipeline.errors import UserError
from pipeline.side_tool import parse, run_tool

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


def test_a_fault_of_the_program_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["tool", "run=1"])
    with pytest.raises(ZeroDivisionError):
        run_tool(lambda _: 1 // 0, "the help")
