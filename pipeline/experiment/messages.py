"""What a run prints when it begins, resumes and ends."""

import psutil

from pipeline.config.environment import RUN_ID, experiment_name, variable
from pipeline.config.schema import Config, TrackingConfig
from pipeline.data.prepare import Dataset
from pipeline.data.room import Room
from pipeline.data.stream import total_steps
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import absent_class_notes, score_table
from pipeline.experiment.resume import Finished
from pipeline.experiment.trial import Result
from pipeline.model.build import InitialWeights
from pipeline.runtime.console import duration, text_console
from pipeline.runtime.text import plain
from pipeline.tracking.store import described
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint_state import TrainingState
from pipeline.train.cost import TrainingCost
from pipeline.train.ending import ended_by
from pipeline.train.optimizers import weight_of_first_update
from pipeline.train.setup import TrainingResult

LARGE_WEIGHT = 0.1  # of the first update in a moving average of the weights


def print_note(text: str) -> None:
    """Something that a person should know."""
    _print(f"note      {text}")


def print_tracking(tracking: TrackingConfig, resumed: bool) -> None:
    """Where the command's runs are stored, and why there."""
    _print(f"tracking  {described(tracking, resumed)}")
    if variable(RUN_ID) is not None:
        print_note(f"{RUN_ID} is not used: every run is a new one, and resume=<run id> continues one")


def print_opening(
    config: Config,
    dataset: Dataset,
    initial: InitialWeights | None,
    run: TrackedRun,
    reachable: bool,
    room: Room,
    cost: TrainingCost,
) -> None:
    """The lines before training: data, network, initial weights, run, and what a person should know of them.

    Args:
        reachable: whether the tracking server answers.
        room: for decoded training images.
        cost: of training.
    """
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    if config.dataset.folds is not None:
        counts = counts.replace(" val", f" val (fold {config.dataset.fold})")
    # A balanced epoch draws some images twice, so others are left out in any case; with steps, a batch continues with
    # the next pass.
    uniform = config.sampling == "uniform" and config.steps is None
    left_out = len(dataset.splits["train"]) % config.batch_size if uniform else 0
    place = (
        f"in experiment '{experiment_name(config.tracking)}'" if reachable else "in its journal until MLflow answers"
    )
    classes = f"{len(dataset.classes)} classes" + (", no background" if config.dataset.background is None else "")
    _print(f"data      {config.dataset.name}: {counts} images, {classes}, in {dataset.root}; {room}")
    _print(
        f"network   {config.model.name}, depth {config.model.depth}, width {config.model.width}: "
        f"{config.precision}, {config.threads} threads"
    )
    _print(f"takes     {_taken(config, dataset, room, cost)}")
    if initial is not None:
        _print(f"start     {initial.source}, SHA-256 {initial.sha256[:12]}…")
    _print(f"run       {run.name} {place}")
    if initial is not None and initial.note:
        print_note(initial.note)
    if config.dataset.folds is not None and (unused := config.dataset.splits.val) is not None:
        print_note(f"dataset.folds={config.dataset.folds}: val is a fold of train; the list {unused} is not used")
    first = weight_of_first_update(config.optimizer, total_steps(len(dataset.splits["train"]), config))
    if first > LARGE_WEIGHT:
        print_note(
            f"optimizer.ema={config.optimizer.ema}: {first:.0%} of the averaged weights will be those after the first "
            "update, so scores will be low; a lower number, or a longer run, expected"
        )
    if config.dataset.limit is not None:
        print_note(f"dataset.limit={config.dataset.limit}: a quick look at a part of each split")
    if left_out:
        print_note(
            f"batch_size={config.batch_size}: each epoch leaves out {left_out} of the training images, "
            "which do not fill a batch; which ones differs from epoch to epoch"
        )
    if dataset.absent_classes:
        absent = ", ".join(dataset.absent_classes)
        _print(f"warning   no training mask contains: {absent}; the network cannot learn them")
    for warning in dataset.warnings:
        _print(f"warning   {plain(warning)}")


def _taken(config: Config, dataset: Dataset, room: Room, cost: TrainingCost) -> str:
    """What training takes; the memory is that of the whole process."""
    train = len(dataset.splits["train"])
    steps = total_steps(train, config)
    passes = steps * config.batch_size / train
    average = " on average" if config.sampling == "balanced" or passes < 1 else ""
    images = room.needed if room.in_memory else 0
    memory = psutil.Process().memory_info().rss + images + cost.memory(config.batch_size)
    return (
        f"{cost.parameters:,} parameters, {cost.flop_per_image / 1e9:.3g} GFLOP a training image, "
        f"about {memory / 2**30:.1f} GB of memory, {steps:,} step{'s' * (steps != 1)}"
        + (
            f" in {config.epochs} epochs, which see each training image {passes:.3g} times{average}"
            if config.steps
            else ""
        )
    )


def print_differences(differences: list[str]) -> None:
    """How this run is made differently from the one that it repeats or continues."""
    for difference in differences:
        _print(f"differs   {difference}")


def print_resumption(
    state: TrainingState | None, damaged: list[str], config: Config, last_epoch: int | None = None
) -> None:
    """Where training continues.

    Args:
        state: of the checkpoint that training resumes from; None: there is no complete one.
        damaged: a message for each damaged checkpoint.
        last_epoch: of a rerun, after which the original ended.
    """
    for message in damaged:
        print_note(message)
    if state is not None:
        print_note(_continuation(state, config, last_epoch))
    elif damaged:
        print_note("no checkpoint is complete: training starts over")


def print_undecoded(config: Config) -> None:
    """There was no room for decoded training images."""
    print_note(f"no room for decoded training images in {config.data_dir}: each is decoded again in every epoch")


def print_finished(run: Finished) -> None:
    """There was nothing to do."""
    _print(f"run {plain(run.name)} is FINISHED, best val mIoU {run.score:.4f}: nothing is left to train")


def print_pruned(result: Result) -> None:
    """The trial ended early."""
    _print(f"pruned: best val mIoU so far {result.score:.4f}\nrun {result.name}")


def print_results(
    run: TrackedRun, dataset: Dataset, trained: TrainingResult, scores: dict[str, Scores], seconds: float
) -> None:
    """The scores, the best epoch, and where the run can be looked at."""
    text_console().print(score_table(dataset.classes, scores))
    for note in absent_class_notes(dataset.classes, scores):
        print_note(note)
    _print(f"best epoch {trained.best_epoch}, val mIoU {trained.best_scores.mean_iou:.4f}, {duration(seconds)} in all")
    if trained.ended_by == "max_minutes":
        print_note(f"the time was up: resume={run.name} max_minutes=<more, or null> trains on, as a new run")
    _print(f"run {run.name}")
    if run.store is not None:
        command = run.store.open_command()
        if command:
            _print(f"open it:  {command}")
        _print(f"{'then:     ' if command else 'open it:  '}{run.store.address(run.name)}")


def print_verdict(text: str) -> None:
    """Whether the run repeated its original, or learnt a few images by heart."""
    _print(text)


def _continuation(state: TrainingState, config: Config, last_epoch: int | None) -> str:
    done, epoch = state.steps_into_epoch, state.epoch + 1
    if (key := ended_by(state, config, last_epoch)) is not None:
        ended = "all epochs are trained" if key == "epochs" else f"{key} has ended training"
        return f"{ended}; continuing with the evaluation"
    if done == state.steps_per_epoch:
        return f"continuing with the validation of epoch {epoch}"
    return f"continuing with epoch {epoch}" + (f" after step {done} of {state.steps_per_epoch}" if done else "")


def _print(text: str) -> None:
    text_console().print(text, soft_wrap=True)
