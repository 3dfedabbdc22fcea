"""One run from beginning to end: data, network, training, evaluation, tracking.

Imported when TensorFlow is up (`pipeline.hardware.import_tensorflow`).
"""

import shutil
import time

import keras
import numpy as np

from pipeline.checkpoint import set_weights
from pipeline.config import Config
from pipeline.data.decode import decode_image
from pipeline.data.prepare import Dataset, class_weights, prepare_dataset
from pipeline.data.stream import steps_per_epoch, training_pictures, training_stream
from pipeline.display import PreparationDisplay, duration, score_table, text_console
from pipeline.fingerprint import fingerprint
from pipeline.hardware import resolve_auto, set_up, strategy
from pipeline.model.losses import SegmentationLoss
from pipeline.model.metrics import Scores
from pipeline.network import build_network
from pipeline.report import fixed_choice, prediction_writer, write_overlays, write_scores
from pipeline.scoring import Evaluator
from pipeline.tracking.inputs import log_inputs, run_name
from pipeline.tracking.model import log_model
from pipeline.tracking.record import TrackedRun
from pipeline.tracking.store import open_store
from pipeline.tracking.summary import describe_run, log_scores
from pipeline.train import Trained, train


def run_experiment(config: Config, overrides: list[str], hydra_yaml: str) -> float:
    """Train, evaluate and track what a checked configuration describes.

    Args:
        overrides: what was typed; it is kept with the run, as is Hydra's own configuration.

    Returns:
        The best validation mean IoU.

    Raises:
        UserError: faults of the data or of the tracking address; nothing was trained.
        RunFailed: training could not go on.
    """
    started = time.perf_counter()
    console = text_console()
    config = resolve_auto(config)
    set_up(config)
    store = open_store(config.tracking)  # first, since data may take long: a wrong address fails at once
    with PreparationDisplay() as progress:
        dataset = prepare_dataset(config, progress)
    with TrackedRun(store, run_name(config), {"fingerprint": fingerprint(config, dataset.checked.digest)}) as run:
        stored_config = log_inputs(run, config, dataset, overrides, hydra_yaml)
        with strategy().scope():
            network = build_network(config)
        loss = SegmentationLoss(config.loss, class_weights(config.loss, dataset))
        console.print(_opening(config, dataset, network, run), soft_wrap=True)

        trained = _train(run, network, loss, dataset, config)
        set_weights(network, trained.best_weights, "checkpoints/best")
        scores = {"val": trained.best_scores}
        if "test" in dataset.splits:
            scores["test"] = _test(run, network, loss, dataset, config)

        log_scores(run, config, dataset, trained, scores)
        photograph = decode_image(str(dataset.splits["val"][0].image)).numpy()
        weights = run.folder / "checkpoints" / "best" / "weights.npz"
        log_model(stored_config, weights, trained.best_weights_sha256, photograph[np.newaxis])
        run.files(run.folder / "checkpoints", "checkpoints")
        seconds = time.perf_counter() - started
        run.metrics({"time/total_seconds": seconds}, step=trained.best_epoch)
        describe_run(run, config, dataset, trained, scores, seconds)
    console.print(score_table(dataset.classes, scores))
    console.print(_closing(run, trained, seconds), soft_wrap=True)
    return trained.best_scores.mean_iou


def _train(
    run: TrackedRun,
    network: keras.Model,
    loss: SegmentationLoss,
    dataset: Dataset,
    config: Config,
) -> Trained:
    examples, sizes = dataset.splits["train"], dataset.checked.facts["train"].sizes
    with PreparationDisplay() as progress:
        pictures = training_pictures(examples, sizes, config.long_side, config.cache_mb, progress)
    validation = dataset.splits["val"]
    validate = Evaluator(network, loss, validation, dataset.checked.facts["val"].sizes, config)
    watched = fixed_choice(validation, config.evaluate.val_predictions)

    def on_epoch(epoch: int, metrics: dict[str, float]) -> None:
        started = time.perf_counter()
        predictions = run.folder / "predictions" / "val" / str(epoch)
        if watched:
            run.files(predictions, f"predictions/val/{epoch}")
            shutil.rmtree(predictions)
        run.metrics(metrics, step=epoch)
        # A request of its own, since it tells how long the others took.
        run.metrics({"time/tracking_seconds": time.perf_counter() - started}, step=epoch)

    return train(
        network,
        loss,
        training_stream(pictures, len(examples), config),
        steps_per_epoch(len(examples), config.batch_size),
        validate,
        config,
        run.folder / "checkpoints",
        on_epoch,
        lambda epoch: prediction_writer(run.folder / "predictions" / "val" / str(epoch), watched),
    )


def _test(run: TrackedRun, network: keras.Model, loss: SegmentationLoss, dataset: Dataset, config: Config) -> Scores:
    """Score the test split, once, and keep its predictions, overlays and tables."""
    examples = dataset.splits["test"]
    predictions = run.folder / "predictions" / "test"
    evaluate = Evaluator(network, loss, examples, dataset.checked.facts["test"].sizes, config)
    scores = evaluate(prediction_writer(predictions))
    write_overlays(
        run.folder / "overlays", predictions, examples, dataset.classes, scores, config.evaluate.overlays, "test"
    )
    write_scores(run.folder / "evaluation", dataset.classes, scores)
    for place in ("predictions", "overlays", "evaluation"):
        run.files(run.folder / place, place)
        shutil.rmtree(run.folder / place)  # the artifacts are kept by MLflow now
    return scores


def _opening(config: Config, dataset: Dataset, network: keras.Model, run: TrackedRun) -> str:
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    left_over = len(dataset.splits["train"]) % config.batch_size
    lines = [
        f"data      {config.dataset.name}: {counts} pictures, {len(dataset.classes)} classes, in {dataset.root}",
        f"network   {config.model.name}, depth {config.model.depth}, width {config.model.width}: "
        f"{network.count_params():,} parameters, {config.precision}, {config.threads} threads",
        f"run       {run.id} in experiment '{config.tracking.experiment}'",
    ]
    if left_over:
        lines.append(
            f"note      batch_size={config.batch_size}: each epoch leaves out {left_over} other training pictures"
        )
    if dataset.absent_classes:
        absent = ", ".join(dataset.absent_classes)
        lines.append(f"warning   no training mask contains: {absent}; nothing can be learnt of them")
    return "\n".join(lines)


def _closing(run: TrackedRun, trained: Trained, seconds: float) -> str:
    command = run.store.open_command()
    lines = [
        f"best epoch {trained.best_epoch}, val mIoU {trained.best_scores.mean_iou:.4f}, {duration(seconds)} in all",
        f"run {run.id}",
        *([f"open it:  {command}"] if command else []),
        f"{'then:     ' if command else 'open it:  '}{run.store.address(run.id)}",
    ]
    return "\n".join(lines)
