"""A network that predicts one class everywhere, and the warning about it."""

from pipeline.config.schema import Config
from pipeline.evaluate.metrics import Scores
from pipeline.runtime.text import one_of


def collapse_warning(scores: Scores, epoch: int, last: bool, warned: bool, config: Config) -> str | None:
    """The warning that is due after an epoch, if any.

    In the first two epochs a collapse is usual. Later it is reported when it begins and if training ends with it.

    Args:
        scores: of the validation split.
        epoch: from 1.
        last: whether training ends with this epoch.
        warned: whether this collapse was reported after an earlier epoch.
        config: of the run; what it has already is not advised.
    """
    if not scores.collapsed or (not last and (epoch <= 2 or warned)):
        return None
    loss = config.loss
    ways = ["loss=cross_entropy_dice"] if not (loss.cross_entropy and loss.dice) else []
    if loss.cross_entropy and loss.class_weights == "none":
        ways.append("loss.class_weights=median_frequency")
    ways += ["model.norm=batch"] if config.model.norm == "none" else []
    ways += ["a lower optimizer.ema"] if config.optimizer.ema is not None else []
    return (
        f"warning: val mIoU {scores.mean_iou:.4f} is no better than predicting one class everywhere: the network has "
        f"collapsed. {one_of([*ways, 'more epochs', 'another learning rate'])} may help"
    )
