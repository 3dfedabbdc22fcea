"""Which run a command works on: a new one, one that was interrupted, or none because the work is done already."""

import uuid

from omegaconf import OmegaConf

from pipeline.config.fingerprint import fingerprint
from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.log import run_name
from pipeline.experiment.resume import (
    Finished,
    check_initial,
    check_unchanged,
    find_same,
    finished_already,
    reopen,
    take_over,
)
from pipeline.experiment.trial import ALONE, Trial
from pipeline.tracking.local_runs import send_rest
from pipeline.tracking.store import Store
from pipeline.tracking.tracked_run import RUNS, TrackedRun


def begin_or_continue(
    config: Config,
    overrides: list[str],
    dataset: Dataset,
    initial_sha256: str | None,
    store: Store | None,
    origin: Lineage,
    trial: Trial = ALONE,
) -> TrackedRun | Finished:
    """The run that training logs to, with the checkpoints it goes on from in its folder; or the one that did it all.

    Args:
        overrides: what was typed.
        initial_sha256: of the weights that a new run starts from; None for random ones.
        store: None while it does not answer.
        trial: what a new run is in a sweep.

    Raises:
        UserError: the run that was to be continued cannot be.
    """
    digest = dataset.checked.digest
    identity = fingerprint(config, digest, initial_sha256)
    resumed = origin.resume
    if resumed is not None:
        check_unchanged(resumed, config)
        check_initial(resumed, initial_sha256)
    elif origin.auto:
        same = find_same(identity, config.tracking.experiment, store)
        if isinstance(same, Finished):
            send_rest(same.name, config.tracking)
            return same
        resumed = same
    if resumed is not None and config.epochs == resumed.config.epochs:
        finished = finished_already(resumed)
        if finished is None:
            return reopen(resumed, config, digest)
        send_rest(finished.name, config.tracking)
        return finished
    key = uuid.uuid4().hex
    tags = {**trial.tags, "fingerprint": identity, "data_digest": digest}
    if initial_sha256 is not None:
        tags["initial_weights_sha256"] = initial_sha256
    if origin.rerun is not None:
        tags["rerun_of"] = origin.rerun.run_id
    if resumed is not None:  # a longer run than the one that was begun
        # Before its journal begins: what is refused leaves no run, and a run that has begun has what it goes on from.
        start = take_over(resumed, config, digest, RUNS / key / "checkpoints")
        # Not the same as a run of so many epochs from the beginning: its schedule was another one up to here.
        tags |= {"resumed_from": resumed.name, "fingerprint": fingerprint(config, digest, start.sha256)}
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    return TrackedRun.begin(config.tracking, run_name(config, trial.name), tags, text, overrides, key, trial.parent)
