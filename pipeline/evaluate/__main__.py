"""Scores of a tracked run on any dataset: `python -m pipeline.evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config.schema import Config
from pipeline.evaluate.overrides import compose, forbidden, with_data
from pipeline.runtime.cli import output_folder, parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow

if TYPE_CHECKING:
    from pipeline.data.prepare import Dataset
    from pipeline.evaluate.ensemble import Ensemble
    from pipeline.evaluate.evaluator import OnPrediction
    from pipeline.evaluate.metrics import Scores

HELP = """\
Scores the network of a tracked run exactly: by an int64 confusion matrix at the images' own resolution.

  python -m pipeline.evaluate run=<id>                                     on the run's own test split
  python -m pipeline.evaluate run=<id> dataset=folder dataset.root=/my/VOC dataset.splits.test=mine
  python -m pipeline.evaluate run=<id>,<id>,<id>                           the mean of their probabilities

run=…            MLflow's run id, the run's run_key, or a registered model: models:/<name>@<alias>, models:/<name>/3;
                 several with commas between them, if they have the same classes: each scales and views an image as its
                 run did, and the first one's data are scored
split=…          train, val or test (the default)
dataset=…        another dataset, and dataset.*: as for run.py; it must have as many classes as the run, and its images
                 are read as the run's were (dataset.exif, dataset.intensity), unless these keys are given
data_dir=…       where datasets are downloaded or generated
evaluate.batch_size=…   changes speed and memory, but no score
evaluate.flip=…, evaluate.scales=…, evaluate.window=…   other views of each image than the run's, which change scores
output=…         folder for predictions/, overlays/ and evaluation/ (tables and confusion matrix)
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder
"""

OWN_KEYS = ("run", "split", "output", "tracking.uri")


def main(arguments: list[str]) -> int:
    """Score and print the table; returns the exit status 0.

    Raises:
        UserError: arguments, run or data are wrong; nothing was scored.
    """
    parsed = parse(arguments, OWN_KEYS[:1], OWN_KEYS[1:], overrides=True)
    given, overrides = parsed.values, parsed.overrides
    split = given.get("split", "test")
    faults = forbidden(overrides, OWN_KEYS)
    if split not in ("train", "val", "test"):
        faults.append(f"split={split}: train, val or test expected")
    if faults:
        raise UserError(*faults)
    composed = compose(overrides)
    from pipeline.tracking.stored_run import open_runs

    runs = open_runs(given["run"], given.get("tracking.uri"))
    import_tensorflow(runs[0].config().kernels)
    from pipeline.evaluate.ensemble import load_ensemble

    ensemble = load_ensemble(runs)
    configs = [with_data(member.config, composed, overrides) for member in ensemble.members]
    output = output_folder(given["output"]) if "output" in given else None
    if split == "test" and configs[0].dataset.splits.test is None:
        raise UserError("split=test: dataset.splits.test is null; give dataset.splits.test=… or split=val")
    _evaluate(ensemble, configs, split, output)
    return 0


def _evaluate(ensemble: "Ensemble", configs: list[Config], split: str, output: Path | None) -> None:
    """Prepare the data, score the split, print the table and write the files.

    Args:
        configs: of the members, with the data and views asked for.
    """
    from pipeline.data.classes import Classes
    from pipeline.data.prepare import prepare_dataset
    from pipeline.evaluate.boundary import BoundaryCounter
    from pipeline.evaluate.evaluator import every
    from pipeline.evaluate.report import (
        absent_class_notes,
        prediction_writer,
        score_table,
        write_overlays,
        write_scores,
    )
    from pipeline.runtime.console import PreparationDisplay, text_console
    from pipeline.runtime.text import enumerated, plain

    config = configs[0]
    # Class weights come from train; the mean of several networks has no loss.
    weighted = len(configs) == 1 and config.loss.class_weights != "none"
    with PreparationDisplay() as progress:
        dataset = prepare_dataset(config, progress, ["train", split] if weighted else [split], trains=False)
    examples, classes = dataset.splits[split], Classes.of(config.dataset)
    boundaries = BoundaryCounter(len(dataset.classes))
    callbacks: list[OnPrediction] = [boundaries]
    predictions = None if output is None else output / "predictions" / split
    if predictions is not None:
        callbacks.append(prediction_writer(predictions, classes.palette))
    scores = _score(ensemble, configs, dataset, split, every(*callbacks))
    scores.boundary_counts = boundaries.counts
    if output is not None and predictions is not None:
        count = config.evaluate.overlays
        write_overlays(output / "overlays", predictions, examples, classes, scores, count, split)
        write_scores(output / "evaluation", dataset.classes, scores)
    console = text_console()
    console.print(f"{ensemble} on {len(examples)} {split} images of {dataset.root}", soft_wrap=True)
    for warning in dataset.warnings:
        console.print(f"warning: {plain(warning)}", soft_wrap=True)
    hashes = [row[1] for row in dataset.checked.contents[split]]
    seen = [example.id for example, sha256 in zip(examples, hashes, strict=True) if sha256 in ensemble.train_images]
    if seen and split != "train":
        console.print(
            f"warning: {len(seen)} of these images are training images of the run, so their scores say nothing of new "
            f"images: {plain(enumerated(seen))}",
            soft_wrap=True,
        )
    console.print(score_table(dataset.classes, {split: scores}))
    for note in absent_class_notes(dataset.classes, {split: scores}):
        console.print(f"note: {note}", soft_wrap=True)
    if len(configs) > 1:
        console.print(
            "note: runs may have different losses, so the mean of their probabilities has none", soft_wrap=True
        )
    elif config.loss.class_weights != ensemble.config.loss.class_weights:
        console.print("note: the loss is without the run's class weights, which belong to its own training data")
    if output is not None:
        console.print(f"written to {output}: predictions/, overlays/ and evaluation/", soft_wrap=True)


def _score(
    ensemble: "Ensemble", configs: list[Config], dataset: "Dataset", split: str, on_prediction: "OnPrediction"
) -> "Scores":
    """The scores of one network, as in its run, or of the mean of several."""
    from pipeline.data.prepare import class_weights
    from pipeline.evaluate.ensemble import score_ensemble
    from pipeline.evaluate.evaluator import BatchScorer, Evaluator
    from pipeline.model.ensemble import ensemble_predictor
    from pipeline.model.losses import SegmentationLoss

    networks = [member.network for member in ensemble.members]
    if len(networks) > 1:
        predict = ensemble_predictor(list(zip(networks, configs, strict=True)))
        return score_ensemble(predict, dataset.splits[split], len(dataset.classes), on_prediction)
    (network,), (config,) = networks, configs
    loss = SegmentationLoss(config.loss, class_weights(config.loss, dataset))
    scorer = BatchScorer(network, loss, config)
    evaluate = Evaluator(scorer, dataset.splits[split], dataset.sizes(split), config)
    return evaluate(on_prediction)


if __name__ == "__main__":
    run_tool(main, HELP)
