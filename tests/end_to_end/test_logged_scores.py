"""The scores of a run as MLflow has them: of its model, in tables, recomputed from masks, and next to images."""

import csv

import numpy as np
import pytest
from PIL import Image

from pipeline.tracking.journal import read_journal
from tests.end_to_end.commands import CLASSES, Finished


def test_images_have_keys_and_steps_as_log_image_names_them(finished: Finished) -> None:
    best = int(finished.run.data.metrics["best/epoch"])
    steps = {f"val~val_{index}": [1, 2] for index in range(2)} | {f"test~test_{index}": [best] for index in range(3)}
    found: dict[str, list[int]] = {}
    times = {record.time for record in read_journal(finished.cwd / "mlruns/runs" / finished.run.data.tags["run_key"])}
    for path in sorted(finished.artifact("images").glob("*.webp")):
        name = path.name.removesuffix(".webp")
        key, named_step, step, timed, time, *rest = name.split("+")
        assert (named_step, timed) == ("step", "timestamp") and int(time) in times
        if rest[1:] != ["compressed"]:
            found.setdefault(key, []).append(int(step))
            assert path.with_name(f"{name}+compressed.webp").is_file()
            with Image.open(path) as image:
                assert image.format == "WEBP" and 400 < max(image.size) < 700
    assert found == steps and finished.run.data.tags["mlflow.loggedImages"] == "True"


def test_models_are_ranked_by_the_scores_of_each_split(finished: Finished) -> None:
    """MLflow knows which data each score is of, and which epoch the model."""
    (model,) = finished.client.search_logged_models(
        [finished.run.info.experiment_id],
        order_by=[{"field_name": "metrics.test/mean_iou", "ascending": False, "dataset_name": "folder-test"}],
    )
    best = int(finished.run.data.metrics["best/epoch"])
    assert [(output.model_id, output.step) for output in finished.run.outputs.model_outputs] == [(model.model_id, best)]
    inputs = {item.tags[0].value: item.dataset for item in finished.run.inputs.dataset_inputs}
    scores = {metric.key: metric for metric in model.metrics}
    for name in ("val/mean_iou", "val/loss", "best/val_mean_iou", "test/mean_iou", "test/iou/background"):
        split = "test" if name.startswith("test/") else "val"
        logged = [metric for metric in finished.client.get_metric_history(finished.id, name) if metric.step == best]
        assert [(metric.value, metric.timestamp) for metric in logged] == [(scores[name].value, scores[name].timestamp)]
        assert (scores[name].dataset_name, scores[name].dataset_digest) == (f"folder-{split}", inputs[split].digest)
    assert not [name for name in scores if name.startswith(("train/", "time/", "system/", "learning_rate"))]


def test_the_tables_agree_with_the_metrics(finished: Finished) -> None:
    with finished.artifact("evaluation/confusion_matrix.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header[1:] == CLASSES == [row[0] for row in rows]
    counts = np.array([[int(cell) for cell in row[1:]] for row in rows])
    accuracy = finished.run.data.metrics["test/pixel_accuracy"]
    assert np.trace(counts) / counts.sum() == pytest.approx(accuracy, abs=1e-12)
    with finished.artifact("evaluation/per_class.csv").open(encoding="utf-8") as file:
        table = {row["class"]: row for row in csv.DictReader(file)}
    names = {
        "mean_dice": "dice",
        "mean_precision": "precision",
        "mean_recall": "recall",
        "boundary_iou": "boundary_iou",
    }
    for metric, column in names.items():
        scores = [float(row[column]) for row in table.values() if row[column]]
        assert np.mean(scores) == pytest.approx(finished.run.data.metrics[f"test/{metric}"], abs=1e-12)
    ious = [float(table[name]["iou"] or 0) for name in CLASSES]
    weighted = (counts.sum(axis=1) * ious).sum() / counts.sum()
    assert weighted == pytest.approx(finished.run.data.metrics["test/frequency_weighted_iou"], abs=1e-12)
    assert float(table["a?b"]["iou"]) == finished.run.data.metrics["test/iou/a_b_3"]
    assert [int(table[name]["true_pixels"]) for name in CLASSES] == counts.sum(axis=1).tolist()


def test_mean_iou_recomputed_from_the_masks_is_the_logged_one(finished: Finished) -> None:
    counts = np.zeros((len(CLASSES), len(CLASSES)), np.int64)
    for path in sorted(finished.artifact("predictions/test").iterdir()):
        truth = np.array(Image.open(finished.cwd / "VOC/SegmentationClass" / path.name))
        prediction = np.array(Image.open(path))
        assert prediction.shape == truth.shape
        valid = truth != 255
        np.add.at(counts, (truth[valid], prediction[valid]), 1)
    union = counts.sum(0) + counts.sum(1) - np.diag(counts)
    expected = (np.diag(counts)[union > 0] / union[union > 0]).mean()
    assert finished.run.data.metrics["test/mean_iou"] == pytest.approx(expected, abs=1e-6)
