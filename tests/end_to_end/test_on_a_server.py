"""A run that is tracked by a real MLflow server, with a password in its address."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import RUN, lines, python, several, tiny
from tests.end_to_end.server import Server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """Host and port of a real MLflow server with a database and artifacts of its own."""
    place = tmp_path / "server"
    place.mkdir()
    running = Server(place)
    running.start()
    yield running.address.removeprefix("http://")
    running.kill()


def test_a_server_with_a_password_and_no_test_split(server: str, workplace: Path) -> None:
    """Also early stopping: with a learning rate that is 0 in float32 no epoch is better than the first."""
    secret = f"http://ada:lovelace@{server}"
    options = tiny(
        dataset__splits__test="null", epochs="9", early_stopping="2", optimizer__learning_rate="1e-46",
        model__norm="none",
        tracking__uri=secret, tracking__experiment="elsewhere", tracking__run_name=f"'{secret}/x'",
    )  # fmt: skip
    done = python(RUN, *options, cwd=workplace)
    assert (done.status, done.stderr) == (0, "")
    client = mlflow.MlflowClient(f"http://{server}")
    experiment = client.get_experiment_by_name("elsewhere")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.metrics["best/epoch"] == 1 and len(client.get_metric_history(run.info.run_id, "val/loss")) == 3
    assert "early stopping" in done.stdout
    assert lines(done.stdout)[0] == f"tracking  http://***@{server} (tracking.uri), experiment 'elsewhere'"
    assert not any(name.startswith("test/") for name in run.data.metrics)

    address = f"http://***@{server}/#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}"
    assert lines(done.stdout)[-1].split()[-1].partition("?")[0] == address
    assert "mlflow ui" not in done.stdout and "View run" not in done.stdout

    kept = workplace / "kept"
    client.download_artifacts(run.info.run_id, "", str(kept.mkdir() or kept))
    assert (kept / "checkpoints/best/weights.npz").is_file() and not (kept / "predictions/test").exists()
    assert not (workplace / "mlruns/artifacts").exists()
    reported = [run.info.run_name, *run.data.params.values(), *run.data.tags.values(), done.stdout]
    reported += [path.read_text() for path in kept.rglob("*") if path.suffix in (".yaml", ".txt", ".json")]
    assert [text for text in reported if "lovelace" in text] == []
    assert run.data.params["tracking.uri"] == f"http://***@{server}"

    image = workplace / "VOC/JPEGImages/val_0.jpg"
    (predicted,) = several(
        [["pipeline.predict", f"run={run.info.run_id}", f"input={image}", "output=masks"]],
        workplace,
        MLFLOW_TRACKING_URI=secret,
    )
    assert (predicted.status, predicted.stderr) == (0, "")
    expected = np.array(Image.open(kept / "predictions/val/1/val_0.png"))
    np.testing.assert_array_equal(np.array(Image.open(workplace / "masks/val_0.png")), expected)
