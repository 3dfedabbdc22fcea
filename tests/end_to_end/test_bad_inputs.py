"""Mistakes on the real command line: an `error:` line for each on stderr, status 2, and no run in MLflow."""

from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from tests.end_to_end.commands import RUN, Ended, Finished, lines, several, stored_runs, tiny


@pytest.fixture(scope="module")
def ended(
    finished: Finished, tmp_path_factory: pytest.TempPathFactory, voc_writer: Callable[..., Path]
) -> dict[str, Ended]:
    """The results of all commands of this file, which run one after another in one process."""
    cwd = tmp_path_factory.mktemp("cwd")
    (cwd / "VOC").symlink_to(finished.cwd / "VOC")
    (cwd / "text.db").write_text("this is not a database, but longer than its header")
    client = mlflow.MlflowClient(f"sqlite:///{cwd}/deleted.db")
    client.delete_experiment(client.create_experiment("gone"))
    broken = voc_writer(cwd, classes=4, name="broken")
    (broken / "JPEGImages/train_0.jpg").unlink()
    (broken / "JPEGImages/train_1.jpg").write_bytes(b"no image")
    (broken / "SegmentationClass/val_0.png").write_bytes((broken / "SegmentationClass/val_1.png").read_bytes()[:60])
    commands = {
        "broken data": [f"dataset.root={broken}", "dataset.classes=[background,a,b]"],
        "no database": ["tracking.uri=sqlite:///text.db"],
        "no driver": ["tracking.uri=mssql://ada:lovelace@127.0.0.1/x"],
        "in memory": ["tracking.uri='sqlite://'"],
        "folder": ["tracking.uri='file:./mlruns'"],
        "deleted": ["tracking.uri=sqlite:///deleted.db", "tracking.experiment=gone"],
        "batch": ["batch_size=99"],
        "sweep": [
            "-m",
            "hydra/sweeper=basic",
            "seed=0,1",
            "tracking.uri=http://ada:lovelace@127.0.0.1:9",
            "dataset.root=nowhere",
        ],
        "nan": ["optimizer=sgd", "optimizer.learning_rate=1e30", "schedule=constant"],
    }
    # Hydra expects -m first.
    typed = [sorted([*tiny(), *command], key=lambda word: word != "-m") for command in commands.values()]
    results = several([[RUN, *words] for words in typed], cwd)
    ended = dict(zip(commands, results, strict=True))
    ended["cwd"] = cwd
    return ended


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no database", "text.db: file is not a database; choose another file"),
        ("no driver", "tracking.uri=mssql://***@127.0.0.1/x: a driver for it is not installed"),
        ("in memory", "sqlite:///<file> expected"),
        ("folder", "tracking.uri=file:./mlruns: http://, https://, sqlite:///"),
        ("deleted", "tracking.experiment=gone: was deleted; restore it"),
        ("batch", "batch_size=99: the training split has only 5 images"),
    ],
)
def test_mistake_is_one_line_and_status_2(ended: dict[str, Ended], command: str, message: str) -> None:
    assert ended[command].status == 2 and ended[command].stdout == ""
    (fault,) = lines(ended[command].stderr)
    assert fault.startswith("error: ") and message in fault
    assert "lovelace" not in fault


def test_faults_of_a_data_folder_are_reported_together(ended: dict[str, Ended]) -> None:
    assert ended["broken data"].status == 2 and ended["broken data"].stdout == ""
    faults = lines(ended["broken data"].stderr)
    assert all(fault.startswith("error: ") for fault in faults)
    for name in ("train_0", "train_1.jpg", "val_0.png", "holds label 3; 0 to 2 (3 dataset.classes)"):
        assert any(name in fault for fault in faults), name


def test_loss_that_is_nan_fails_the_run_with_its_step(ended: dict[str, Ended]) -> None:
    assert ended["nan"].status == 1
    (fault,) = lines(ended["nan"].stderr)
    assert fault.startswith("error: the loss became nan in epoch 1, step 2 of 2 (optimizer.learning_rate=1e+30")
    _, (run,) = stored_runs(ended["cwd"])  # no other command made one
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"].startswith("RunFailed: the loss became nan in epoch 1, step 2")
    assert run.info.run_id in ended["nan"].stdout


def test_output_of_a_sweep_has_no_password(ended: dict[str, Ended]) -> None:
    output = ended["sweep"].stdout + ended["sweep"].stderr
    assert "***@127.0.0.1" in ended["sweep"].stdout and "lovelace" not in output
    assert ended["sweep"].status == 2
