"""`overfit=true`: whether a network could learn a few images by heart, and what may be wrong if it could not."""

from collections.abc import Mapping

from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.evaluate.metrics import iou_per_class
from pipeline.experiment.messages import print_verdict
from pipeline.runtime.errors import RunFailed
from pipeline.train.ending import LEARNT
from pipeline.train.setup import TrainingResult

HARDLY, WELL = 0.8, 0.2  # of the first epoch's loss, the share that is left when it has hardly, or well, fallen
WORST = 3  # classes that are named


def conclude(config: Config, dataset: Dataset, trained: TrainingResult, losses: Mapping[int, float]) -> None:
    """Print whether the images were learnt and, if not, the likely causes, the likeliest first.

    Args:
        losses: on the training images, by epoch.

    Raises:
        RunFailed: they were not.
    """
    images, reached, epochs = len(dataset.splits["train"]), trained.best_scores.mean_iou, max(losses)
    if reached < LEARNT:
        for cause in _causes(config, dataset, trained, losses):
            print_verdict(f"cause?    {cause}")
        raise RunFailed(
            f"overfit: mean IoU {reached:.4f} instead of {LEARNT} on {images} images after {epochs} epochs: something "
            "is wrong, or takes longer; the likely causes are above, the likeliest first"
        )
    print_verdict(
        f"overfit: the {images} images were learnt, mean IoU {reached:.4f} after {trained.best_epoch} epochs: images "
        "and masks, loss, network and optimizer work together"
    )


def _causes(config: Config, dataset: Dataset, trained: TrainingResult, losses: Mapping[int, float]) -> list[str]:
    rate = f"optimizer.learning_rate={config.optimizer.learning_rate}"
    left = losses[max(losses)] / losses[min(losses)]
    causes = []
    if trained.best_scores.collapsed:
        causes.append(
            "one class is predicted everywhere: loss=cross_entropy_dice or loss.class_weights=median_frequency"
        )
    if left > HARDLY:
        causes.append(f"the loss has hardly fallen (to {left:.0%}): {rate} is too low or too high; try ten times each")
        if config.model.name != "unet" and not config.optimizer.encoder_rate:
            causes.append("optimizer.encoder_rate=0: the frozen encoder may lack what tells the classes apart")
    elif left > WELL:
        longer = f"epochs={2 * config.epochs}" + (f" steps={2 * config.steps}" if config.steps else "")
        causes.append(f"the loss is still falling (to {left:.0%}): {longer}, or a higher {rate}")
    else:
        causes.append(
            f"the loss has fallen well (to {left:.0%}), so what is trained is not what is scored: crops "
            f"(image_size={config.image_size}) show other parts than whole images (long_side={config.long_side})"
            + (f", or optimizer.ema={config.optimizer.ema} lags behind" if config.optimizer.ema is not None else "")
        )
    ious = iou_per_class(trained.best_scores.confusion_matrix)
    known = [(iou, name) for iou, name in zip(ious.tolist(), dataset.classes, strict=True) if iou == iou]
    worst = ", ".join(f"{name} {iou:.2f}" for iou, name in sorted(known)[:WORST] if iou < LEARNT)
    if worst:
        causes.append(f"masks that do not fit their images, or indices of other classes; look at those with {worst}")
    causes.append(f"too small a network for these masks: model.width={2 * config.model.width}")
    return causes
