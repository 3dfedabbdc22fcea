"""A store of runs without training: what a run stores in MLflow, made from the masks of a small dataset."""

import contextlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from pipeline.config.keys import flatten
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.data.palette import VOID, voc_palette
from pipeline.evaluate.overlay import to_palette_png

HOSTILE = '</script><script>window.broken = true</script><img src=x onerror="window.broken=true"> & $x$ %{y} \'"'
CLASSES = ["background", f"one {HOSTILE}", "two & <b>bold</b>"]
EPOCHS = (1, 2, 3)
TEST_IDS, VAL_IDS = [f"test_{number}" for number in range(4)], ["val_0", "val_1"]


def client_of(place: Path) -> mlflow.MlflowClient:
    (place / "mlruns").mkdir(parents=True, exist_ok=True)
    return mlflow.MlflowClient(f"sqlite:///{place}/mlruns/mlflow.db")


def configuration(root: Path, width: int, seed: int) -> Config:
    config = checked_config(
        ["dataset=folder", f"dataset.root={root}", "dataset.splits.val=val", "dataset.splits.test=test",
         "dataset.classes=[a,b,c]", f"model.width={width}", f"seed={seed}", "epochs=3", "threads=2"]
    )  # fmt: skip
    config.dataset.classes, config.dataset.background = list(CLASSES), CLASSES[0]
    return config


def predicted(root: Path, image_id: str, wrong_rows: int) -> np.ndarray:
    """The true mask, with void and the first rows as background."""
    mask = truth(root, image_id)
    mask[mask == VOID] = 0
    mask[:wrong_rows] = 0
    return mask


def truth(root: Path, image_id: str) -> np.ndarray:
    with Image.open(root / "SegmentationClass" / f"{image_id}.png") as image:
        return np.array(image, np.uint8)


def png(mask: np.ndarray) -> bytes:
    file = io.BytesIO()
    to_palette_png(mask, voc_palette()).save(file, "PNG")
    return file.getvalue()


def make_run(
    place: Path,
    experiment: str,
    root: Path,
    score: float,
    width: int = 8,
    seed: int = 0,
    wrong_rows: int = 0,
    name: str = "run",
    status: str = "FINISHED",
    test: bool = True,
    **tags: str,
) -> str:
    """One run; its predictions miss everything in the first `wrong_rows` rows, and more in earlier epochs."""
    client = client_of(place)
    found = client.get_experiment_by_name(experiment)
    experiment_id = (
        found.experiment_id
        if found
        else client.create_experiment(experiment, artifact_location=(place / "mlruns" / "artifacts").as_uri())
    )
    tags = {"data_digest": str(root), **tags}
    created = client.create_run(experiment_id, run_name=name, tags=tags, start_time=1_000_000)
    run_id = str(created.info.run_id)
    config = configuration(root, width, seed)
    params = [mlflow.entities.Param(key, str(value)) for key, value in flatten(config).items()]
    client.log_batch(run_id, params=params)
    metrics = [
        mlflow.entities.Metric("val/mean_iou", score * epoch / EPOCHS[-1], 1000 * epoch, epoch) for epoch in EPOCHS
    ]
    if status == "FINISHED" and test:
        ending = {"best/val_mean_iou": score, "best/epoch": 3, "test/mean_iou": score - 0.1, "time/total_seconds": 90}
        ending |= {"test/mean_dice": score - 0.05, "test/boundary_iou": score / 2}
        ending |= {"test/pixel_accuracy": score + 0.05}
        metrics += [mlflow.entities.Metric(key, value, 5000, 3) for key, value in ending.items()]
    client.log_batch(run_id, metrics=metrics)

    files = {"config/config.yaml": OmegaConf.to_yaml(OmegaConf.structured(config)).encode()}
    for epoch in EPOCHS:
        for image in VAL_IDS:
            mask = predicted(root, image, wrong_rows + 2 * (EPOCHS[-1] - epoch))
            files[f"predictions/val/{epoch}/{image}.png"] = png(mask)
    if test:
        for number, image in enumerate(TEST_IDS):
            files[f"predictions/test/{image}.png"] = png(predicted(root, image, wrong_rows * (number + 1) // 2))
        names = [f'"{label.replace(chr(34), 2 * chr(34))}"' for label in CLASSES[:2]]
        rows = [*(f"{name},{score},{score / 2}" for name in names), f"{CLASSES[2]},,"]
        files["evaluation/per_class.csv"] = "\n".join(["class,iou,boundary_iou", *rows]).encode()
    for path, content in files.items():
        file = artifacts(place, run_id) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    client.set_terminated(run_id, status)
    return run_id


def artifacts(place: Path, run_id: str) -> Path:
    return place / "mlruns" / "artifacts" / run_id / "artifacts"


def make_sweep(place: Path, root: Path) -> tuple[str, list[str]]:
    """A parent run and its children: four finished with two seeds each, one that failed and one that was pruned."""
    experiment = f"sweeps {HOSTILE[:60]}"
    child = {"place": place, "experiment": experiment, "root": root}
    client_of(place)
    first = make_run(**child, score=0.9, width=8, seed=0, wrong_rows=2, name=f"run {HOSTILE}")  # type: ignore[arg-type]
    found = client_of(place).get_experiment_by_name(experiment)
    assert found is not None
    parent = client_of(place).create_run(
        found.experiment_id, run_name=f"sweep {HOSTILE}", tags={"mlflow.note.content": "What was asked."}
    )
    parent_id = str(parent.info.run_id)
    client_of(place).set_tag(first, "mlflow.parentRunId", parent_id)
    tags = {"mlflow.parentRunId": parent_id}
    ids = [
        first,
        make_run(**child, score=0.8, width=8, seed=1, wrong_rows=4, **tags),  # type: ignore[arg-type]
        make_run(**child, score=0.5, width=4, seed=0, wrong_rows=8, **tags, best="true"),  # type: ignore[arg-type]
        make_run(**child, score=0.7, width=4, seed=1, wrong_rows=10, **tags),  # type: ignore[arg-type]
        make_run(**child, score=0.99, width=2, status="FAILED", test=False, **tags, failure=f"why {HOSTILE}"),  # type: ignore[arg-type]
        make_run(**child, score=0.95, width=1, test=False, **tags, pruned="true"),  # type: ignore[arg-type]
    ]
    client_of(place).set_terminated(parent_id)
    return parent_id, ids


@dataclass(frozen=True)
class Sweep:
    """Where a sweep's store, dataset and comparison are."""

    place: Path
    root: Path
    parent: str
    ids: list[str]  # 0.9, 0.8, 0.5, 0.7, failed, pruned
    stdout: str

    @property
    def page(self) -> Path:
        return self.place / "comparison" / "comparison.html"


@contextlib.contextmanager
def inside(place: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(place)
    try:
        yield
    finally:
        os.chdir(before)
