"""`rerun=…`, `rerun_strict=…` and `resume=…` on the command line: the run that a command repeats or continues.

They are removed before Hydra composes. Overrides then apply to the configuration that the run stored, not to conf/.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.config.schema import Config
from pipeline.runtime.cli import parse
from pipeline.runtime.errors import UserError

if TYPE_CHECKING:  # both import MLflow, which takes seconds, and most commands need neither
    from pipeline.experiment.rerun import Original
    from pipeline.experiment.resume import Resumable

KEYS = ("rerun", "rerun_strict", "resume")
AUTO = "auto"


@dataclass(frozen=True)
class Lineage:
    """The run that a command repeats or continues; empty for a new run."""

    rerun: "Original | None" = None
    strict: bool = False  # whether a rerun that differs is a failure
    resume: "Resumable | None" = None
    auto: bool = False  # whether to continue, or return the score of, a run with the same fingerprint, if there is one
    typed: tuple[str, ...] = ()  # the arguments that this was parsed from

    @property
    def base(self) -> Config | None:
        """The stored configuration that overrides apply to; None for conf/."""
        run = self.rerun or self.resume
        return run.config if run is not None else None


def parse_lineage(arguments: Sequence[str]) -> tuple[Lineage, list[str]]:
    """Parse the keys of this module, and find the run that they name.

    Returns:
        The lineage, and the other arguments.

    Raises:
        UserError: the keys are wrong or contradict each other, or the run cannot be repeated or continued.
    """
    parsed = parse(arguments, optional=KEYS, booleans=("rerun_strict",), overrides=True)
    given, rest, faults = parsed.values, parsed.overrides, []
    typed = tuple(argument for argument in arguments if argument.partition("=")[0] in given)
    if "rerun_strict" in given and "rerun" not in given:
        faults.append("rerun_strict: only with rerun=<run id>")
    if "rerun" in given and "resume" in given:
        faults.append("rerun repeats a run from scratch, and resume continues it: one of them expected")
    if {"-m", "--multirun"} & set(arguments) and given.get("resume", AUTO) != AUTO:
        faults.append(f"resume={given['resume']}: continues one run; without -m, or as resume=auto for each run")
    if faults:
        raise UserError(*faults)
    if "rerun" in given:
        from pipeline.experiment.rerun import find_original

        found = find_original(given["rerun"], _tracking_uri(rest))
        return Lineage(rerun=found, strict=parsed.is_true("rerun_strict"), typed=typed), rest
    if given.get("resume", AUTO) != AUTO:
        from pipeline.experiment.resume import find_resumable

        return Lineage(resume=find_resumable(given["resume"], _tracking_uri(rest)), typed=typed), rest
    return Lineage(auto=given.get("resume") == AUTO, typed=typed), rest


def length_fault(lineage: Lineage, overrides: Sequence[str]) -> str | None:
    """The fault of a longer run whose length is given in one of `epochs` and `steps`, while the run resumed has both.

    The other one would be that of the shorter run, and the epochs, which are equal, would have other numbers of steps.
    """
    if lineage.resume is None or (before := lineage.resume.config).steps is None:
        return None
    given = {key: value for key, _, value in (override.partition("=") for override in overrides)}
    if ("epochs" in given) == ("steps" in given):
        return None
    key, value = ("epochs", given["epochs"]) if "epochs" in given else ("steps", given["steps"])
    if not value.isdecimal() or int(value) in (0, getattr(before, key)):
        return None
    each = before.steps // before.epochs
    other = f"steps={each * int(value)}" if key == "epochs" else f"epochs={max(1, round(int(value) / each))}"
    return (
        f"{key}={value}: run {lineage.resume.name} has steps={before.steps}, {each} in each of its {before.epochs} "
        f"epochs, and so has a longer one; {other} expected, too"
    )


def _tracking_uri(arguments: Sequence[str]) -> str | None:
    """The tracking address among the arguments, where the run is looked up, too; None for the default."""
    for argument in reversed(arguments):
        key, _, value = argument.partition("=")
        if key == "tracking.uri" and value != "null":
            return value.strip("'\"")
    return None
