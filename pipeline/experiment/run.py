"""One run from beginning to end: data, network, training, evaluation, tracking.

Imported when TensorFlow is up (`pipeline.runtime.hardware.import_tensorflow`).
"""

import time
from pathlib import Path

import keras
import numpy as np

from pipeline.config.schema import Config
from pipeline.data.cache import DataCache
from pipeline.data.decode import decode_image
from pipeline.data.prepare import Dataset, class_weights
from pipeline.data.sampling import repeat_factors
from pipeline.data.stream import steps_per_epoch, training_stream
from pipeline.data.training_images import FileImages
from pipeline.data.voc import Example
from pipeline.evaluate.evaluator import Evaluator, OnPrediction
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import fixed_choice, prediction_writer, score_table, write_overlays, write_scores
from pipeline.experiment.initial_weights import find_initial, keep_initial
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.log import describe_run, log_inputs, log_scores
from pipeline.experiment.messages import closing, goes_on_with, opening
from pipeline.experiment.rerun import changed_keys, compare
from pipeline.experiment.resume import Finished
from pipeline.experiment.start import begin_or_continue
from pipeline.experiment.trial import ALONE, Pruned, Result, Trial
from pipeline.model.build import InitialWeights, build_network
from pipeline.model.losses import SegmentationLoss
from pipeline.model.weights import set_weights
from pipeline.runtime.console import PreparationDisplay, text_console
from pipeline.runtime.errors import RerunDiffers
from pipeline.runtime.hardware import resolve_auto, set_up, strategy
from pipeline.runtime.text import plain
from pipeline.tracking.journal import last_values
from pipeline.tracking.local_runs import mark_leftovers
from pipeline.tracking.pyfunc import save_model
from pipeline.tracking.store import open_if_it_answers
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_start
from pipeline.train.epochs import Trained
from pipeline.train.fit import train

NEW = Lineage()


def run_experiment(
    config: Config,
    overrides: list[str],
    hydra_yaml: str,
    origin: Lineage = NEW,
    trial: Trial = ALONE,
    kept: DataCache | None = None,
) -> Result:
    """Train, evaluate and track what a checked configuration describes.

    Args:
        overrides: what was typed; it is kept with the run, as is Hydra's own configuration.
        origin: the run that this one repeats or continues.
        trial: what the run is in a sweep.
        kept: the data of earlier runs in this process.

    Returns:
        The best validation mean IoU, and what else was measured.

    Raises:
        UserError: faults of the data, of the tracking address or of the run to continue; nothing was trained.
        RunFailed: training could not go on.
        RerunDiffers: the results are not the original's, and `origin.strict` asks for them.
    """
    started = time.perf_counter()
    console, kept = text_console(), kept or DataCache()
    config = resolve_auto(config)
    set_up(config)
    devices = strategy(config)
    store = open_if_it_answers(config.tracking)  # first, since data may take long: a wrong address fails at once
    for id in mark_leftovers(config.tracking, store):
        console.print(
            f"note      run {id} was left by a dead process: KILLED now; resume={id} continues it", soft_wrap=True
        )
    initial, initial_sha256 = _initial(config, origin)
    with PreparationDisplay() as progress:
        dataset = kept.dataset(config, progress)
    with devices.scope():
        network = build_network(config, initial)
    run = begin_or_continue(config, overrides, dataset, initial_sha256, store, origin, trial)
    if isinstance(run, Finished):
        text = f"run {plain(run.name)} is FINISHED, best val mIoU {run.score:.4f}: nothing is left to train"
        console.print(text, soft_wrap=True)
        return Result(run.name, run.score, run.metrics)
    with run:
        trial.began(run.key, run.journal.history().get("val/mean_iou", {}))
        loss = SegmentationLoss(config.loss, class_weights(config.loss, dataset))
        console.print(opening(config, dataset, network, initial, run, store is not None), soft_wrap=True)
        differences = log_inputs(run, config, dataset, hydra_yaml, origin.rerun.made_with if origin.rerun else None)
        if origin.rerun is not None:
            differences = changed_keys(origin.rerun.config, config) + differences
            if origin.rerun.initial_sha256 != initial_sha256:
                differences.insert(0, f"initial weights: {plain(str(origin.rerun.initial_sha256))} -> {initial_sha256}")
        for difference in differences:
            console.print(f"differs   {difference}", soft_wrap=True)

        if initial is not None:
            keep_initial(run, config, initial)
        run.log_metrics({"model/parameters": network.count_params()}, step=0)
        try:
            trained = _train(run, network, loss, dataset, config, trial, kept)
        except Pruned:
            return _pruned(run)
        set_weights(network, trained.best_weights, str(trained.best))
        scores = {"val": trained.best_scores}
        if "test" in dataset.splits:
            scores["test"] = _test(run, network, loss, dataset, config)

        _keep(run, config, dataset, trained, scores)
        seconds = trained.earlier_seconds + time.perf_counter() - started
        run.log_metrics({"time/total_seconds": seconds}, step=trained.best_epoch)
        describe_run(run, config, dataset, trained, scores, seconds)
        verdict = None
        if origin.rerun is not None:
            verdict = compare(origin.rerun, run.journal.history(), trained.best_weights_sha256, differences)
            run.set_tags({"rerun_verdict": verdict.text})
    console.print(score_table(dataset.classes, scores))
    console.print(closing(run, trained, seconds), soft_wrap=True)
    if verdict is not None and origin.rerun is not None:
        console.print(f"rerun of {origin.rerun.run_id}: {verdict.text}", soft_wrap=True)
        if origin.strict and not verdict.identical:
            raise RerunDiffers(f"rerun={origin.rerun.run_id}: {verdict.text.splitlines()[0]}")
    return Result(run.name, trained.best_scores.mean_iou, last_values(run.journal.history()))


def _initial(config: Config, origin: Lineage) -> tuple[InitialWeights | None, str | None]:
    """What the network starts from in the place of random weights, and its hash.

    A run that goes on from a checkpoint has all its weights there; the others need not be had any more.
    """
    elsewhere = config.init_from is not None or config.model.encoder_weights is not None
    if elsewhere and origin.resume is not None and newest_start(origin.resume.folder / "checkpoints")[0] is not None:
        return None, origin.resume.initial_sha256
    initial = find_initial(config, origin.rerun)
    return initial, initial.sha256 if initial else None


def _pruned(run: TrackedRun) -> Result:
    """The end of a trial that its sweep gave up: it has no best weights, and the test split is not looked at."""
    run.set_tags({"pruned": "true"})
    best = max(run.journal.history()["val/mean_iou"].values())
    text_console().print(f"pruned: best val mIoU so far {best:.4f}\nrun {run.name}", soft_wrap=True)
    return Result(run.name, best, last_values(run.journal.history()), pruned=True)


class _Watcher:
    """Logs what training tells."""

    def __init__(self, run: TrackedRun, config: Config, validation: list[Example], trial: Trial) -> None:
        self._run, self._upload = run, config.checkpoint.upload
        self._trial, self._epochs, self._prune = trial, config.epochs, False
        self._watched = fixed_choice(validation, config.evaluate.val_predictions)

    def predictions(self, epoch: int) -> OnPrediction:
        """See `pipeline.train.epochs.Watcher`."""
        return prediction_writer(self._folder(epoch), self._watched)

    def epoch(self, epoch: int, metrics: dict[str, float]) -> None:
        """See `pipeline.train.epochs.Watcher`."""
        started = time.perf_counter()
        if self._watched:
            self._run.move_artifacts(self._folder(epoch), f"predictions/val/{epoch}")
        self._run.log_metrics(metrics, step=epoch)
        # A record of its own, since it tells how long the others took.
        self._run.log_metrics({"time/tracking_seconds": time.perf_counter() - started}, step=epoch)
        # Nothing is saved by pruning a trial after its last epoch.
        self._prune = self._trial.prune(epoch, metrics["val/mean_iou"]) and epoch < self._epochs

    def saved(self, last: Path, best: Path) -> None:
        """See `pipeline.train.epochs.Watcher`."""
        if self._upload == "epoch":
            self._run.log_artifacts(best, "checkpoints/best")
            self._run.log_artifacts(last, "checkpoints/last")
        if self._prune:
            raise Pruned

    def _folder(self, epoch: int) -> Path:
        return self._run.folder / "predictions" / "val" / str(epoch)


def _train(
    run: TrackedRun,
    network: keras.Model,
    loss: SegmentationLoss,
    dataset: Dataset,
    config: Config,
    trial: Trial,
    kept: DataCache,
) -> Trained:
    """Train from the newest checkpoint in the run's folder, or from the beginning."""
    start, notes = newest_start(run.folder / "checkpoints")
    if start is not None:
        score = run.journal.history().get("val/mean_iou", {}).get(start.state.epoch)
        if score is not None and start.state.epoch < config.epochs and trial.prune(start.state.epoch, score):
            raise Pruned  # as was decided, and this process's forerunner died before it was written down
        notes.append(goes_on_with(start.state, config))
    elif notes:
        notes.append("no checkpoint is whole: training begins again")
    for note in notes:
        text_console().print(f"note      {note}", soft_wrap=True)
    examples = dataset.splits["train"]
    factors = None
    if config.sampling == "balanced":
        factors = repeat_factors(dataset.class_pixels("train"))
    with PreparationDisplay() as progress:
        images = kept.images(config, dataset, progress)
    if config.cache_mb and isinstance(images, FileImages):
        text = f"note      training images are decoded each time: too little room for them in {config.data_dir}"
        text_console().print(text, soft_wrap=True)
    return train(
        network,
        loss,
        lambda step: training_stream(images, len(examples), config, step, factors),
        steps_per_epoch(len(examples), config.batch_size),
        Evaluator(network, loss, dataset.splits["val"], dataset.sizes("val"), config),
        config,
        run.folder / "checkpoints",
        _Watcher(run, config, dataset.splits["val"], trial),
        start,
    )


def _test(run: TrackedRun, network: keras.Model, loss: SegmentationLoss, dataset: Dataset, config: Config) -> Scores:
    """Score the test split, once, and keep its predictions, overlays and tables."""
    examples = dataset.splits["test"]
    predictions = run.folder / "predictions" / "test"
    evaluate = Evaluator(network, loss, examples, dataset.sizes("test"), config)
    scores = evaluate(prediction_writer(predictions))
    write_overlays(
        run.folder / "overlays", predictions, examples, dataset.classes, scores, config.evaluate.overlays, "test"
    )
    write_scores(run.folder / "evaluation", dataset.classes, scores)
    for place in ("predictions/test", "overlays", "evaluation"):
        run.move_artifacts(run.folder / place, place)
    return scores


def _keep(run: TrackedRun, config: Config, dataset: Dataset, trained: Trained, scores: dict[str, Scores]) -> None:
    """Log the scores, the model and the checkpoints."""
    log_scores(run, config, dataset, trained, scores)
    # A corner of it: MLflow writes the example out as text, twice.
    photograph = decode_image(str(dataset.splits["val"][0].image)).numpy()[:64, :64]
    stored_config = run.journal.records[0]["config"]
    weights = trained.best / "weights.npz"
    save_model(run.folder / "model", stored_config, weights, trained.best_weights_sha256, photograph[np.newaxis])
    run.move_model(run.folder / "model")
    run.log_artifacts(trained.best, "checkpoints/best")
    if config.checkpoint.upload != "best":
        run.log_artifacts(trained.last, "checkpoints/last")
