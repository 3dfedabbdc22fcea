"""A run that another machine began gets a folder here: what MLflow has of it, looked at before anything is written."""

import math
import shutil
from pathlib import Path

from pipeline.addresses import tracking_uri
from pipeline.checkpoint import FILES, STATE, TrainingState, best_folder, read_best, read_checkpoint, step_folder
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.plain_text import mask_credentials
from pipeline.rerun import fetch_made_with
from pipeline.tracking.delivery import write_position
from pipeline.tracking.journal import Busy, Journal
from pipeline.tracking.process import Process, where
from pipeline.tracking.store import answering
from pipeline.tracking.stored import StoredRun
from pipeline.weights import weights_sha256


def adopt(stored: StoredRun, folder: Path, uri: str | None) -> None:
    """Make the folder of a run: its checkpoints, and a journal that knows what MLflow was told.

    It is made under a hidden name and renamed: with half of the history a resumed run would tell the rest again.

    Args:
        uri: the tracking address that was given; None for the default.

    Raises:
        UserError: the checkpoints were not uploaded, or something of the run is not what this program writes.
    """
    config, config_text = stored.config(), stored.path("config/config.yaml").read_text(encoding="utf-8")
    is_finished = stored.run.info.status == "FINISHED"
    hidden = folder.with_name(f".{folder.name}")
    checkpoints: list[tuple[Path, Path]] = []
    if all(stored.has(f"checkpoints/last/{name}") for name in (STATE, *FILES)):
        checkpoints = _fetch_checkpoints(stored, config, hidden / "checkpoints")
    elif not is_finished:
        place = where(Process.read(stored.tags)) or " where it ran"
        raise UserError(
            f"resume={stored.id}: its checkpoints were not uploaded (checkpoint.upload={config.checkpoint.upload}) and "
            f"are not here: resume it{place}, or copy {folder} from there to here"
        )
    fetch_made_with(stored)
    history = stored.history()
    with answering(stored.client.tracking_uri):
        experiment = stored.client.get_experiment(stored.run.info.experiment_id).name
    try:
        Journal(hidden).close()
    except Busy as error:
        raise UserError(f"resume={stored.id}: is being resumed by another process") from error
    shutil.rmtree(hidden)  # of an earlier attempt that was killed
    journal = Journal(hidden)
    for source, target in checkpoints:
        copy_folder(source, target)
    shutil.copytree(stored.path("environment"), hidden / "environment")
    journal.append(
        "begin",
        name=stored.run.info.run_name,
        tags=stored.tags,
        tracking_uri=None if uri is None else mask_credentials(tracking_uri(uri)),
        experiment=experiment,
        config=config_text,
        overrides=[],
    )
    for key, values in history.items():
        for step, value in values.items():
            journal.metrics({key: value}, step)
    journal.append("params", values=dict(stored.run.data.params))
    journal.append("status", status="FINISHED" if is_finished else "KILLED")
    write_position(hidden, stored.id, len(journal.records))  # MLflow has all of this
    shutil.rmtree(folder, ignore_errors=True)  # it has no journal
    hidden.rename(folder)
    journal.close()


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
            raise UserError(
                f"resume={stored.id}: checkpoints/best does not have the weights of epoch {state.best.epoch}, which "
                "were the best when checkpoints/last was written"
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
