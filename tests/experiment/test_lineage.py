"""`rerun=…`, `rerun_strict=…` and `resume=…`: parsed from the command line, with every mistake in them."""

from typing import Any

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.experiment import rerun, resume
from pipeline.experiment.lineage import Lineage, length_fault, parse_lineage
from pipeline.runtime.errors import UserError


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, str | None]]:
    """What is looked up: (for which key, name, tracking address). Whatever it is, it is found."""
    found: list[tuple[str, str, str | None]] = []

    def find(kind: str) -> Any:
        def found_one(name: str, uri: str | None) -> str:
            found.append((kind, name, uri))
            return f"{kind} {name}"

        return found_one

    monkeypatch.setattr(rerun, "find_original", find("rerun"))
    monkeypatch.setattr(resume, "find_resumable", find("resume"))
    return found


def test_a_command_without_these_keys_is_unchanged(asked: list[Any]) -> None:
    given = ["-m", "seed=1,2", "model=unet", "tracking.uri=x", "--cfg", "job", "rerun", "resumes=3"]
    assert parse_lineage(given) == (Lineage(), given)
    assert asked == [] and Lineage().base is None


def test_a_run_to_repeat_is_looked_up(asked: list[Any]) -> None:
    lineage, rest = parse_lineage(["epochs=3", "rerun=abc", "seed=1", "rerun_strict=True"])
    assert asked == [("rerun", "abc", None)]
    assert lineage == Lineage(rerun="rerun abc", strict=True, typed=("rerun=abc", "rerun_strict=True"))  # type: ignore[arg-type]
    assert rest == ["epochs=3", "seed=1"]
    assert parse_lineage(["rerun=abc", "rerun_strict=false"])[0].strict is False


def test_a_run_to_continue_is_looked_up(asked: list[Any]) -> None:
    lineage, rest = parse_lineage(["resume=abc", "epochs=3"])
    assert asked == [("resume", "abc", None)]
    assert lineage == Lineage(resume="resume abc", typed=("resume=abc",)) and rest == ["epochs=3"]  # type: ignore[arg-type]


@pytest.mark.parametrize("more", [[], ["-m"], ["--multirun"]])
def test_resume_auto_looks_nothing_up_yet(asked: list[Any], more: list[str]) -> None:
    assert parse_lineage([*more, "resume=auto", "seed=1"]) == (
        Lineage(auto=True, typed=("resume=auto",)),
        [*more, "seed=1"],
    )
    assert asked == []


def test_a_run_may_be_repeated_in_a_sweep(asked: list[Any]) -> None:
    lineage, rest = parse_lineage(["-m", "rerun=abc", "seed=1,2,3"])
    assert lineage.rerun == "rerun abc" and rest == ["-m", "seed=1,2,3"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        (["tracking.uri=sqlite:///a.db"], "sqlite:///a.db"),
        (["tracking.uri='sqlite:///a b.db'"], "sqlite:///a b.db"),
        (['tracking.uri="http://ada:x=y@127.0.0.1"'], "http://ada:x=y@127.0.0.1"),
        (["tracking.uri=sqlite:///a.db", "tracking.uri=sqlite:///b.db"], "sqlite:///b.db"),
        (["tracking.uri=null"], None),
        (["tracking.experiment=x"], None),
    ],
)
def test_the_run_is_looked_up_at_the_given_address(asked: list[Any], given: list[str], address: str | None) -> None:
    for key in ("rerun", "resume"):
        assert parse_lineage([f"{key}=abc", *given])[1] == given  # the new run is sent there, too
    assert asked == [("rerun", "abc", address), ("resume", "abc", address)]


@pytest.mark.parametrize(
    ("given", "faults"),
    [
        (["rerun="], ["rerun=: rerun=… expected"]),
        (["resume="], ["resume=: resume=… expected"]),
        (["+rerun=a"], ["+rerun=a: rerun is not an override of the configuration; rerun=… expected"]),
        (["++resume=a"], ["++resume=a: resume is not an override of the configuration; resume=… expected"]),
        (["rerun=a", "rerun=b"], ["rerun=b: rerun is given twice"]),
        (["rerun=a", "resume=b"], ["rerun repeats a run from scratch, and resume continues it: one of them expected"]),
        (
            ["rerun=a", "resume=auto"],
            ["rerun repeats a run from scratch, and resume continues it: one of them expected"],
        ),
        (["rerun_strict=true"], ["rerun_strict: only with rerun=<run id>"]),
        (["rerun_strict=true", "resume=a"], ["rerun_strict: only with rerun=<run id>"]),
        (["rerun=a", "rerun_strict=ture"], ["rerun_strict=ture: true or false expected (did you mean 'true'?)"]),
        (["-m", "resume=a"], ["resume=a: continues one run; without -m, or as resume=auto for each run"]),
        (["resume=a", "--multirun"], ["resume=a: continues one run; without -m, or as resume=auto for each run"]),
        (
            ["rerun=a", "rerun=b", "rerun_strict=1", "resume="],
            [
                "rerun=b: rerun is given twice",
                "rerun_strict=1: true or false expected",
                "resume=: resume=… expected",
            ],
        ),
    ],
)
def test_every_mistake_is_reported(asked: list[Any], given: list[str], faults: list[str]) -> None:
    """And nothing is looked up."""
    with pytest.raises(UserError) as raised:
        parse_lineage(["epochs=3", *given])
    assert list(raised.value.faults) == faults
    assert asked == []


def test_overrides_apply_to_the_stored_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = checked_config(["epochs=3", "model.depth=2"])

    class Run:
        config: Config = stored

    for key, module, name in (("rerun", rerun, "find_original"), ("resume", resume, "find_resumable")):
        monkeypatch.setattr(module, name, lambda *_: Run())
        lineage, rest = parse_lineage([f"{key}=abc", "seed=7"])
        assert lineage.base is stored
        composed = checked_config(rest, lineage.base)
        assert (composed.epochs, composed.model.depth, composed.seed) == (3, 2, 7)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            ["epochs=16"],
            "epochs=16: run abc has steps=600, 60 in each of its 10 epochs, and so has a longer one; steps=960 "
            "expected, too",
        ),
        (["epochs=20"], "steps=1200 expected, too"),  # 600 steps can be divided by 20, into other epochs
        (["steps=1200"], "epochs=20 expected, too"),
        (["steps=20"], "epochs=1 expected, too"),
        (["epochs=16", "steps=960"], None),
        (["epochs=16", "steps=900"], None),  # that they do not fit is said where both are looked at
        (["epochs=10"], None),
        (["steps=600", "seed=1"], None),
        (["epochs=many"], None),
        (["seed=1"], None),
    ],
)
def test_a_longer_run_has_both_lengths(given: list[str], expected: str | None) -> None:
    class Run:
        name, config = "abc", checked_config(["epochs=10", "steps=600"])

    fault = length_fault(Lineage(resume=Run()), given)  # type: ignore[arg-type]
    assert fault is None if expected is None else fault is not None and fault.endswith(expected)
    assert length_fault(Lineage(rerun=Run()), given) is None  # type: ignore[arg-type]
    Run.config = checked_config(["epochs=10"])
    assert length_fault(Lineage(resume=Run()), given) is None  # type: ignore[arg-type]
