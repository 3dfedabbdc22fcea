"""A run that another machine worked on last gets a folder here, with the state that MLflow has of it.

First everything is fetched into a private folder and checked; only then the run's folder is written.
"""

import contextlib
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.addresses import recorded_uri
from pipeline.config.schema import Config
from pipeline.model.weights import weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy, publish, try_lock
from pipeline.runtime.process import Process, where
from pipeline.tracking.journal import FILE, LOCK, Journal
from pipeline.tracking.provenance import FOLDER as ENVIRONMENT
from pipeline.tracking.provenance import fetch_provenance
from pipeline.tracking.records import Begin, Images, Metrics, Params, Status
from pipeline.tracking.run_ref import RunRef, write_position
from pipeline.tracking.step_images import PLACE as IMAGES
from pipeline.tracking.step_images import LoggedStep, logged_steps
from pipeline.tracking.store import answering
from pipeline.tracking.stored_run import StoredRun
from pipeline.train.checkpoint import FILES, STATE, best_folder, read_best, read_checkpoint, step_folder
from pipeline.train.checkpoint_state import TrainingState


class NoCheckpoint(UserError):
    """MLflow has no checkpoint from which the run can be resumed; the machine where it ran may have one."""


@dataclass(frozen=True)
class Fetched:
    """The checked state of a run in MLflow, in the private folder of `stored`."""

    stored: StoredRun
    begin: Begin  # of its journal here
    metrics: list[Metrics]
    images: list[LoggedStep]
    checkpoints: list[tuple[Path, Path]]  # (private folder, its path below `checkpoints/`) of each


def fetch(stored: StoredRun, run: RunRef, uri: str | None) -> Fetched:
    """Fetch and check the state of a run, without writing its folder.

    Args:
        run: the same run on this machine.
        uri: the tracking address that was given; None for the default.

    Raises:
        NoCheckpoint: the checkpoints were not uploaded.
        UserError: a part of the run is not what this program writes.
    """
    uploaded = all(stored.has(f"checkpoints/last/{name}") for name in (STATE, *FILES))
    if not uploaded and stored.run.info.status != "FINISHED":
        if (run.folder / "checkpoints").is_dir() and not (run.folder / FILE).exists():
            raise NoCheckpoint(
                f"resume={stored.run_id}: its checkpoints are in {run.folder}, but {FILE} is missing there, without "
                "which they cannot be used; restore that file"
            )
        place = where(Process.read(stored.tags)) or " where it ran"
        raise NoCheckpoint(
            f"resume={stored.run_id}: its checkpoints were not uploaded (checkpoint.upload=epoch does it after every "
            f"epoch) and are not here: resume it{place}, or copy {run.folder} from there to here"
        )
    config = stored.config()
    checkpoints = _fetch_checkpoints(stored, config) if uploaded else []
    fetch_provenance(stored)
    metrics, images = stored.metrics(), logged_steps(stored.listed(IMAGES).values())
    with answering(stored.client.tracking_uri):
        experiment = stored.client.get_experiment(stored.run.info.experiment_id).name
    begin = Begin(
        name=stored.run.info.run_name or "",
        tags=stored.tags,
        tracking_uri=recorded_uri(uri),
        experiment=experiment,
        config=stored.path("config/config.yaml").read_text(encoding="utf-8"),
    )
    return Fetched(stored, begin, metrics, images, checkpoints)


def restore(run: RunRef, fetched: Fetched) -> None:
    """Write the folder of a run: its checkpoints, and a journal with all that MLflow has.

    The journal comes last, and complete, since without one the folder is not a run: with half of the history a resumed
    run would log the rest again. If several processes restore the run at once, one of them does; the lock in the folder
    stays the same file.

    Raises:
        UserError: another process has resumed the run.
    """
    run.folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = try_lock(run.folder / LOCK)
    except Busy as error:
        raise UserError(f"resume={fetched.stored.run_id}: is being resumed by another process") from error
    try:
        if not run.is_current(fetched.stored.tags):  # else another process restored it while this one fetched
            _remove_outdated(run.folder)
            for source, target in fetched.checkpoints:
                copy_folder(source, run.folder / "checkpoints" / target)
            shutil.copytree(fetched.stored.path(ENVIRONMENT), run.folder / ENVIRONMENT)
            _write_journal(run.folder, fetched)
    finally:
        lock.release()


def copy_folder(source: Path, target: Path) -> None:
    """Copy a checkpoint so that it is complete or absent at any instant."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.copytree(source, hidden)
    publish(hidden, target)


def _remove_outdated(folder: Path) -> None:
    """Remove the state before another machine resumed the run, or of an attempt to restore it that was killed."""
    (folder / FILE).unlink(missing_ok=True)  # first: without it the folder is not a run
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK:
            entry.unlink()


def _write_journal(folder: Path, fetched: Fetched) -> None:
    """Write what MLflow has of a run, and that no process works on it now."""
    stored = fetched.stored
    with contextlib.closing(Journal(folder / ".restored")) as journal:
        journal.append(fetched.begin)
        for logged in fetched.metrics:
            journal.append_metrics(logged.values, logged.step, logged.time)
        for images in fetched.images:
            journal.append(Images("restored", images.split, images.step, images.size, [], time=images.time))
        journal.append(Params(dict(stored.run.data.params)))
        journal.append(Status("FINISHED" if stored.run.info.status == "FINISHED" else "KILLED"))
    write_position(folder, stored.run_id, len(journal.records))  # MLflow has all of this
    publish(journal.path, folder / FILE)
    shutil.rmtree(journal.folder)


def _fetch_checkpoints(stored: StoredRun, config: Config) -> list[tuple[Path, Path]]:
    """The last and the best checkpoint of a run, every byte compared with its hash; see `Fetched.checkpoints`."""
    for name in (STATE, *FILES):
        stored.fetch(f"checkpoints/last/{name}")
    last, best = stored.path("checkpoints/last"), stored.path("checkpoints/best")
    # MLflow gets the files one after the other: if a run is killed in between, it has those of two epochs.
    with _uploaded_in_part():
        state, _ = read_checkpoint(last)
    if fault := _misfit(state, config):
        raise UserError(f"{last / STATE}: {fault}")
    parts = [(last, step_folder(Path(), state.step))]
    if state.best is not None:
        for name in (STATE, "weights.npz"):
            stored.fetch(f"checkpoints/best/{name}")
        with _uploaded_in_part():
            weights = read_best(best)
        if weights_sha256(weights) != state.best.weights_sha256:
            raise NoCheckpoint(
                f"resume={stored.run_id}: checkpoints/best does not contain the weights of epoch {state.best.epoch}, "
                "which were the best when checkpoints/last was written"
            )
        parts.append((best, best_folder(Path(), state.best.epoch)))
    return parts


@contextlib.contextmanager
def _uploaded_in_part() -> Iterator[None]:
    """Take a damaged checkpoint for none.

    Raises:
        NoCheckpoint: it is damaged.
    """
    try:
        yield
    except UserError as error:
        raise NoCheckpoint(*error.faults) from error


def _misfit(state: TrainingState, config: Config) -> str | None:
    """What in a state cannot come from a run with this configuration, or None."""
    best, classes = state.best, len(config.dataset.classes)
    if state.epoch > config.epochs:
        return f"{state.epoch} epochs are closed, but the run has {config.epochs}"
    if not 0 <= state.seconds < math.inf:
        return f"{state.seconds} seconds of training: a number from 0 expected"
    if (best is None) != (state.epoch == 0):
        return "the best epoch is missing, or named before any epoch is closed"
    if best is not None and not 1 <= best.epoch <= state.epoch:
        return f"epoch {best.epoch} cannot be the best of {state.epoch}"
    if best is not None and not (0 <= best.mean_iou <= 1 and len(best.confusion_matrix) == classes):
        return f"a mean IoU between 0 and 1 and a confusion matrix of {classes} classes expected"
    return None
