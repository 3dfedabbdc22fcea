"""Images by step: the names that MLflow's image grid reads."""

import re
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.entities import FileInfo

from pipeline.config.schema import TrackingConfig
from pipeline.tracking.step_images import PLACE, LoggedImage, LoggedStep, image_key, logged_steps, write_images

IMAGE = LoggedImage(b"whole", b"small!")


def listed(folder: Path) -> list[FileInfo]:
    return [FileInfo(f"{PLACE}/{path.name}", False, path.stat().st_size) for path in folder.iterdir()]


def test_names_are_those_of_mlflow_and_the_same_every_time(tmp_path: Path) -> None:
    for _ in range(2):
        write_images(tmp_path / "images", {"val/a/b": IMAGE, "val/c": IMAGE}, step=7, time=1234)
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    uuid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert len(names) == 4
    assert re.fullmatch(rf"val~a~b\+step\+7\+timestamp\+1234\+{uuid}\+compressed\.webp", names[0])
    assert re.fullmatch(rf"val~a~b\+step\+7\+timestamp\+1234\+{uuid}\.webp", names[1])
    assert names[0].replace("+compressed", "") == names[1]
    before = names
    write_images(tmp_path / "images", {"val/a/b": IMAGE, "val/c": IMAGE}, step=7, time=1234)
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == before


def test_mlflow_itself_names_images_alike(tracking: TrackingConfig, tmp_path: Path) -> None:
    """So a version of MLflow with other names is noticed here."""
    import numpy as np

    client = mlflow.MlflowClient(tracking.uri)
    run = client.create_run(client.get_experiment_by_name(tracking.experiment).experiment_id).info.run_id
    client.log_image(run, np.zeros((8, 8, 3), np.uint8), key="val/a/b", step=7, timestamp=1234)
    theirs = sorted(re.sub("[0-9a-f-]{36}", "U", entry.path) for entry in client.list_artifacts(run, PLACE))
    write_images(tmp_path / "images", {"val/a/b": IMAGE}, step=7, time=1234)
    ours = sorted(re.sub("[0-9a-f-]{36}", "U", entry.path) for entry in listed(tmp_path / "images"))
    assert [name.rpartition(".")[0] for name in ours] == [name.rpartition(".")[0] for name in theirs]
    assert client.get_run(run).data.tags["mlflow.loggedImages"] == "True"


def test_what_is_listed_is_read_back(tmp_path: Path) -> None:
    write_images(tmp_path / "images", {"val/a/b": IMAGE, "val/c": IMAGE}, step=7, time=1234)
    hostile = [FileInfo(f"{PLACE}/{name}", False, 9) for name in ("x", "val~a+step+-1+timestamp+2+u.webp", "../a.webp")]
    assert logged_steps([*listed(tmp_path / "images"), *hostile]) == [LoggedStep("val", 7, 1234, 22)]


@given(st.lists(st.text(min_size=1, max_size=300), unique=True, max_size=5))
def test_any_id_has_a_key_of_its_own_that_mlflow_takes(ids: list[str]) -> None:
    keys = [image_key("val", example_id) for example_id in ids]
    assert len(set(keys)) == len(ids)
    assert all(re.fullmatch(r"val/[a-zA-Z0-9_\-./ ]{1,140}", key) for key in keys)


@pytest.mark.parametrize("example_id", ["2007_000032", "a/b-1.x"])
def test_a_plain_id_is_its_own_key(example_id: str) -> None:
    assert image_key("test", example_id) == f"test/{example_id}"
