"""`python run.py`: what a run leaves in MLflow, and what it prints."""

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from pipeline.config.keys import leaves
from pipeline.config.schema import SCHEMA_VERSION, Config
from pipeline.runtime.process import STALE_AFTER, Process
from tests.end_to_end.commands import (
    CLASSES,
    NAMED,
    ROOT,
    TINY,
    Finished,
    fresh_python,
    lines,
    python,
    stored_runs,
    tiny,
)

EACH_EPOCH = [
    "learning_rate", "time/checkpoint_seconds", "time/tracking_seconds", "time/train_seconds",
    "time/validation_seconds", "train/images_per_second", "train/loss", "val/loss", "val/mean_iou",
    "val/pixel_accuracy",
]  # fmt: skip


# ---- what is logged


def test_every_leaf_of_the_configuration_is_a_parameter(finished: Finished) -> None:
    params = finished.run.data.params
    assert set(params) == {name for name, _, _ in leaves(Config)}
    assert params["model.depth"] == "2" and params["dataset.classes"] == str(CLASSES)
    assert params["threads"] == "2" and params["precision"] == "float32"


def test_every_epoch_has_its_metrics_and_steps_count_from_1(finished: Finished) -> None:
    for name in EACH_EPOCH:
        measured = finished.client.get_metric_history(finished.id, name)
        assert [metric.step for metric in measured] == [1, 2], name
    learning_rates = finished.client.get_metric_history(finished.id, "learning_rate")
    # Adam's 2e-3, two steps an epoch, one of warm-up, then half a cosine over the other three.
    expected = [2e-3 * 0.5 * (1 + np.cos(np.pi * done / 3)) for done in (0, 2)]
    assert [metric.value for metric in learning_rates] == pytest.approx(expected, rel=1e-5)


def test_the_end_has_the_best_epoch_and_the_test_scores(finished: Finished) -> None:
    metrics = finished.run.data.metrics
    validated = [metric.value for metric in finished.client.get_metric_history(finished.id, "val/mean_iou")]
    assert metrics["best/val_mean_iou"] == max(validated)
    assert metrics["best/epoch"] == 1 + int(np.argmax(validated))
    # MLflow refuses / and ? in a class name; a class that neither occurs nor is predicted has no IoU.
    class_ious = {name for name in metrics if name.startswith("test/iou/")}
    assert class_ious <= {f"test/iou/{name}" for name in ("background", "potted plant", "a_b", "a_b_3", "Büsche")}
    assert class_ious >= {f"test/iou/{name}" for name in ("background", "potted plant", "a_b", "a_b_3")}
    others = set(metrics) - class_ious - set(EACH_EPOCH)
    assert {name for name in others if not name.startswith("system/")} == {
        "best/epoch", "best/val_mean_iou", "test/loss", "test/mean_iou", "test/pixel_accuracy", "time/total_seconds",
        "model/parameters", "test/mean_dice", "test/mean_precision", "test/mean_recall", "test/boundary_iou",
        "test/mean_iou_low", "test/mean_iou_high",
        "test/frequency_weighted_iou",
    }  # fmt: skip
    assert metrics["test/mean_iou"] == pytest.approx(np.mean([metrics[name] for name in class_ious]), abs=1e-12)
    assert {metric.step for name in class_ious for metric in finished.client.get_metric_history(finished.id, name)} == {
        metrics["best/epoch"]
    }


def test_the_load_of_the_machine_is_logged(finished: Finished) -> None:
    assert finished.run.data.metrics["system/cpu_utilization_percentage"] >= 0
    assert finished.run.data.metrics["system/system_memory_usage_megabytes"] > 0


def test_the_artifacts_have_their_exact_names(finished: Finished) -> None:
    root = finished.artifact(".")
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    test, val = [f"test_{index}.png" for index in range(3)], [f"val_{index}.png" for index in range(2)]
    images = {path.name for path in root.glob("images/*")}
    assert found == {
        *(f"config/{name}.yaml" for name in ("config", "overrides", "hydra")),
        *(f"environment/{name}" for name in ("packages.txt", "git.json", "git.diff")),
        *(f"environment/{name}.json" for name in ("hardware", "variables", "sources", "data")),
        *(f"overlays/{place}/{name}" for place in ("test", "best", "worst") for name in test),
        *(f"predictions/test/{name}" for name in test),
        *(f"predictions/val/{epoch}/{name}" for epoch in (1, 2) for name in val),
        "data/crops.png",
        *(f"evaluation/{name}" for name in ("per_class.csv", "confusion_matrix.csv", "confusion_matrix.png")),
        *(f"images/{name}" for name in images),
        *(f"checkpoints/best/{name}" for name in ("weights.npz", "state.json")),
        *(f"checkpoints/last/{name}" for name in ("weights.npz", "optimizer.npz", "running.npz", "state.json")),
    }
    assert yaml.safe_load((root / "config/config.yaml").read_text())["dataset"]["classes"] == CLASSES
    assert yaml.safe_load((root / "config/overrides.yaml").read_text()) == [
        *TINY,
        NAMED,
        "loss.class_weights=median_frequency",
    ]
    assert yaml.safe_load((root / "config/hydra.yaml").read_text())["job"]["name"] == "run"
    assert "tensorflow==" in (root / "environment/packages.txt").read_text()
    data = json.loads((root / "environment/data.json").read_text())
    assert {split: [row[0] for row in rows] for split, rows in data.items()} == {
        split: [f"{split}_{index}" for index in range(count)]
        for split, count in (("train", 5), ("val", 2), ("test", 3))
    }
    image = finished.cwd / "VOC/JPEGImages/val_1.jpg"
    assert data["val"][1][1] == hashlib.sha256(image.read_bytes()).hexdigest()
    sources = json.loads((root / "environment/sources.json").read_text())
    assert sources["train/fit.py"] == hashlib.sha256((ROOT / "pipeline/train/fit.py").read_bytes()).hexdigest()


def test_the_data_of_each_split_are_logged_with_a_digest(finished: Finished) -> None:
    inputs = {item.tags[0].value: item.dataset for item in finished.run.inputs.dataset_inputs}
    assert set(inputs) == {"train", "val", "test"}
    assert len({item.digest for item in inputs.values()}) == 3
    assert all(re.fullmatch("[0-9a-f]{36}", item.digest) for item in inputs.values())
    assert json.loads(inputs["val"].source) == {"uri": str(finished.cwd / "VOC")}


def test_tags_description_and_status(finished: Finished) -> None:
    tags = finished.run.data.tags
    assert finished.run.info.status == "FINISHED"
    assert re.fullmatch("[0-9a-f]{32}", tags["run_key"])
    assert all(
        re.fullmatch("[0-9a-f]{64}", tags[name])
        for name in ("fingerprint", "data_digest", "weights_sha256", "last_weights_sha256")
    )
    assert tags["weights_sha256"] != tags["last_weights_sha256"]  # so other tests can see which of the two are used
    assert tags["schema"] == str(SCHEMA_VERSION) and not {"rerun_of", "resumed_from", "failure"} & tags.keys()
    assert Process.read(tags) is not None and not Process.read(tags).is_alive
    assert abs(float(tags["heartbeat"]) - finished.run.info.end_time / 1000) < STALE_AFTER
    revision = json.loads(finished.artifact("environment/git.json").read_text())["revision"]
    assert tags.get("mlflow.source.git.commit") == revision
    assert tags["mlflow.source.name"] == "run.py" and tags["mlflow.user"]
    assert f"| test | {finished.run.data.metrics['test/mean_iou']:.4f} |" in tags["mlflow.note.content"]
    assert tags["run_key"] in tags["mlflow.note.content"]


def test_everything_lies_under_mlruns_and_data(finished: Finished) -> None:
    assert finished.left == {"VOC", "mlruns", "data"}


# ---- what is printed


def test_without_a_terminal_the_output_is_plain_lines(finished: Finished) -> None:
    printed = finished.stdout.splitlines()
    assert "\x1b" not in finished.stdout and "\r" not in finished.stdout
    assert printed[0].startswith("tracking ")
    data = r"data +folder: 5 train, 2 val, 3 test images, 5 classes, in VOC; cache: 1 MB in memory$"
    assert re.match(data, printed[1])
    assert any("batch_size=2" in line and "leaves out 1 " in line for line in printed)
    assert any(line.startswith("warning   no training mask contains: Büsche;") for line in printed)
    epochs = [line for line in printed if line.startswith("epoch ")]
    pattern = r"epoch \d/2  loss \d\.\d{4}  val loss \d\.\d{4}  val mIoU 0\.\d{4}( \*|  )  [\d.]+ images/s  \d:\d\d"
    assert len(epochs) == 2 and all(re.match(pattern, line) for line in epochs)
    table = finished.stdout.partition("scores")[2]
    assert all(name in table for name in CLASSES)
    experiment = finished.run.info.experiment_id
    address = f"http://127.0.0.1:5000/#/experiments/{experiment}/runs/{finished.id}"
    assert f"run {finished.id}" in printed
    assert any(
        line.endswith(f"mlflow ui --backend-store-uri sqlite:///{finished.cwd}/mlruns/mlflow.db") for line in printed
    )
    assert any(line.split()[-1].partition("?")[0] == address for line in printed[-3:])


def test_stderr_is_empty(finished: Finished) -> None:
    assert finished.stderr == ""


# ---- the model, elsewhere

LOAD = """
import json, sys, mlflow, numpy as np
from PIL import Image
model = mlflow.pyfunc.load_model(sys.argv[1])
image = np.array(Image.open(sys.argv[2]).convert("RGB"))
prediction = model.predict(image[np.newaxis])
import pipeline
np.save("prediction.npy", prediction)
shapes = [np.shape(model.input_example["image"]), np.shape(model.predict(model.input_example))]
print(json.dumps([pipeline.__file__, str(model.metadata.signature), shapes]))
"""


def test_the_model_predicts_the_same_outside_of_the_project(finished: Finished, tmp_path: Path) -> None:
    (model,) = finished.client.search_logged_models(
        [finished.run.info.experiment_id], filter_string=f"source_run_id='{finished.id}'"
    )
    assert model.name == "model"
    image = finished.cwd / "VOC/JPEGImages/test_1.jpg"
    done = fresh_python("-c", LOAD, model.artifact_location, str(image), cwd=tmp_path, PYTHONPATH="")
    assert done.status == 0, done.stderr
    code, signature, (example, masks) = json.loads(lines(done.stdout)[-1])
    assert Path(code).is_relative_to(model.artifact_location.removeprefix("file://"))
    assert "uint8" in signature and example[0] == 1 and example[3] == 3 and masks == example[:3]
    prediction = np.load(tmp_path / "prediction.npy")
    expected = np.array(Image.open(finished.artifact("predictions/test/test_1.png")))
    assert prediction.dtype == np.uint8
    np.testing.assert_array_equal(prediction[0], expected)
    assert not list(Path(model.artifact_location.removeprefix("file://")).rglob("*.pkl"))


# ---- variants of training

STRATEGY = """
import sys
from pipeline.runtime.hardware import import_tensorflow
tf = import_tensorflow()
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from pipeline.experiment import run as experiment
from pipeline.config.overrides import checked_config
from pipeline.train.compiled import NetworkCache
config = checked_config(sys.argv[1:])
experiment.run_experiment(config, [], "")
mirrored, networks = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), NetworkCache()
experiment.strategy = lambda config: mirrored
for _ in range(2):
    experiment.run_experiment(config, [], "", networks=networks)
"""


def test_two_devices_train_about_as_one(workplace: Path) -> None:
    options = tiny(
        precision="mixed_bfloat16", batch_size="4", dataset__splits__test="null", optimizer="adamw",
        optimizer__ema="0.5", model__dropout="0.2", loss="cross_entropy_dice", loss__class_weights="median_frequency",
        evaluate__val_predictions="0", augment__cutmix="0.5", sampling="balanced",
    )  # fmt: skip
    done = python("-c", STRATEGY, *options, cwd=workplace)
    assert done.status == 0, done.stderr
    _, runs = stored_runs(workplace)
    assert [run.info.status for run in runs] == ["FINISHED"] * 3
    # Dropout draws other numbers on each device, and norms see half a batch: the loss is only about the same.
    alone, mirrored, reused = (run.data.metrics for run in runs)
    assert mirrored["train/loss"] == pytest.approx(alone["train/loss"], rel=0.2)
    assert mirrored["train/loss"] != alone["train/loss"]  # both devices took part
    assert "optimizer.ema=0.5: 50% of the averaged weights will be those after the first update" in done.stdout
    assert "leaves out" not in done.stdout  # a balanced epoch of 5 images in batches of 4 draws 4
    assert mirrored["val/loss"] == pytest.approx(alone["val/loss"], rel=0.2)
    assert reused["train/loss"] == mirrored["train/loss"]  # by the network that was compiled for the run before
    assert runs[1].data.tags["weights_sha256"] == runs[2].data.tags["weights_sha256"]
    for run in runs:  # the best weights are the moving average
        assert run.data.tags["weights_sha256"] != run.data.tags["last_weights_sha256"]
