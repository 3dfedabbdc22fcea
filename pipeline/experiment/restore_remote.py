"""A run that another machine began gets a folder here: what MLflow has of it, looked at before anything is written."""

import contextlib
import math
import shutil
from pathlib import Path

from pipeline.config.addresses import tracking_uri
from pipeline.config.schema import Config
from pipeline.experiment.rerun import fetch_made_with
from pipeline.model.weights import weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import Process, where
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.delivery import write_position
from pipeline.tracking.journal import FILE, LOCK, Busy, Journal, locked, read_journal
from pipeline.tracking.ownership import is_current
from pipeline.tracking.store import answering
from pipeline.tracking.stored_run import StoredRun
from pipeline.train.checkpoint import FILES, STATE, best_folder, read_best, read_checkpoint, step_folder
from pipeline.train.checkpoint_state import TrainingState


class NoCheckpoint(UserError):
    """An interrupted run of which MLflow has no checkpoint to go on from; the machine where it ran may have one."""


def adopt(stored: StoredRun, folder: Path, uri: str | None) -> None:
    """Make the folder of a run: its checkpoints, and a journal that knows what MLflow was told.

    The journal comes last and whole, since without one the folder is no run: with half of the history a resumed run
    would tell the rest again. Of several processes that make it at once one does, and the folder keeps its lock.

    Args:
        uri: the tracking address that was given; None for the default.

    Raises:
        NoCheckpoint: the checkpoints were not uploaded.
        UserError: something of the run is not what this program writes.
    """
    uploaded = all(stored.has(f"checkpoints/last/{name}") for name in (STATE, *FILES))
    if not uploaded and stored.run.info.status != "FINISHED":
        place = where(Process.read(stored.tags)) or " where it ran"
        raise NoCheckpoint(
            f"resume={stored.run_id}: its checkpoints were not uploaded (checkpoint.upload=epoch does it after every "
            f"epoch) and are not here: resume it{place}, or copy {folder} from there to here"
        )
    config = stored.config()
    checkpoints = _fetch_checkpoints(stored, config, folder / "checkpoints") if uploaded else []
    fetch_made_with(stored)
    history = stored.history()
    with answering(stored.client.tracking_uri):
        experiment = stored.client.get_experiment(stored.run.info.experiment_id).name
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = locked(folder / LOCK)
    except Busy as error:
        raise UserError(f"resume={stored.run_id}: is being resumed by another process") from error
    with lock:
        if is_current(read_journal(folder), stored.tags):  # another process made it while this one fetched
            return
        (folder / FILE).unlink(missing_ok=True)  # first
        for left in folder.iterdir():  # of an attempt that was killed, or of before another machine went on
            if left.is_dir():
                shutil.rmtree(left)
            elif left.name != LOCK:
                left.unlink()
        for source, target in checkpoints:
            copy_folder(source, target)
        shutil.copytree(stored.path("environment"), folder / "environment")
        with contextlib.closing(Journal(folder / ".adopted")) as journal:
            _tell(journal, stored, uri, experiment, history)
        write_position(folder, stored.run_id, len(journal.records))  # MLflow has all of this
        journal.path.rename(folder / FILE)
        shutil.rmtree(journal.folder)


def _tell(
    journal: Journal, stored: StoredRun, uri: str | None, experiment: str, history: dict[str, dict[int, float]]
) -> None:
    """Write down what MLflow was told of a run, and that nothing works on it now."""
    journal.append(
        "begin",
        name=stored.run.info.run_name,
        tags=stored.tags,
        tracking_uri=None if uri is None else mask_credentials(tracking_uri(uri)),
        experiment=experiment,
        config=stored.path("config/config.yaml").read_text(encoding="utf-8"),
        overrides=[],
    )
    for step in sorted({step for values in history.values() for step in values}):
        journal.metrics({key: values[step] for key, values in history.items() if step in values}, step)
    journal.append("params", values=dict(stored.run.data.params))
    journal.append("status", status="FINISHED" if stored.run.info.status == "FINISHED" else "KILLED")


def _fetch_checkpoints(stored: StoredRun, config: Config, checkpoints: Path) -> list[tuple[Path, Path]]:
    """The last and the best checkpoint of a run on a server, every byte compared with its hash.

    Returns:
        (private folder, where it belongs) of each.
    """
    for name in (STATE, *FILES):
        stored.fetch(f"checkpoints/last/{name}")
    last, best = stored.path("checkpoints/last"), stored.path("checkpoints/best")
    state, _ = read_checkpoint(last)
    if fault := _misfit(state, config):
        raise UserError(f"{last / STATE}: {fault}")
    parts = [(last, step_folder(checkpoints, state.step))]
    if state.best is not None:
        for name in (STATE, "weights.npz"):
            stored.fetch(f"checkpoints/best/{name}")
        # Files that MLflow has got one after the other: a run that was killed in between has those of two epochs.
        if weights_sha256(read_best(best)) != state.best.weights_sha256:
            raise NoCheckpoint(
                f"resume={stored.run_id}: checkpoints/best does not have the weights of epoch {state.best.epoch}, "
                "which were the best when checkpoints/last was written"
            )
        parts.append((best, best_folder(checkpoints, state.best.epoch)))
    return parts


def _misfit(state: TrainingState, config: Config) -> str | None:
    """What in a state cannot come from a run with this configuration, or None."""
    best, classes = state.best, len(config.dataset.classes)
    if state.epoch > config.epochs:
        return f"{state.epoch} epochs are closed, but the run has {config.epochs}"
    if not 0 <= state.seconds < math.inf:
        return f"{state.seconds} seconds of training"
    if (best is None) != (state.epoch == 0):
        return "after an epoch, and only then, one is the best so far"
    if best is not None and not 1 <= best.epoch <= state.epoch:
        return f"epoch {best.epoch} cannot be the best of {state.epoch}"
    if best is not None and not (0 <= best.mean_iou <= 1 and len(best.confusion_matrix) == classes):
        return f"a mean IoU between 0 and 1 and a confusion matrix of {classes} classes expected"
    return None


def copy_folder(source: Path, target: Path) -> None:
    """Copy a checkpoint so that it is there as a whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.with_name(f".{target.name}")
    shutil.rmtree(hidden, ignore_errors=True)
    shutil.copytree(source, hidden)
    hidden.rename(target)
