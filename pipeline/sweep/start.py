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
from pipeline.runtime.files import Busy
from pipeline.runtime.keras_settings import check_settings_files
from pipeline.runtime.kernels import resolve
from pipeline.sweep.command import Command, sources_and_defaults, sweep_name
from pipeline.sweep.launchers import jobs_per_machine, parallel_jobs, runs_in_process
from pipeline.sweep.overview import Overview, ranges
from pipeline.sweep.state import read_sweep, sweep_lock, write_sweep
from pipeline.sweep.sweep import Sweep
from pipeline.sweep.trial_job import for_worker, settings_of
from pipeline.sweep.worker.client import WorkerDied, close_worker, start_worker, warm_worker
from pipeline.sweep.worker.protocol import CheckData, DataChecked, Stopped
from pipeline.tracking.dead_runs import mark_dead_runs
from pipeline.tracking.memory_deaths import suspicion
from pipeline.tracking.provenance import Provenance, differences
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store, Unreachable, described, open_if_it_answers
from pipeline.tracking.sweep_runs import find_sweep_run, open_sweep_run
from pipeline.tracking.tracked_run import TrackedRun


@contextlib.contextmanager
def open_sweep(command: Command, config: Config, datasets: Sequence[DictConfig], join: bool = False) -> Iterator[Sweep]:
    """A new or resumed sweep, which MLflow shows as alive until this block ends.

    Args:
        config: of the first values.
        datasets: configurations that cover all the data of its trials.
        join: whether several processes may work on it at once.

    Raises:
        UserError: the data or the tracking address cannot be used, it was started with other code or data before, or
            another process runs it.
    """
    name = sweep_name(config, command.typed)
    launcher = command.config.hydra.launcher
    jobs = parallel_jobs(launcher)
    check_settings_files()  # which the worker could only die of
    start_worker(resolve(config.kernels))  # it imports TensorFlow, which this process does not
    try:
        print(f"tracking  {described(config.tracking)}")
        store = open_if_it_answers(config.tracking)
        for run in mark_dead_runs(config.tracking, store):
            print(f"note      run {run} was left RUNNING by a process that died{suspicion(run)}: it is KILLED now")
        data = _check_data(config, datasets, jobs_per_machine(launcher))
        if not runs_in_process(launcher):
            close_worker()
        contents = {described: checked.contents for described, checked in data.items()}
        key, own_run, new = _open_run(name, command, config, store, contents, join)
        with own_run or contextlib.nullcontext():
            overview = None
            if own_run is not None:
                overview = Overview(own_run, name, config, ranges(command.parsed()))
                overview.describe(list(data.values()), new)
            sweep = Sweep(name, command, config, key, own_run, store, jobs, overview=overview, shared=join)
            try:
                with sweep.clock.running():
                    yield sweep
            finally:
                sweep.clock.write()
                sweep.stop_state.remove()
    finally:
        close_worker()


def _open_run(
    name: str, command: Command, config: Config, store: Store | None, contents: dict[str, Any], join: bool
) -> tuple[str, TrackedRun | None, bool]:
    """The key of a sweep's own run; the run, None where another process has it and this one joins; whether it is new.

    Args:
        contents: content hashes of the data; they are recorded, and compared with those of earlier starts.
    """
    made_with = {"sources": sources_and_defaults(), "data": contents}
    with sweep_lock(name):
        record = read_sweep(name)
        elsewhere = None
        with contextlib.suppress(Unreachable):  # since the data were checked: as if it had not answered then
            elsewhere = None if store is None else find_sweep_run(name, store)
        if elsewhere is not None and not RunRef.of(record["run_key"]).is_here:  # started elsewhere
            record["run_key"] = elsewhere.key
        key = record["run_key"]
        _check_unchanged(name, record, made_with)
        write_sweep(name, {"run_key": key, **made_with, "data": {**record.get("data", {}), **contents}})
        try:
            if elsewhere is not None and elsewhere.alive:
                raise Busy()
            config_yaml = OmegaConf.to_yaml(OmegaConf.structured(config))
            new = elsewhere is None and not RunRef.of(key).is_here
            return key, open_sweep_run(key, name, config.tracking, {}, config_yaml, command.typed), new
        except Busy as error:
            if not join:
                raise UserError(f"sweep.name={name}: another process runs this sweep") from error
            return key, None, False


def _check_data(first: Config, datasets: Sequence[DictConfig], jobs: int) -> dict[str, DataChecked]:
    """What the warm child says of every dataset, by a name for it.

    Raises:
        UserError: no dataset can be used. Faults of one among several are left to its trials.
    """
    found: dict[str, DataChecked] = {}
    faults: list[str] = []
    seen: set[tuple[str, str | None]] = set()
    for composed in datasets:
        # Only the data is the trial's: other keys of it may be invalid, which is that trial's failure alone.
        trial = for_worker(composed, jobs)
        data = {key: trial[key] for key in ("dataset", "data_dir")}
        config = {**for_worker(OmegaConf.structured(first), jobs), **data}
        name = json.dumps({**config["dataset"], "root": None}, sort_keys=True)
        if (name, config["dataset"]["root"]) in seen:
            continue
        same_name = sum(other == name for other, _ in seen)  # `dataset.root=/a,/b`: they are numbered
        seen.add((name, config["dataset"]["root"]))
        name += f" {same_name + 1}" if same_name else ""
        try:
            answer = warm_worker(settings_of(config)).ask(CheckData(config))
        except WorkerDied as error:
            raise UserError(f"the sweep cannot start: {error}") from error
        if isinstance(answer, Stopped):
            raise signals.Interrupted(signal.SIGTERM)
        if isinstance(answer, DataChecked):
            found[name] = answer
        else:
            faults += answer.faults
    if not found:
        raise UserError(*faults)
    return found


def _check_unchanged(name: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Compare code and data with those of the sweep's earlier starts.

    Raises:
        UserError: they differ; trials that were made with different code or data are not mixed.
    """
    lines = differences(
        Provenance({}, {}, {}, before.get("sources", {}), {}), Provenance({}, {}, {}, now["sources"], {})
    )
    for dataset, contents in now["data"].items():
        earlier = before.get("data", {}).get(dataset)
        if earlier is not None:
            lines += differences(Provenance({}, {}, {}, {}, earlier), Provenance({}, {}, {}, {}, contents))
    if lines:
        raise UserError(
            *(f"sweep.name={name}: {line}" for line in lines),
            f"sweep.name={name}: its earlier trials were made with other code or data; give another sweep.name",
        )
