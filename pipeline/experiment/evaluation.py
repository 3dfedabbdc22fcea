"""The test split is evaluated: once, after training, with the weights that were best on the validation split."""

from pipeline.config.schema import Config
from pipeline.data.changes import require_unchanged
from pipeline.data.classes import Classes
from pipeline.data.prepare import Dataset
from pipeline.evaluate.boundary import BoundaryCounter
from pipeline.evaluate.evaluator import BatchScorer, Evaluator, every
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import prediction_writer, write_overlays, write_scores
from pipeline.tracking.tracked_run import TrackedRun


def evaluate_test_split(run: TrackedRun, scorer: BatchScorer, dataset: Dataset, config: Config) -> Scores:
    """Score the test split, and log its predicted masks, overlays and tables as artifacts.

    Raises:
        RunFailed: files of the split were changed since the run began.
    """
    require_unchanged(dataset, ["test"])
    examples, classes = dataset.splits["test"], Classes.of(config.dataset)
    predictions, overlays, tables = (run.folder / name for name in ("predictions/test", "overlays", "evaluation"))
    evaluate = Evaluator(scorer, examples, dataset.sizes("test"), config)
    boundaries = BoundaryCounter(len(dataset.classes))
    scores = evaluate(every(boundaries, prediction_writer(predictions, classes.palette)))
    scores.boundary_counts = boundaries.counts
    write_overlays(overlays, predictions, examples, classes, scores, config.evaluate.overlays, "test")
    write_scores(tables, dataset.classes, scores)
    run.move_artifacts(predictions, "predictions/test")
    run.move_artifacts(overlays, "overlays")
    run.move_artifacts(tables, "evaluation")
    return scores
