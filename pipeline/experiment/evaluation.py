"""The test split is evaluated: once, after training, with the weights that were best on the validation split."""

from pipeline.config.schema import Config
from pipeline.data.changes import require_unchanged
from pipeline.data.classes import Classes
from pipeline.data.prepare import Dataset
from pipeline.evaluate.boundary import BoundaryCounter
from pipeline.evaluate.evaluator import BatchScorer, Evaluator, every
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import fixed_choice, prediction_writer, write_overlays, write_scores
from pipeline.experiment.image_log import ImageLog
from pipeline.tracking.tracked_run import TrackedRun


def evaluate_test_split(run: TrackedRun, scorer: BatchScorer, dataset: Dataset, config: Config, epoch: int) -> Scores:
    """Score the test split, and log its predicted masks, overlays, images and tables.

    Args:
        epoch: that the network's weights are of.

    Raises:
        RunFailed: files of the split were changed since the run began.
    """
    require_unchanged(dataset, ["test"])
    examples, classes = dataset.splits["test"], Classes.of(config.dataset)
    predictions, overlays, tables = (run.folder / name for name in ("predictions/test", "overlays", "evaluation"))
    evaluate = Evaluator(scorer, examples, dataset.sizes("test"), config)
    boundaries = BoundaryCounter(len(dataset.classes))
    images = ImageLog(run, config, "test", fixed_choice(examples, config.evaluate.overlays))
    collected = images.collecting(epoch, prediction_writer(predictions, classes.palette))
    scores = evaluate(every(boundaries, collected))
    scores.boundary_counts = boundaries.counts
    write_overlays(overlays, predictions, examples, classes, scores, config.evaluate.overlays, "test")
    write_scores(tables, dataset.classes, scores)
    run.move_artifacts(predictions, "predictions/test")
    run.move_artifacts(overlays, "overlays")
    images.log(epoch)
    run.move_artifacts(tables, "evaluation")
    return scores
