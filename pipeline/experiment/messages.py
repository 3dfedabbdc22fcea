"""What a run tells a person when it begins, goes on and ends."""

import keras

from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.model.build import InitialWeights
from pipeline.runtime.console import duration
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import TrainingState
from pipeline.train.epochs import Trained


def opening(
    config: Config,
    dataset: Dataset,
    network: keras.Model,
    initial: InitialWeights | None,
    run: TrackedRun,
    answers: bool,
) -> str:
    """The lines before training: data, network, start, run, and what a person should know of them.

    Args:
        answers: whether the tracking server does.
    """
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    # A balanced epoch draws some images twice, so others are left out in any case.
    left_over = len(dataset.splits["train"]) % config.batch_size if config.sampling == "uniform" else 0
    where = f"in experiment '{config.tracking.experiment}'" if answers else "in its journal until MLflow answers"
    lines = [
        f"data      {config.dataset.name}: {counts} images, {len(dataset.classes)} classes, in {dataset.root}",
        f"network   {config.model.name}, depth {config.model.depth}, width {config.model.width}: "
        f"{network.count_params():,} parameters, {config.precision}, {config.threads} threads",
        f"run       {run.name} {where}",
    ]
    if initial is not None:
        lines.insert(2, f"start     {initial.source}, SHA-256 {initial.sha256[:12]}…")
        lines += [f"note      {initial.note}"] if initial.note else []
    if left_over:
        lines.append(
            f"note      batch_size={config.batch_size}: each epoch leaves out {left_over} other training images"
        )
    if dataset.absent_classes:
        absent = ", ".join(dataset.absent_classes)
        lines.append(f"warning   no training mask contains: {absent}; nothing can be learnt of them")
    return "\n".join(lines)


def closing(run: TrackedRun, trained: Trained, seconds: float) -> str:
    """The lines after evaluation: the best epoch, and where the run is opened."""
    lines = [
        f"best epoch {trained.best_epoch}, val mIoU {trained.best_scores.mean_iou:.4f}, {duration(seconds)} in all",
        f"run {run.name}",
    ]
    if run.store is not None:
        command = run.store.open_command()
        lines += [f"open it:  {command}"] if command else []
        lines.append(f"{'then:     ' if command else 'open it:  '}{run.store.address(run.name)}")
    return "\n".join(lines)


def goes_on_with(state: TrainingState, config: Config) -> str:
    """What is next for a run that a checkpoint is there of."""
    done, epoch = state.step - state.epoch * state.steps_per_epoch, state.epoch + 1
    if state.is_over(config):
        return "every epoch is trained: goes on with what follows"
    if done == state.steps_per_epoch:
        return f"goes on with the validation of epoch {epoch}"
    return f"goes on with epoch {epoch}" + (f", after its step {done} of {state.steps_per_epoch}" if done else "")
