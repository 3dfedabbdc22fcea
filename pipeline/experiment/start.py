"""The run that a command works on: a new one, one that is resumed, or none because the results are there already."""

import math
import uuid
from pathlib import Path

from omegaconf import OmegaConf

from pipeline.config.environment import experiment_name
from pipeline.config.fingerprint import APPEARANCE, fingerprint
from pipeline.config.keys import as_typed, flatten
from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.log import run_name
from pipeline.experiment.restore_remote import copy_folder
from pipeline.experiment.resume import Finished, Resumable, find_same, finished_already
from pipeline.experiment.trial import ALONE, Trial
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy
from pipeline.tracking.delivery import send_rest
from pipeline.tracking.journal import Journal
from pipeline.tracking.local_runs import find_local
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import ResumePoint, best_folder, newest_resume_point
from pipeline.train.checkpoint_state import TrainingState
from pipeline.train.ending import ended_by

# Keys that a resumed run may have other values of.
LENGTHS = ("epochs", "steps", "max_minutes")  # with another one, it is a new run that continues from a checkpoint
LAST_EPOCH = "last_epoch"  # tag of a rerun: the epoch after which the original ended
MAY_CHANGE = ("tracking.", "sweep.", "data_dir", "cache_mb", "dataset.root", *APPEARANCE)


def begin_or_continue(
    config: Config,
    overrides: list[str],
    dataset: Dataset,
    initial_sha256: str | None,
    store: Store | None,
    lineage: Lineage,
    trial: Trial = ALONE,
) -> TrackedRun | Finished:
    """The run that training logs to, with the checkpoint that it continues from in its folder; or the finished run.

    Args:
        overrides: what was typed.
        initial_sha256: of the weights that a new run starts from; None for random ones.
        store: None if it does not answer.
        lineage: the run that is repeated or continued.
        trial: what a new run is in a sweep.

    Raises:
        UserError: the run that was to be continued cannot be.
    """
    digest = dataset.checked.digest
    identity = fingerprint(config, digest, initial_sha256)
    earlier = _earlier_run(config, identity, initial_sha256, store, lineage)
    if isinstance(earlier, Finished):
        if (run := find_local(earlier.name)) is not None:
            send_rest(run, config.tracking.uri)
        return earlier
    if earlier is not None:
        check_data(earlier, digest)
        if not _is_longer(earlier, config):
            return reopen(earlier, config)

    run = RunRef.of(uuid.uuid4().hex)
    tags = {**trial.tags, "fingerprint": identity, "data_digest": digest}
    if initial_sha256 is not None:
        tags["initial_weights_sha256"] = initial_sha256
    if lineage.rerun is not None:
        tags["rerun_of"] = lineage.rerun.run_id
        if (last_epoch := lineage.rerun.last_epoch(config)) is not None:
            tags[LAST_EPOCH] = str(last_epoch)  # for the processes that resume it, too
    if earlier is not None:  # the new run is a longer one, and continues from a checkpoint of the earlier one
        start = longer_start(earlier, config)
        # Before the journal begins: a run that has begun has what it continues from.
        copy_checkpoint(start, run.folder / "checkpoints")
        # Its schedule was another one up to here, so it is not the same as a run of as many epochs from scratch.
        tags |= {"resumed_from": earlier.name, "fingerprint": fingerprint(config, digest, start.sha256)}
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    name = run_name(config, trial.name)
    return TrackedRun.begin(config.tracking, name, tags, text, overrides, run.key, trial.parent)


def _earlier_run(
    config: Config, identity: str, initial_sha256: str | None, store: Store | None, lineage: Lineage
) -> Finished | Resumable | None:
    """The run that the command names or, for `resume=auto`, one with the same fingerprint; None for a new run.

    Args:
        identity: the fingerprint of the command.
    """
    earlier: Finished | Resumable | None = lineage.resume
    if lineage.resume is not None:
        check_config(lineage.resume, config)
        check_initial(lineage.resume, initial_sha256)
    elif lineage.auto:
        earlier = find_same(identity, experiment_name(config.tracking), store)
    if isinstance(earlier, Resumable) and not _is_longer(earlier, config):
        return finished_already(earlier.run) or earlier
    return earlier


def _is_longer(resumed: Resumable, config: Config) -> bool:
    """Whether a run is to train for longer, or shorter, than it was begun for: then it is a new run."""
    return any(getattr(config, key) != getattr(resumed.config, key) for key in LENGTHS)


def last_epoch_of(run: TrackedRun) -> int | None:
    """The epoch after which a run ends since its original did; None if its own time counts."""
    tag = run.journal.begin.tags.get(LAST_EPOCH, "")
    return int(tag) if tag.isdecimal() else None


def check_config(resumed: Resumable, config: Config) -> None:
    """Check that the configuration is that of the run, but for its length and the keys of `MAY_CHANGE`.

    With another length it is a new run, which may stop early by another rule.

    Raises:
        UserError: with a line for each key that differs.
    """
    before, after = flatten(resumed.config), flatten(config)
    longer = ("early_stopping",) if _is_longer(resumed, config) else ()
    faults = [
        f"{key}={after[key]}: it is {before[key]} in run {resumed.name}, and a resumed run is the same run; only "
        "epochs, steps and max_minutes (as a new run), tracking.*, cache_mb, dataset.colours, evaluate.log_images and "
        "the location of the data may change. A new run with other settings: rerun=<run id>"
        for key in after
        if after[key] != before[key] and not key.startswith((*MAY_CHANGE, *LENGTHS, *longer))
    ]
    if faults:
        raise UserError(*faults)


def check_data(resumed: Resumable, digest: str) -> None:
    """Check that the data are those that the run began with.

    Raises:
        UserError: they are not.
    """
    if resumed.data_digest not in (None, digest):
        raise UserError(
            f"resume={resumed.name}: its data have changed since it began (digest {resumed.data_digest}, now "
            f"{digest}), so it cannot be resumed as the same run; rerun={resumed.name} names the images that changed"
        )


def check_initial(resumed: Resumable, initial_sha256: str | None) -> None:
    """Check that a run without a checkpoint starts again from the weights that it started from.

    Raises:
        UserError: it would not.
    """
    if resumed.initial_sha256 != initial_sha256:
        raise UserError(
            f"resume={resumed.name}: has no checkpoint yet, and its initial weights (init_from, model.encoder_weights) "
            f"have changed (SHA-256 {resumed.initial_sha256}, now {initial_sha256}), so it cannot be resumed as the "
            "same run"
        )


def longer_start(resumed: Resumable, config: Config) -> ResumePoint:
    """The checkpoint from which a longer run continues: the newest complete one of the run that it extends.

    Raises:
        UserError: there is no complete checkpoint, it was trained longer already, or training would stop at once.
    """
    start, notes = newest_resume_point(resumed.checkpoints)
    if start is None:
        raise UserError(f"resume={resumed.name}: has no complete checkpoint in {resumed.checkpoints}", *notes)
    if fault := _other_epochs(resumed, config, start.state):
        raise UserError(fault)
    if start.state.epoch >= config.epochs:
        raise UserError(
            f"epochs={config.epochs}: run {resumed.name} has trained {start.state.epoch} epochs; "
            "more than that expected"
        )
    key = ended_by(start.state, config)
    if key == "max_minutes":
        taken, epoch = start.state.seconds / 60, start.state.epoch_seconds / 60
        raise UserError(
            f"max_minutes={config.max_minutes}: run {resumed.name} has trained for {taken:.2f} minutes, and another "
            f"epoch would take {epoch:.2f}; more than {math.ceil(100 * (taken + epoch)) / 100:.2f}, or null, expected"
        )
    if key == "overfit":
        raise UserError(
            f"epochs={config.epochs}: run {resumed.name} has learnt its images after epoch {start.state.epoch}, which "
            "is all that overfit=true is for; a run without debug=overfit expected"
        )
    if key is not None:
        raise UserError(
            f"early_stopping={config.early_stopping}: it ended run {resumed.name} after epoch {start.state.epoch}; "
            f"a larger number, or null, expected together with epochs={config.epochs}"
        )
    return start


def _other_epochs(resumed: Resumable, config: Config, state: TrainingState) -> str | None:
    """The fault of a longer run whose epochs would be others than those of the run that it extends.

    Args:
        state: in which that run ended.
    """
    if config.steps is None and resumed.config.steps is None:
        return None
    if config.steps is None or resumed.config.steps is None:
        return (
            f"steps={as_typed(config.steps)}: it is {as_typed(resumed.config.steps)} in run {resumed.name}: "
            "a number in both, or in neither"
        )
    before = state.steps_per_epoch
    if config.steps == before * config.epochs:
        return None
    is_longer = config.steps % before == 0 and config.steps > before * state.epoch
    other = f"epochs={config.steps // before} or " if is_longer else ""
    return (
        f"steps={config.steps}, epochs={config.epochs}: the epochs of run {resumed.name} have {before} steps each; "
        f"{other}steps={before * config.epochs} expected"
    )


def copy_checkpoint(start: ResumePoint, checkpoints: Path) -> None:
    """Copy a checkpoint, and the best weights that it names, into the checkpoints of a new run."""
    folders = [start.folder]
    if start.state.best is not None:
        folders.append(best_folder(start.folder.parent, start.state.best.epoch))
    for folder in folders:
        copy_folder(folder, checkpoints / folder.name)


def reopen(resumed: Resumable, config: Config) -> TrackedRun:
    """The run again, to be continued under its own name.

    Raises:
        UserError: another process has it.
    """
    try:
        return TrackedRun(Journal(resumed.run.folder), config.tracking)
    except Busy as error:
        raise UserError(f"resume={resumed.name}: another process has resumed it already") from error
