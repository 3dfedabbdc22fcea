"""Mistakes through the real command line: an `error:` line for each on stderr, status 2, and nothing in MLflow."""

from pathlib import Path

import mlflow
import pytest

from tests.end_to_end.commands import RUN, Ended, Finished, lines, python, several, stored_runs, tiny


def test_all_faults_of_a_broken_data_folder_are_told_at_once_and_no_run_is_made(
    tmp_path: Path, voc_folder, finished: Finished
) -> None:
    root = voc_folder(classes=4)
    (root / "JPEGImages/train_0.jpg").unlink()
    (root / "JPEGImages/train_1.jpg").write_bytes(b"no picture")
    (root / "SegmentationClass/val_0.png").write_bytes((root / "SegmentationClass/val_1.png").read_bytes()[:60])
    done = python(RUN, *tiny(dataset__classes="[background,a,b]"), cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    faults = lines(done.stderr)
    assert all(fault.startswith("error: ") for fault in faults)
    for name in ("train_0", "train_1.jpg", "val_0.png", "holds label 3; 0 to 2 (3 dataset.classes)"):
        assert any(name in fault for fault in faults), name
    assert stored_runs(tmp_path)[1] == []


@pytest.fixture(scope="module")
def ended(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every other command of this file, one after the other in one process."""
    cwd = tmp_path_factory.mktemp("cwd")
    (cwd / "VOC").symlink_to(finished.cwd / "VOC")
    (cwd / "text.db").write_text("this is no database, however long one looks at it")
    client = mlflow.MlflowClient(f"sqlite:///{cwd}/deleted.db")
    client.delete_experiment(client.create_experiment("gone"))
    commands = {
        "no server": ["tracking.uri=http://ada:lovelace@127.0.0.1:9"],
        "no database": ["tracking.uri=sqlite:///text.db"],
        "no driver": ["tracking.uri=mssql://ada:lovelace@127.0.0.1/x"],
        "in memory": ["tracking.uri='sqlite://'"],
        "folder": ["tracking.uri='file:./mlruns'"],
        "deleted": ["tracking.uri=sqlite:///deleted.db", "tracking.experiment=gone"],
        "batch": ["batch_size=99"],
        "nan": ["optimizer=sgd", "optimizer.learning_rate=1e30", "schedule=constant"],
    }
    said = several([[RUN, *tiny(), *command] for command in commands.values()], cwd)
    ended = dict(zip(commands, said, strict=True))
    ended["cwd"] = cwd
    return ended


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("no server", "tracking.uri=http://***@127.0.0.1:9: does not answer: Connection refused"),
        ("no database", "text.db: (sqlite3.DatabaseError) file is not a database"),
        ("no driver", "tracking.uri=mssql://***@127.0.0.1/x: the driver for this database is not installed"),
        ("in memory", "sqlite:///<file> expected"),
        ("folder", "tracking.uri=file:./mlruns: http://, https://, sqlite:///"),
        ("deleted", "tracking.experiment=gone: was deleted; restore it"),
        ("batch", "batch_size=99: the training split has only 5 pictures"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(ended: dict[str, Ended], command: str, told: str) -> None:
    assert ended[command].status == 2 and ended[command].stdout == ""
    (fault,) = lines(ended[command].stderr)
    assert fault.startswith("error: ") and told in fault
    assert "lovelace" not in fault


def test_a_loss_that_is_not_a_number_fails_the_run_and_names_epoch_and_step(ended: dict[str, Ended]) -> None:
    assert ended["nan"].status == 1
    (fault,) = lines(ended["nan"].stderr)
    assert fault.startswith("error: the loss became nan in epoch 1, step 2 of 2 (optimizer.learning_rate=1e+30")
    _, (run,) = stored_runs(ended["cwd"])  # and no other command made one
    assert run.info.status == "FAILED"
    assert run.data.tags["failure"].startswith("RunFailed: the loss became nan in epoch 1, step 2")
    assert run.info.run_id in ended["nan"].stdout
