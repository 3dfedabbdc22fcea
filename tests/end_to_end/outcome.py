"""What a run left on the disk and in MLflow, so that a killed run can be compared with an undisturbed one."""

import hashlib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from urllib.parse import unquote

from pipeline.experiment.rerun import WALL_CLOCK
from pipeline.tracking.journal import read_journal
from pipeline.tracking.records import history_of
from pipeline.tracking.store import connect
from pipeline.train.checkpoint import FILES, newest_resume_point
from tests.end_to_end.commands import stored_runs

# Tags about a process, a place or a duration, not about what was computed.
OF_A_PROCESS = {
    "host", "boot", "pid", "started", "heartbeat", "run_key", "mlflow.note.content", "mlflow.source.git.commit",
}  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """Everything that interrupting and resuming must not change."""

    runs: int
    status: str
    checkpoint: dict[str, str]  # file of the last checkpoint -> SHA-256
    tags: dict[str, str]  # weights_sha256 and last_weights_sha256 are two of them
    params: dict[str, str]
    data: list[tuple[str, str]]
    results: dict[str, list[tuple[int, float]]]  # every metric except the wall-clock ones; includes best/epoch
    wall_clock: dict[str, list[int]]  # their steps; of the system metrics, gaps and repetitions
    artifacts: list[str]
    model: list[str]
    journalled: bool  # whether MLflow has exactly what the journal has


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing interrupted, and the folder with its dataset and an empty store."""

    home: Path
    cwd: Path
    outcome: Outcome


def run_folders(cwd: Path) -> list[Path]:
    """The folders of all runs whose journal has begun."""
    return [folder for folder in sorted((cwd / "mlruns/runs").glob("*")) if read_journal(folder)]


def outcome(cwd: Path, key: str | None = None) -> Outcome:
    """The outcome of the run with this key, or of the newest run, in a working directory."""
    client, runs = stored_runs(cwd)
    if key is not None:
        runs = [run for run in runs if run.data.tags["run_key"] == key]
    run = runs[-1]
    folder = cwd / "mlruns/runs" / run.data.tags["run_key"]
    start, _ = newest_resume_point(folder / "checkpoints")
    assert start is not None
    found = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    logged = {name: sorted((metric.step, metric.value) for metric in metrics) for name, metrics in found.items()}
    steps = {name: [step for step, _ in values] for name, values in logged.items()}
    load = [name for name in logged if name.startswith("system/")]
    wall_clock = {name: steps[name] for name in logged if name.startswith(WALL_CLOCK) and name not in load}
    wall_clock["system"] = sorted({step - place for name in load for place, step in enumerate(steps[name])})
    journal = history_of(read_journal(folder))
    outputs = run.outputs.model_outputs if run.outputs else []
    models = [client.get_logged_model(output.model_id).artifact_location for output in outputs]
    return Outcome(
        runs=len(runs),
        status=run.info.status,
        checkpoint={name: hashlib.sha256((start.folder / name).read_bytes()).hexdigest() for name in FILES},
        tags={key: value for key, value in run.data.tags.items() if key not in OF_A_PROCESS},
        params=dict(run.data.params),
        data=sorted((given.dataset.name, given.dataset.digest) for given in run.inputs.dataset_inputs),
        results={name: values for name, values in logged.items() if not name.startswith(WALL_CLOCK)},
        wall_clock=wall_clock,
        artifacts=[without_times(name) for name in _files(run.info.artifact_uri)],
        model=[name for model in models for name in _files(model) if not name.startswith("code/")],
        journalled=logged == {name: sorted(values.items()) for name, values in journal.items()},
    )


def differing(one: Outcome, other: Outcome) -> list[str]:
    """What differs between two outcomes, a line each."""
    lines = []
    for field in fields(Outcome):
        before, after = getattr(one, field.name), getattr(other, field.name)
        if before == after:
            continue
        if isinstance(before, dict):
            keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
            lines += [f"{field.name}: {key}: {before.get(key)} -> {after.get(key)}" for key in keys[:5]]
        else:
            lines.append(f"{field.name}: {before} -> {after}")
    return lines


def without_times(artifact: str) -> str:
    """The name of an artifact, without the time at which an image was logged."""
    return re.sub(r"\+timestamp\+\d+\+", "+", artifact)


def _files(uri: str) -> list[str]:
    root = Path(unquote(uri.removeprefix("file://")))
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


def empty_store(cwd: Path) -> None:
    """Create a database with MLflow's tables. That takes seconds, so it is done once and copied."""
    (cwd / "mlruns").mkdir()
    connect(f"sqlite:///{cwd / 'mlruns/mlflow.db'}").search_experiments()
