"""A sweep from its start to its table, whoever chooses its trials."""

import contextlib
import copy
import json
import logging
import shutil
import signal
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from pipeline import interrupts
from pipeline.command_line import reason
from pipeline.config import Config
from pipeline.errors import RunFailed, UserError
from pipeline.origin import Origin
from pipeline.sweep.failure import record_failure
from pipeline.sweep.given_up import Failures
from pipeline.sweep.identity import label, sources_and_defaults, sweep_name, trial_of
from pipeline.sweep.job import Order, Outcome, TrialJob, for_worker, settings_of
from pipeline.sweep.parallel import jobs_at_once, runs_here
from pipeline.sweep.table import reasons, table
from pipeline.sweep.warm import WorkerDied, close_worker, start_worker, warm_worker
from pipeline.tracking.differences import differences
from pipeline.tracking.environment import MadeWith
from pipeline.tracking.journal import Busy
from pipeline.tracking.leftovers import mark_leftovers
from pipeline.tracking.record import TrackedRun
from pipeline.tracking.store import Store, open_if_it_answers
from pipeline.tracking.sweep import (
    SWEEP,
    SWEEPS,
    TRIAL,
    Child,
    children,
    open_sweep_run,
    read_sweep,
    sweep_lock,
    wait_for_end,
    write_sweep,
)

CHOOSE_DATA = ("dataset", "data_dir", "experiment")
ORPHANS = 150.0  # seconds in which a trial of a sweep that was killed ends by itself


@dataclass(frozen=True)
class Command:
    """What was typed, and what Hydra needs to compose it."""

    hydra: HydraContext
    config: DictConfig  # Hydra's own part is in it
    origin: Origin
    arguments: list[str]  # overrides of the task

    def parsed(self) -> list[Override]:
        """The overrides."""
        return OverridesParser.create(config_loader=self.hydra.config_loader).parse_overrides(self.arguments)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """A trial's configuration, not checked."""
        composed = self.hydra.config_loader.load_sweep_config(self.config, list(overrides))
        task = copy.deepcopy(composed)
        with open_dict(task):
            del task["hydra"]
        return task


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
    outcomes: dict[int, Outcome] = field(default_factory=dict)  # by trial number
    failures: Failures | None = None
    total: int = 0
    _known: dict[str, Child] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.config.sweep.max_failures is not None:
            self.failures = Failures(
                SWEEPS / self.name / f"failures-{uuid.uuid4().hex}", self.config.sweep.max_failures
            )
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
        self, number: int, overrides: Sequence[str], values: dict[str, str], study: dict[str, Any] | None = None
    ) -> Order | None:
        """What is still to do for a trial; None where its outcome is known already, and is then noted.

        Args:
            values: of the parameters that vary.

        Raises:
            UserError: another process trains it.
        """
        trial, named = trial_of([*self.command.origin.typed, *overrides]), label(values)
        child = self._known.get(trial)
        if child is not None and child.alive:
            if not wait_for_end(child.key, ORPHANS):
                raise UserError(f"sweep.name={self.name}: run {child.id} ({named}) is trained by another process")
            self.look_again()
            child = self._known[trial]
        order = Order(number, named, {SWEEP: self.name, TRIAL: trial}, study=study)
        if child is None or (child.status == "FAILED" and self.config.sweep.retry_failed):
            return order
        if child.status in ("KILLED", "RUNNING"):
            return replace(order, continues=child.key)
        self.outcomes[number] = outcome_of(child, named, earlier=True)
        return None

    def note_known(self, number: int, overrides: Sequence[str], values: dict[str, str]) -> None:
        """Note the outcome of a trial of an earlier start, if it has ended."""
        child = self._known.get(trial_of([*self.command.origin.typed, *overrides]))
        if child is not None and child.status in ("FINISHED", "FAILED"):
            self.outcomes[number] = outcome_of(child, label(values), earlier=True)

    def launch(self, work: list[tuple[list[str], Order]]) -> None:
        """Have the launcher run trials, and note their outcomes."""
        composable = []
        for overrides, order in work:
            try:
                self.command.compose(overrides)
                composable.append((overrides, order))
            except (HydraException, OmegaConfBaseException) as error:
                self._refused(overrides, order, reason(error))
        if not composable:
            return
        orders = dict(enumerate(order for _, order in composable))
        job = TrialJob(orders, self.key, self.command.origin.typed, self.jobs, self.failures, self.total)
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.command.hydra, task_function=job, config=self.command.config
        )
        for chatty in ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins"):
            logging.getLogger(chatty).setLevel(logging.WARNING)  # they tell all overrides of each trial
        try:
            returned = launcher.launch([overrides for overrides, _ in composable], initial_job_idx=0)
        except Exception as error:  # the launcher's own fault: what its trials came to is in their journals
            self._lost(orders, f"the launcher failed: {type(error).__name__}: {error}")
            return
        for order, job_return in zip(orders.values(), returned, strict=True):
            told = job_return._return_value  # its property prints and raises
            if isinstance(told, dict):
                self.outcomes[order.number] = Outcome(**told)
            else:
                self._lost({0: order}, f"the launcher failed: {type(told).__name__}: {told}")

    def end(self) -> str:
        """Show what became of every trial; returns in a line what is missing, nothing if all went well.

        Raises:
            RunFailed: no trial has a result.
        """
        outcomes = [self.outcomes[number] for number in sorted(self.outcomes)]
        print("", *table(outcomes, self.config.sweep.objectives), *reasons(outcomes), sep="\n")
        counts = Counter(outcome.status for outcome in self.outcomes.values())
        bad = {status: counts[status] for status in ("failed", "interrupted", "skipped") if counts[status]}
        if self.run is not None:
            print(f"sweep {self.name}, run {self.run.id}")
            self.run.tag(trials=str(len(self.outcomes)), failed_trials=str(counts["failed"]))
            if self.run.store is not None:
                print(f"open it:  {self.run.store.address(self.run.id)}")
        if not bad:
            return ""
        told = ", ".join(f"{count} {status}" for status, count in bad.items())
        missing = f"sweep {self.name}: {told} of {len(self.outcomes)} trials"
        if not counts["finished"] + counts["pruned"]:
            raise RunFailed(missing)
        return missing

    def _refused(self, overrides: list[str], order: Order, why: str) -> None:
        config = OmegaConf.to_container(OmegaConf.structured(self.config))
        request = {
            "config": config,
            "overrides": overrides,
            "name": order.label,
            "tags": order.tags,
            "parent": self.key,
        }
        self.outcomes[order.number] = Outcome(order.label, "failed", reason=why, run=record_failure(request, why))

    def _lost(self, orders: dict[int, Order], why: str) -> None:
        self.look_again()
        for order in orders.values():
            child = self._known.get(order.tags[TRIAL])
            if child is None or child.status != "FINISHED":
                self.outcomes[order.number] = Outcome(order.label, "failed", reason=why, run=child.id if child else "")
            else:
                self.outcomes[order.number] = outcome_of(child, order.label, earlier=False)


def distinct_datasets(command: Command, trials: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Configurations of trials with all the data among them, each once as far as the overrides tell."""
    chosen: dict[tuple[str, ...], Sequence[str]] = {}
    for trial in trials:
        chosen.setdefault(tuple(text for text in trial if text.lstrip("+").startswith(CHOOSE_DATA)), trial)
    found = []
    for trial in chosen.values():
        with contextlib.suppress(HydraException, OmegaConfBaseException):  # the trial itself will tell
            found.append(command.compose(trial))
    return found


def outcome_of(child: Child, label: str, earlier: bool) -> Outcome:
    """What a finished or failed trial came to."""
    status = "failed" if child.status == "FAILED" else "pruned" if child.pruned else "finished"
    reason = child.reason.partition(": ")[2] or child.reason if status == "failed" else ""
    return Outcome(label, status, child.metrics, reason, child.id, earlier=earlier)


@contextlib.contextmanager
def open_sweep(command: Command, config: Config, datasets: Sequence[DictConfig], join: bool = False) -> Iterator[Sweep]:
    """A sweep, begun or taken up again, and shown in MLflow as alive until this block ends.

    Args:
        config: of the first values.
        datasets: configurations with all the data that its trials may be trained on.
        join: whether several processes may work on it at once.

    Raises:
        UserError: it cannot start: the data, the tracking address, or what it was made with before.
    """
    name = sweep_name(config, [*command.origin.typed, *command.arguments])
    jobs = jobs_at_once(command.config.hydra.launcher)
    start_worker()  # it imports TensorFlow, while this process does not
    try:
        store = open_if_it_answers(config.tracking)
        for id in mark_leftovers(config.tracking, store):
            print(f"note      run {id} was left by a dead process: KILLED now")
        made_with = {"sources": sources_and_defaults(), "data": _look(config, datasets, jobs)}
        if not runs_here(command.config.hydra.launcher):
            close_worker()
        run: TrackedRun | None = None
        with sweep_lock(name):
            kept = read_sweep(name)
            _check_unchanged(name, kept, made_with)
            made_with["data"] = {**kept.get("data", {}), **made_with["data"]}
            write_sweep(name, {"run_key": kept["run_key"], **made_with})
            text = OmegaConf.to_yaml(OmegaConf.structured(config))
            typed = [*command.origin.typed, *command.arguments]
            try:
                run = open_sweep_run(kept["run_key"], name, config.tracking, {}, text, typed)
            except Busy as error:
                if not join:
                    raise UserError(f"sweep.name={name}: another process runs this sweep") from error
        with run or contextlib.nullcontext():
            yield Sweep(name, command, config, kept["run_key"], run, store, jobs)
    finally:
        close_worker()
        for leftover in (SWEEPS / name).glob("failures-*"):
            shutil.rmtree(leftover, ignore_errors=True)


def _look(first: Config, datasets: Sequence[DictConfig], jobs: int) -> dict[str, Any]:
    """The contents of every dataset by a name for it; one with faults is left to its trials, if it is not the only."""
    looked: dict[str, Any] = {}
    faults: list[str] = []
    seen = set()
    for composed in datasets:
        # Nothing but the data is of the trial: what else it has may be refused.
        trial = for_worker(composed, jobs)
        data = {key: trial[key] for key in ("dataset", "data_dir")}
        config = {**for_worker(OmegaConf.structured(first), jobs), **data}
        named = json.dumps({**config["dataset"], "root": None}, sort_keys=True)
        if (named, config["dataset"]["root"]) in seen:
            continue
        seen.add((named, config["dataset"]["root"]))
        try:
            answer = warm_worker(settings_of(config)).ask({"kind": "data", "config": config})
        except WorkerDied as error:
            raise UserError(f"the sweep cannot start: {error}") from error
        if answer["status"] == "interrupted":
            raise interrupts.Interrupted(signal.SIGTERM)
        if answer["status"] == "looked":
            looked[named] = answer["contents"]
        else:
            faults += answer["faults"]
    if not looked:
        raise UserError(*faults)
    return looked


def _check_unchanged(name: str, kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix trials of one sweep that were made with different code or data."""
    lines = differences(MadeWith({}, {}, {}, kept.get("sources", {}), {}), MadeWith({}, {}, {}, now["sources"], {}))
    for named, contents in now["data"].items():
        before = kept.get("data", {}).get(named)
        if before is not None:
            lines += differences(MadeWith({}, {}, {}, {}, before), MadeWith({}, {}, {}, {}, contents))
    if lines:
        raise UserError(
            *(f"sweep.name={name}: {line}" for line in lines),
            f"sweep.name={name}: its trials were made with that and are not mixed with others; give another sweep.name",
        )
