"""A network that predicts one class everywhere, and the warning about it."""

from pipeline.evaluate.metrics import Scores


def collapse_warning(scores: Scores, epoch: int, epochs: int, warned: bool) -> str | None:
    """The warning that is due after an epoch, if any.

    In the first two epochs a collapse is usual. Later it is reported when it begins and if training ends with it.

    Args:
        scores: of the validation split.
        epoch: from 1.
        epochs: of the whole run.
        warned: whether this collapse was reported after an earlier epoch.
    """
    if not scores.collapsed or (epoch < epochs and (epoch <= 2 or warned)):
        return None
    return (
        f"warning: val mIoU {scores.mean_iou:.4f} is no better than predicting one class everywhere: the network has "
        "collapsed. loss=cross_entropy_dice, loss.class_weights=median_frequency, model.norm=batch, more epochs or "
        "another learning rate may help"
    )
