"""The start of a sweep: its data and code are those of its earlier starts, and its own run is alive in MLflow."""

import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.config.schema import Config
from pipeline.runtime import signals
from pipeline.runtime.errors import UserError
from pipeline.sweep.command import Command, sources_and_defaults, sweep_name
from pipeline.sweep.launchers import jobs_at_once, runs_here, sharing
from pipeline.sweep.state import read_sweep, sweep_lock, write_sweep
from pipeline.sweep.sweep import Sweep
from pipeline.sweep.trial_job import for_worker, settings_of
from pipeline.sweep.worker.client import WorkerDied, close_worker, start_worker, warm_worker
from pipeline.sweep.worker.protocol import CheckData, DataChecked, Stopped
from pipeline.tracking.differences import differences
from pipeline.tracking.journal import Busy
from pipeline.tracking.local_runs import mark_leftovers
from pipeline.tracking.provenance import Provenance
from pipeline.tracking.store import open_if_it_answers
from pipeline.tracking.sweep_runs import find_sweep_run, has_journal, open_sweep_run
from pipeline.tracking.tracked_run import TrackedRun


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
    launcher = command.config.hydra.launcher
    jobs = jobs_at_once(launcher)
    start_worker()  # it imports TensorFlow, while this process does not
    try:
        store = open_if_it_answers(config.tracking)
        for id in mark_leftovers(config.tracking, store):
            print(f"note      run {id} was left by a dead process: KILLED now")
        made_with = {"sources": sources_and_defaults(), "data": _look(config, datasets, sharing(launcher))}
        if not runs_here(launcher):
            close_worker()
        run: TrackedRun | None = None
        with sweep_lock(name):
            kept = read_sweep(name)
            elsewhere = None if store is None else find_sweep_run(name, store)
            if elsewhere is not None and not has_journal(kept["run_key"]):  # begun in another folder or machine
                kept["run_key"] = elsewhere.key
            _check_unchanged(name, kept, made_with)
            made_with["data"] = {**kept.get("data", {}), **made_with["data"]}
            write_sweep(name, {"run_key": kept["run_key"], **made_with})
            text = OmegaConf.to_yaml(OmegaConf.structured(config))
            typed = [*command.origin.typed, *command.arguments]
            try:
                if elsewhere is not None and elsewhere.alive:
                    raise Busy()
                run = open_sweep_run(kept["run_key"], name, config.tracking, {}, text, typed)
            except Busy as error:
                if not join:
                    raise UserError(f"sweep.name={name}: another process runs this sweep") from error
        with run or contextlib.nullcontext():
            sweep = Sweep(name, command, config, kept["run_key"], run, store, jobs, joined=join)
            try:
                yield sweep
            finally:
                sweep.failures.forget()
    finally:
        close_worker()


def _look(first: Config, datasets: Sequence[DictConfig], jobs: int) -> dict[str, Any]:
    """The contents of every dataset by a name for it; one with faults is left to its trials, if it is not the only."""
    looked: dict[str, Any] = {}
    faults: list[str] = []
    seen: set[tuple[str, str | None]] = set()
    for composed in datasets:
        # Nothing but the data is of the trial: what else it has may be refused.
        trial = for_worker(composed, jobs)
        data = {key: trial[key] for key in ("dataset", "data_dir")}
        config = {**for_worker(OmegaConf.structured(first), jobs), **data}
        named = json.dumps({**config["dataset"], "root": None}, sort_keys=True)
        if (named, config["dataset"]["root"]) in seen:
            continue
        several = sum(other == named for other, _ in seen)  # `dataset.root=/a,/b`: each has a name by its place
        seen.add((named, config["dataset"]["root"]))
        named += f" {several + 1}" if several else ""
        try:
            answer = warm_worker(settings_of(config)).ask(CheckData(config))
        except WorkerDied as error:
            raise UserError(f"the sweep cannot start: {error}") from error
        if isinstance(answer, Stopped):
            raise signals.Interrupted(signal.SIGTERM)
        if isinstance(answer, DataChecked):
            looked[named] = answer.contents
        else:
            faults += answer.faults
    if not looked:
        raise UserError(*faults)
    return looked


def _check_unchanged(name: str, kept: dict[str, Any], now: dict[str, Any]) -> None:
    """Refuse to mix trials of one sweep that were made with different code or data."""
    lines = differences(Provenance({}, {}, {}, kept.get("sources", {}), {}), Provenance({}, {}, {}, now["sources"], {}))
    for named, contents in now["data"].items():
        before = kept.get("data", {}).get(named)
        if before is not None:
            lines += differences(Provenance({}, {}, {}, {}, before), Provenance({}, {}, {}, {}, contents))
    if lines:
        raise UserError(
            *(f"sweep.name={name}: {line}" for line in lines),
            f"sweep.name={name}: its trials were made with that and are not mixed with others; give another sweep.name",
        )
