"""What ends training: the last epoch, early stopping, the time, or images that are learnt."""

from typing import Literal

from pipeline.config.schema import Config
from pipeline.runtime.console import duration
from pipeline.train.checkpoint_state import TrainingState

EndedBy = Literal["epochs", "early_stopping", "max_minutes", "overfit"]  # the key of the configuration
ENDED_BY = "ended_by"  # tag of a run that ended before its last epoch: such a key
LEARNT = 0.95  # mean IoU of the training images at which `overfit` has shown what it is for


def ended_by(state: TrainingState, config: Config, last_epoch: int | None = None) -> EndedBy | None:
    """The key that ends training here; None while another epoch is to be trained.

    Time ends it between epochs only, and not before the first one is closed.

    Args:
        last_epoch: of a rerun, the last one of the original. Then no time counts, so that the bits are the same.
    """
    if config.overfit and state.best is not None and state.best.mean_iou >= LEARNT:
        return "overfit"
    waited = state.epoch - state.best.epoch if state.best is not None else 0
    if state.epoch >= config.epochs:
        return "epochs"
    if config.early_stopping is not None and waited >= config.early_stopping:
        return "early_stopping"
    if last_epoch is not None:
        return "max_minutes" if state.epoch >= last_epoch else None
    if config.max_minutes is None or not state.epoch or state.steps_into_epoch:
        return None
    return "max_minutes" if state.seconds + state.epoch_seconds > 60 * config.max_minutes else None


def early_end(state: TrainingState, config: Config, last_epoch: int | None = None) -> str | None:
    """Why training ends here, before its last epoch; None if it does not.

    Args:
        last_epoch: as in `ended_by`.
    """
    key = ended_by(state, config, last_epoch)
    if key == "early_stopping":
        return f"early stopping: no better val mIoU for {config.early_stopping} epochs"
    if key == "overfit":
        return f"overfit: mean IoU of {LEARNT} or more"
    if key != "max_minutes":
        return None
    if last_epoch is not None:
        return f"max_minutes={config.max_minutes}: the original ended after epoch {state.epoch}, and so does this run"
    return (
        f"max_minutes={config.max_minutes}: {duration(state.seconds)} are used, and another epoch would take "
        f"{duration(state.epoch_seconds)}"
    )
