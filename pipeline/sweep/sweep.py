"""A sweep that is under way: what became of its trials, what is still to do, and the table at its end."""

import contextlib
import math
import sys
import time
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.schema import Config
from pipeline.config.validation import reason
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.runtime.text import plain
from pipeline.sweep.command import Command, label, trial_of
from pipeline.sweep.launchers import LauncherFailed, all_at_once, launched, sharing, shut_down, threads_given
from pipeline.sweep.state import SWEEPS
from pipeline.sweep.stopping import Failures, wait_for_jobs
from pipeline.sweep.summary import answer, reasons, table
from pipeline.sweep.trial_job import TrialJob, TrialResult, TrialSpec
from pipeline.sweep.worker.protocol import StudyTrialArguments
from pipeline.tracking.failed_runs import record_failure
from pipeline.tracking.journal import Busy, in_use
from pipeline.tracking.store import Store
from pipeline.tracking.sweep_runs import SWEEP, TRIAL, Child, children, has_journal, mark_failed, wait_for_end
from pipeline.tracking.tracked_run import RUNS, TrackedRun

Work = list[tuple[list[str], TrialSpec]]  # the overrides of trials
ORPHANS = 150.0  # seconds in which a trial of a sweep that was killed ends by itself
POLL = 2.0  # seconds between two looks at a trial that another process trains


@dataclass
class Sweep:
    """A sweep that is open: its own run is alive, and what became of its trials before is known."""

    name: str
    command: Command
    config: Config  # of the first values
    key: str  # run_key of its own run
    run: TrackedRun | None  # None in a process that joined another's sweep
    store: Store | None
    jobs: int
    joined: bool = False  # whether other processes may work on it too
    outcomes: dict[int, TrialResult] = field(default_factory=dict)  # by trial number
    failures: Failures = field(init=False)
    total: int = 0
    _known: dict[str, Child] = field(default_factory=dict)  # of earlier starts, by trial
    _ended: dict[str, TrialResult] = field(default_factory=dict)  # in this start, by trial: a search may draw one twice

    def __post_init__(self) -> None:
        self._new_failures()
        self.look_again()

    def look_again(self) -> None:
        """Find the trials that there are; of several of the same the one that is furthest."""
        rank = {"FINISHED": 3, "RUNNING": 2, "KILLED": 2, "FAILED": 1}
        self._known = {}
        for child in children(self.name, self.config.tracking, self.store):
            before = self._known.get(child.trial)
            if before is None or rank[child.status] > rank[before.status]:
                self._known[child.trial] = child

    def plan(
        self, number: int, overrides: Sequence[str], values: dict[str, str], study: StudyTrialArguments | None = None
    ) -> TrialSpec | None:
        """What is still to do for a trial; None where its outcome is known already, and is then noted.

        Args:
            values: of the parameters that vary.

        Raises:
            UserError: another process trains it.
        """
        trial, named = trial_of([*self.command.origin.typed, *overrides]), label(values)
        if trial in self._ended:
            self.outcomes[number] = replace(self._ended[trial], label=named, earlier=True)
            return None
        self._wait_for(trial, named)
        child = self._known.get(trial)
        spec = TrialSpec(number, named, {SWEEP: self.name, TRIAL: trial}, study=study)
        if child is None or (child.status == "FAILED" and self.config.sweep.retry_failed):
            return spec
        if child.status in ("KILLED", "RUNNING"):
            return replace(spec, resumes=child.key)
        self.outcomes[number] = outcome_of(child, named, earlier=True)
        return None

    def _wait_for(self, trial: str, named: str) -> None:
        """Wait until no process trains a trial any more.

        A search may draw what another process of it trains, and takes its result; to a list of combinations nobody else
        can have begun one, but a trial of a start that was killed may still be ending itself.

        Raises:
            UserError: it does not end.
        """
        until = time.monotonic() + (math.inf if self.joined else ORPHANS)
        told = False
        while (child := self._known.get(trial)) is not None and child.alive:
            if time.monotonic() > until:
                raise UserError(f"sweep.name={self.name}: run {child.name} ({named}) is trained by another process")
            if not told:
                told = True
                print(f"{named}: waits for run {plain(child.name)}, in which another process trains it", flush=True)
            if in_use(RUNS / child.key):
                wait_for_end(child.key, POLL)
            else:  # on another machine
                time.sleep(POLL)
            self.look_again()

    def note_known(self, number: int, overrides: Sequence[str], values: dict[str, str]) -> None:
        """Note the outcome of a trial of an earlier start, if it has ended."""
        child = self._known.get(trial_of([*self.command.origin.typed, *overrides]))
        if child is not None and child.status in ("FINISHED", "FAILED"):
            self.outcomes[number] = outcome_of(child, label(values), earlier=True)

    def launch(self, work: Work) -> None:
        """Have the launcher run trials, and note their outcomes."""
        composable: Work = []
        for overrides, spec in work:
            try:
                self.command.compose(overrides)
                composable.append((overrides, spec))
            except (HydraException, OmegaConfBaseException) as error:
                self._refused(overrides, spec, reason(error))
        launcher = self.command.config.hydra.launcher
        size = self.jobs if all_at_once(launcher) else max(1, len(composable))
        while composable:
            left = self._launch(composable[:size])
            if len(left) == len(composable[:size]):  # the launcher began none of them, and would not the next time
                for _, spec in left:
                    why = "the launcher failed before it was begun"
                    self.outcomes[spec.number] = TrialResult(spec.label, "failed", reason=why)
                left = []
            composable = left + composable[size:]

    def _launch(self, work: Work) -> Work:
        """Have the launcher run trials; returns those that it had not begun when it failed."""
        launcher = self.command.config.hydra.launcher
        specs = dict(enumerate(spec for _, spec in work))
        job = TrialJob(
            specs, self.key, self.command.origin.typed, sharing(launcher), self.failures, self.total,
            threads_given(launcher),
        )  # fmt: skip
        try:
            returned = launched(self.command, job, [overrides for overrides, _ in work], self.failures)
        except LauncherFailed as error:
            return self._lost(work, str(error))
        for spec, told in zip(specs.values(), returned, strict=True):
            if isinstance(told, TrialResult):
                self.outcomes[spec.number] = told
            else:
                why = f"the launcher failed: {type(told).__name__}: {told}"
                if self._lost([([], spec)], why):
                    self.outcomes[spec.number] = TrialResult(spec.label, "failed", reason=why)
            outcome = self.outcomes[spec.number]
            if outcome.status not in ("interrupted", "skipped"):
                self._ended[spec.tags[TRIAL]] = outcome
        return []

    def end(self) -> str:
        """Show what became of every trial; returns in a line what is missing, nothing if all went well.

        Raises:
            RunFailed: no trial has a result.
        """
        outcomes = [self.outcomes[number] for number in sorted(self.outcomes)]
        print("", *table(outcomes, self.config.sweep.objectives), *reasons(outcomes), sep="\n")
        counts = Counter(outcome.status for outcome in self.outcomes.values())
        bad = {status: counts[status] for status in ("failed", "interrupted", "skipped") if counts[status]}
        if counts["finished"] and self.store is not None:
            print("", answer(self.name, self.key, self.config.tracking.uri), sep="\n")
        if self.run is not None:
            print(f"sweep {self.name}, run {self.run.name}")
            self.run.set_tags({"trials": str(len(self.outcomes)), "failed_trials": str(counts["failed"])})
            if self.run.store is not None:
                print(f"open it:  {self.run.store.address(self.run.name)}")
        if not bad:
            return ""
        told = ", ".join(f"{count} {status}" for status, count in bad.items())
        missing = f"sweep {self.name}: {told} of {len(self.outcomes)} trials"
        if not counts["finished"] + counts["pruned"]:
            raise RunFailed(missing)
        return missing

    def _refused(self, overrides: list[str], spec: TrialSpec, why: str) -> None:
        config = OmegaConf.to_container(OmegaConf.structured(self.config))
        request = {
            "config": config,
            "overrides": overrides,
            "name": spec.label,
            "tags": spec.tags,
            "parent": self.key,
        }
        self.outcomes[spec.number] = TrialResult(spec.label, "failed", reason=why, run=record_failure(request, why))

    def _lost(self, work: Work, why: str) -> Work:
        """Fail the trials whose process is gone with the launcher; returns those that were not begun."""
        print(f"error: {why}", file=sys.stderr)
        self.failures.stop()  # what still runs is not waited for by anyone
        shut_down(self.command.config.hydra.launcher)
        wait_for_jobs(ORPHANS)
        self.failures.forget()
        self._new_failures()
        self.look_again()
        left: Work = []
        for overrides, spec in work:
            child = self._known.get(spec.tags[TRIAL])
            if child is None:
                left.append((overrides, spec))
            elif child.status == "FINISHED":
                self.outcomes[spec.number] = outcome_of(child, spec.label, earlier=False)
            else:
                wait_for_end(child.key, ORPHANS)
                if has_journal(child.key):
                    with contextlib.suppress(Busy):
                        mark_failed(child.key, self.config.tracking, why)
                self.outcomes[spec.number] = TrialResult(spec.label, "failed", reason=why, run=child.name)
        return left

    def _new_failures(self) -> None:
        folder = (SWEEPS / self.name / f"failures-{uuid.uuid4().hex}").absolute()
        self.failures = Failures(folder, self.config.sweep.max_failures)


def outcome_of(child: Child, label: str, earlier: bool) -> TrialResult:
    """What a finished or failed trial came to."""
    status = "failed" if child.status == "FAILED" else "pruned" if child.pruned else "finished"
    reason = child.reason.partition(": ")[2] or child.reason if status == "failed" else ""
    return TrialResult(label, status, child.metrics, reason, child.name, earlier=earlier)
