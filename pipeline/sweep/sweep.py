"""A sweep that is running: what is still to do for each trial, the launches, and the summary at the end."""

import contextlib
import math
import sys
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.schema import Config
from pipeline.config.validation import reason
from pipeline.runtime.errors import RunFailed
from pipeline.runtime.files import Busy
from pipeline.sweep import launchers
from pipeline.sweep.budget import SweepClock
from pipeline.sweep.command import Command, label, trial_name
from pipeline.sweep.known_trials import ORPHAN_TIMEOUT, KnownTrials, result_of
from pipeline.sweep.objectives import score
from pipeline.sweep.overview import Overview
from pipeline.sweep.progress import SweepProgress
from pipeline.sweep.state import SWEEPS
from pipeline.sweep.stopping import StopState, wait_for_jobs
from pipeline.sweep.summary import comparison, failures, table
from pipeline.sweep.trial_job import TrialJob, TrialResult, TrialSpec
from pipeline.sweep.worker.client import terminate_worker
from pipeline.sweep.worker.protocol import StudyTrialArguments
from pipeline.tracking.records import ProcessStarted
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store
from pipeline.tracking.sweep_runs import SWEEP, TRIAL, mark_failed, record_failure, wait_for_end
from pipeline.tracking.tracked_run import TrackedRun

OUT_OF_TIME = "the time was up before this trial (sweep.max_minutes)"
Work = list[tuple[list[str], TrialSpec]]  # the overrides of trials that are to be run, and what else they need


@dataclass
class Sweep:
    """An open sweep: its own run is alive, and the runs of its earlier trials are known."""

    name: str
    command: Command
    config: Config  # of the first values
    key: str  # run_key of its own run
    run: TrackedRun | None  # None in a process that joined another's sweep
    store: Store | None
    jobs: int  # that run at the same time
    overview: Overview | None = None  # of its own run
    shared: bool = False  # whether other processes may work on it too
    total: int = 0  # trials
    results: dict[int, TrialResult] = field(default_factory=dict)  # by trial number
    clock: SweepClock = field(init=False)
    stop_state: StopState = field(init=False)
    _known: KnownTrials = field(init=False)
    _ended: dict[str, TrialResult] = field(default_factory=dict)  # in this start, by name: a search may draw one twice

    def __post_init__(self) -> None:
        self.clock = SweepClock(self.name, self.config.sweep.max_minutes, writes=self.run is not None)
        self._reset_stop_state()
        self._known = KnownTrials(self.name, self.config.tracking, self.store, self.shared)

    def plan(
        self, number: int, overrides: Sequence[str], values: dict[str, str], study: StudyTrialArguments | None = None
    ) -> TrialSpec | None:
        """What is still to do for a trial; None where its result is known already, which is then recorded.

        Args:
            values: of the parameters that vary.

        Raises:
            UserError: another process trains it.
        """
        trial, named = self._name_of(overrides), label(values)
        if trial in self._ended:
            self.results[number] = replace(self._ended[trial], label=named, earlier=True)
            return None
        run = self._known.find_idle(trial, named)
        spec = TrialSpec(number, named, {SWEEP: self.name, TRIAL: trial}, study=study)
        if run is None or (run.status == "FAILED" and self.config.sweep.retry_failed):
            return spec
        if run.status in ("KILLED", "RUNNING"):
            return replace(spec, resumes=run.key)
        self.results[number] = result_of(run, named, earlier=True)
        return None

    def record_earlier(self, number: int, overrides: Sequence[str], values: dict[str, str]) -> None:
        """Record the result of a trial of an earlier start, if its run has ended."""
        run = self._known.find(self._name_of(overrides))
        if run is not None and run.status in ("FINISHED", "FAILED"):
            self.results[number] = result_of(run, label(values), earlier=True)

    def launch(self, work: Work) -> None:
        """Have the launcher run trials, and record their results."""
        waiting = [(overrides, spec) for overrides, spec in work if self._can_compose(overrides, spec)]
        launcher = self.command.config.hydra.launcher
        # In this process, one by one, so that each result is shown when it is there.
        one_batch = not (launchers.starts_all_at_once(launcher) or launchers.runs_in_process(launcher))
        size = max(1, len(waiting)) if one_batch else self.jobs
        while waiting:
            if self.clock.is_up:
                for _, spec in waiting:
                    self.results[spec.number] = TrialResult(spec.label, "skipped", reason=OUT_OF_TIME)
                break
            batch, waiting = waiting[:size], waiting[size:]
            not_started = self._launch_batch(batch)
            if len(not_started) < len(batch):
                waiting = not_started + waiting
            else:  # the launcher would not start them the next time either
                for _, spec in not_started:
                    self._fail(spec, "the launcher failed before this trial was started")
            if self.overview is not None:
                self.overview.update(self.results)

    def finish(self) -> str:
        """Print the summary; returns a line that counts the trials without a result, or nothing where all have one.

        Raises:
            RunFailed: no trial has a result.
        """
        results = [self.results[number] for number in sorted(self.results)]
        print("", table(results, self.config.sweep.objectives), *failures(results), sep="\n")
        counts = Counter(result.status for result in results)
        if counts["finished"] and self.store is not None:
            print("", comparison(self.name, self.key, self.config.tracking.uri), sep="\n")
        if self.run is not None:
            print(f"sweep {self.name}, run {self.run.name}")
            assert self.overview is not None
            self.overview.finish(self.results)
            if self.run.store is not None:
                command = self.run.store.open_command()
                if command:
                    print(f"open it:  {command}")
                print(f"{'then:     ' if command else 'open it:  '}{self.run.store.view_address(self.key)}")
        missing = [f"{counts[status]} {status}" for status in ("failed", "interrupted", "skipped") if counts[status]]
        out_of_time = self.clock.is_up and (missing or len(results) < self.total)
        if not missing and not out_of_time:
            return ""
        line = f"sweep {self.name}: {', '.join(missing) or 'all finished'} of {len(results)} trials"
        if out_of_time:
            line += f"; sweep.max_minutes={self.config.sweep.max_minutes} has ended it, and with more it continues"
            if counts["finished"] + counts["pruned"] and not counts["failed"]:
                print(line)
                return ""
        if not counts["finished"] + counts["pruned"]:
            raise RunFailed(line)
        return line

    def _name_of(self, overrides: Sequence[str]) -> str:
        return trial_name([*self.command.lineage.typed, *overrides])

    def _can_compose(self, overrides: list[str], spec: TrialSpec) -> bool:
        """Whether a trial's configuration composes; one that does not gets a FAILED run."""
        try:
            self.command.compose(overrides)
        except (HydraException, OmegaConfBaseException) as error:
            why = reason(error)
            request = {
                "config": asdict(self.config),
                "overrides": overrides,
                "name": spec.label,
                "tags": spec.tags,
                "parent": self.key,
            }
            self._fail(spec, why, record_failure(request, why))
            return False
        return True

    def _launch_batch(self, batch: Work) -> Work:
        """Have the launcher run trials; returns those that it had not started when it failed."""
        launcher = self.command.config.hydra.launcher
        specs = dict(enumerate(spec for _, spec in batch))
        job = TrialJob(
            specs, self.key, self.command.lineage.typed, launchers.jobs_per_machine(launcher), self.stop_state,
            self._progress(), launchers.threads_per_job(launcher),
        )  # fmt: skip
        before = {spec.tags[TRIAL]: self._starts_of(spec) for _, spec in batch}
        try:
            with self.clock.ending(self._end_trials):
                returned = launchers.launch(self.command, job, [overrides for overrides, _ in batch], self.stop_state)
        except launchers.LauncherFailed as error:
            return self._recover(batch, before, str(error))
        for spec, result in zip(specs.values(), returned, strict=True):
            if isinstance(result, TrialResult):
                self.results[spec.number] = result
            else:
                why = f"the launcher failed: {type(result).__name__}: {result}"
                if self._recover([([], spec)], before, why):
                    self._fail(spec, why)
            if self.results[spec.number].status not in ("interrupted", "skipped"):
                self._ended[spec.tags[TRIAL]] = self.results[spec.number]
        return []

    def _recover(self, batch: Work, before: Mapping[str, int], why: str) -> Work:
        """After a launcher failed, record the results of the trials that it had started; returns the others.

        Those that it only interrupted are resumed by the next start of the sweep.

        Args:
            before: how often the run of each trial had been started before.
        """
        print(f"error: {why}", file=sys.stderr)
        self.stop_state.request_stop()  # nothing waits for the trials that still run
        launchers.shut_down(self.command.config.hydra.launcher)
        wait_for_jobs(ORPHAN_TIMEOUT)
        self.stop_state.remove()
        self._reset_stop_state()
        self.read_known()
        for _, spec in batch:
            if (run := self._known.find(spec.tags[TRIAL])) is not None:
                wait_for_end(run.key, ORPHAN_TIMEOUT)
        self.read_known()
        not_started: Work = []
        for overrides, spec in batch:
            run = self._known.find(spec.tags[TRIAL])
            if run is None or self._starts_of(spec) == before[spec.tags[TRIAL]]:
                not_started.append((overrides, spec))
            elif run.status == "FINISHED":
                self.results[spec.number] = result_of(run, spec.label, earlier=False)
            elif run.status == "KILLED":
                self.results[spec.number] = TrialResult(spec.label, "interrupted", reason=why, run=run.name)
            else:
                if RunRef.of(run.key).is_here:
                    with contextlib.suppress(Busy):
                        mark_failed(run.key, self.config.tracking, why)
                self._fail(spec, why, run.name)
        return not_started

    def read_known(self) -> None:
        """Read again which runs the trials have: other processes have begun and ended some."""
        self._known.refresh()

    def _starts_of(self, spec: TrialSpec) -> int:
        """How many processes have worked on the run of a trial; 0 where it has none here."""
        run = self._known.find(spec.tags[TRIAL])
        return 0 if run is None else sum(isinstance(record, ProcessStarted) for record in RunRef.of(run.key).records())

    def _progress(self) -> SweepProgress:
        """What trials that are launched now know of the others."""
        objectives = self.config.sweep.objectives
        ended = {number: result for number, result in self.results.items() if result.status != "interrupted"}
        scores = {
            number: value
            for number, result in ended.items()
            if result.status == "finished" and (value := score(result.metrics, objectives[0])) is not None
        }
        until = math.inf if self.clock.left is None else time.time() + self.clock.left
        seconds = [result.seconds for result in ended.values() if not result.earlier]
        folder = self.stop_state.folder
        return SweepProgress(folder, objectives, self.total, self.jobs, scores, list(ended), seconds, until)

    def _end_trials(self) -> None:
        """Interrupt the trials that run, wherever, and let none begin."""
        self.stop_state.request_stop()
        terminate_worker()

    def _fail(self, spec: TrialSpec, why: str, run: str = "") -> None:
        self.results[spec.number] = TrialResult(spec.label, "failed", reason=why, run=run)

    def _reset_stop_state(self) -> None:
        folder = (SWEEPS / self.name / f"failures-{uuid.uuid4().hex}").absolute()
        self.stop_state = StopState(folder, self.config.sweep.max_failures)
