"""The network of a run is trained: from the newest checkpoint in the run's folder, or from its initial weights."""

from pipeline.config.schema import Config
from pipeline.data.cache import DataCache
from pipeline.data.changes import require_unchanged
from pipeline.data.crops import first_crops
from pipeline.data.prepare import Dataset
from pipeline.data.training_images import FileImages, TrainingImages
from pipeline.evaluate.crop_sheet import crop_sheet
from pipeline.evaluate.overlay import write_png
from pipeline.experiment.epoch_logger import EpochLogger
from pipeline.experiment.messages import print_resumption, print_undecoded
from pipeline.experiment.start import last_epoch_of
from pipeline.experiment.trial import Trial
from pipeline.runtime.console import PreparationDisplay
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point
from pipeline.train.checkpoint_state import TrainingState
from pipeline.train.compiled import CompiledNetwork
from pipeline.train.fit import fit
from pipeline.train.setup import TrainingResult, training_batches, training_setup


def train_network(
    run: TrackedRun,
    network: CompiledNetwork,
    dataset: Dataset,
    config: Config,
    trial: Trial,
    cache: DataCache,
) -> TrainingResult | None:
    """Train a network, which ends with the weights of its best epoch. Returns None for a trial that was pruned."""
    checkpoints = run.folder / "checkpoints"
    start, damaged = newest_resume_point(checkpoints)
    if start is not None and _was_pruned(run, trial, start.state, config):
        return None
    last_epoch = last_epoch_of(run)
    print_resumption(start.state if start is not None else None, damaged, config, last_epoch)
    with PreparationDisplay() as progress:
        images = cache.images(config, dataset, progress)
    if cache.room(config, dataset).bound_mb and isinstance(images, FileImages):
        print_undecoded(config)
    if start is None:
        _log_crops(run, images, dataset, config)
    observer = EpochLogger(run, config, dataset.splits["val"], trial)
    result = fit(training_setup(network, dataset, images, config, checkpoints, observer, last_epoch), start)
    if result.stopped:
        return None
    require_unchanged(dataset, ["train", "val"] if isinstance(images, FileImages) else ["val"])
    return result


def _log_crops(run: TrackedRun, images: TrainingImages, dataset: Dataset, config: Config) -> None:
    """Log a sheet of the first training crops, as `python -m pipeline.look` draws it."""
    folder, crops = run.folder / "data", first_crops(training_batches(0, images, dataset, config), len(dataset.classes))
    write_png(folder / "crops.png", crop_sheet(crops, dataset, config))
    run.move_artifacts(folder, "data")


def _was_pruned(run: TrackedRun, trial: Trial, state: TrainingState, config: Config) -> bool:
    """Whether the trial was to end with the last closed epoch, and its process died before it recorded that."""
    score = run.journal.history().get("val/mean_iou", {}).get(state.epoch)
    return score is not None and state.epoch < config.epochs and trial.should_prune(state.epoch, score)
