"""Tracking addresses, the first connection to a store, and credentials."""

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.addresses import HOME
from pipeline.config.environment import experiment_name
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from pipeline.tracking.store import Store, connect, described, mask_credentials, name_experiment, open_store
from tests.end_to_end.forks import Ended, fork_server


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- opening


def test_a_store_is_created_under_mlruns(tmp_path: Path) -> None:
    store = open_store(TrackingConfig(uri=None, experiment="a b/c"))
    experiment = mlflow.MlflowClient(store.uri).get_experiment(store.experiment_id)
    assert experiment.name == "a b/c"
    assert experiment.artifact_location == (tmp_path / "mlruns/artifacts/a_b_c").as_uri()
    assert {path.name for path in tmp_path.iterdir()} == {"mlruns"}
    assert open_store(TrackingConfig(uri=None, experiment="a b/c")) == store
    assert open_store(TrackingConfig(uri=None, experiment="other")).experiment_id != store.experiment_id

    mlflow.MlflowClient(store.uri).delete_experiment(store.experiment_id)
    with pytest.raises(UserError, match=r"tracking\.experiment=a b/c: was deleted; restore it"):
        open_store(TrackingConfig(uri=None, experiment="a b/c"))


def test_a_folder_of_the_database_may_have_escapes_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "%41 ?").mkdir()
    monkeypatch.chdir(tmp_path / "%41 ?")
    open_store(TrackingConfig(uri=None, experiment="x"))
    with sqlite3.connect(tmp_path / "%41 ?/mlruns/mlflow.db") as database:
        assert ("x",) in database.execute("select name from experiments").fetchall()


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("http://ada:lovelace@127.0.0.1:9", "does not answer: Connection refused"),
        ("sqlite:///text.db", "file is not a database"),
        ("mssql://ada:lovelace@127.0.0.1/x", r"a driver for it is not installed \(No module"),
        ("sqlite:////proc/nowhere/x.db", "No such file or directory"),
    ],
)
def test_a_store_that_does_not_answer_is_reported_in_seconds(tmp_path: Path, uri: str, reason: str) -> None:
    (tmp_path / "text.db").write_text("this is no database, however long one looks at it")
    started = time.monotonic()
    with pytest.raises(UserError, match=reason) as error:
        open_store(TrackingConfig(uri=uri, experiment="x"))
    assert time.monotonic() - started < 30
    assert "lovelace" not in str(error.value)


TOGETHER = """
from pipeline.config.schema import TrackingConfig
from pipeline.tracking.tracked_run import TrackedRun
with TrackedRun.begin(TrackingConfig(uri=None, experiment="x"), "name", {}, "", []) as run:
    for step in range(3):
        run.log_metrics({"a": float(step)}, step)
"""


def test_four_processes_at_once_create_one_database(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        ended = list(pool.map(lambda number: fork_server(number).run(tmp_path, "-c", TOGETHER), range(4)))
    assert ended == [Ended(0, "", "")] * 4
    with sqlite3.connect(tmp_path / "mlruns/mlflow.db") as database:
        assert database.execute("select status from runs").fetchall() == [("FINISHED",)] * 4
        assert database.execute("select count(*) from metrics where key = 'a'").fetchall() == [(12,)]


MINUTE = """
import sys, time
from pipeline.config.schema import TrackingConfig
from pipeline.tracking.tracked_run import TrackedRun
with TrackedRun.begin(TrackingConfig(uri=None, experiment="x"), sys.argv[1], {}, "", []) as run:
    step, until = 0, time.monotonic() + 60
    while time.monotonic() < until:
        run.log_metrics({f"m/{number}": step + number / 8 for number in range(8)}, step)
        step += 1
        time.sleep(0.05)
print(step)
"""


@pytest.mark.slow
def test_four_processes_that_log_for_a_minute_lose_nothing(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", MINUTE, str(number)], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in range(4)
    ]  # fmt: skip
    output = [process.communicate(timeout=600) for process in processes]
    assert [(process.returncode, errors) for process, (_, errors) in zip(processes, output, strict=True)] == [
        (0, "")
    ] * 4
    with sqlite3.connect(tmp_path / "mlruns/mlflow.db") as database:
        for number, (steps, _) in enumerate(output):
            rows = database.execute(
                "select key, step, value from metrics natural join runs "
                "where name = ? and key like 'm/%' order by step, key",
                (str(number),),
            ).fetchall()
            assert rows == [(f"m/{m}", step, step + m / 8) for step in range(int(steps)) for m in range(8)]


# ---- MLflow's environment variables


def test_an_experiment_may_be_given_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "1")
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_ID=1: tracking.uri=.*: this database does not exist"):
        name_experiment(TrackingConfig())
    store = open_store(TrackingConfig(experiment="theirs"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", store.experiment_id)
    name_experiment(TrackingConfig(experiment="mine"))
    assert experiment_name(TrackingConfig()) == "segmentation"
    name_experiment(TrackingConfig())
    assert experiment_name(TrackingConfig()) == "theirs"
    name_experiment(TrackingConfig())  # both agree
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "another")
    with pytest.raises(UserError, match=r"is experiment 'theirs', but MLFLOW_EXPERIMENT_NAME=another; unset one"):
        name_experiment(TrackingConfig())
    monkeypatch.setenv("MLFLOW_EXPERIMENT_ID", "77")
    with pytest.raises(UserError, match=r"^MLFLOW_EXPERIMENT_ID=77: the experiment's name is looked up first: .*77"):
        name_experiment(TrackingConfig())


def test_a_line_says_which_store_is_used_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    default = f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert described(TrackingConfig()) == f"{default} (the default), experiment 'segmentation'"
    assert described(TrackingConfig(uri="http://h", experiment="x")) == "http://h (tracking.uri), experiment 'x'"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://ada:secret@host")
    for tracking in (TrackingConfig(), TrackingConfig(uri="http://ada:secret@host")):
        assert described(tracking) == "http://***@host (MLFLOW_TRACKING_URI), experiment 'segmentation'"


def test_connecting_to_a_store_does_not_change_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though MLflow passes the address that it was given to child processes."""
    for address in (None, "http://host"):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address) if address else None
        connect(f"sqlite:///{tmp_path}/x.db")
        assert os.environ.get("MLFLOW_TRACKING_URI") == address


# ---- credentials


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("http://ada:secret@host:5000/x", "http://***@host:5000/x"),
        ("http://secret@host", "http://***@host"),
        ("postgresql://ada:sec/r?e#t@@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=ada&password=secret&x=1", "postgresql://host/db?user=ada&password=***&x=1"),
        ("- tracking.uri='http://a:secret@h'\n- 'x@y'", "- tracking.uri='http://***@h'\n- 'x@y'"),
        ("http://h/a and mail@secret.org", "http://h/a and mail@secret.org"),
        ("at postgresql://ada:sec'ret@host/db and", "at postgresql://***@host/db and"),
        ("uri: 'http://ada:sec''r\"et@host:5000'", "uri: 'http://***@host:5000'"),
        ("mysql://host/db?password=s'ec\"ret&x='y'", "mysql://host/db?password=***&x='y'"),
        ('[\'http://h\',\'x@y\'] {"a":"http://h","b":"x@y"}', '[\'http://h\',\'x@y\'] {"a":"http://h","b":"x@y"}'),
        ("['/a?token=secret','b']", "['/a?token=***','b']"),
        ("sqlite:////tmp/a@b.db", "sqlite:////tmp/a@b.db"),
    ],
)
def test_credentials_are_masked_and_nothing_else(text: str, masked: str) -> None:
    assert mask_credentials(text) == masked
    assert mask_credentials(masked) == masked


@given(st.text(st.characters(exclude_categories=["Z", "C"], exclude_characters="'\""), min_size=1))
def test_no_part_of_a_password_is_shown(password: str) -> None:
    assert mask_credentials(f"uri: postgresql://ada:{password}@host/db\n") == "uri: postgresql://***@host/db\n"


def test_how_a_run_is_opened_in_the_ui(tmp_path: Path) -> None:
    local = Store("sqlite:////tmp/a b/mlflow.db", "3")
    assert local.open_command() == "mlflow ui --backend-store-uri 'sqlite:////tmp/a b/mlflow.db'"
    assert local.address("r").startswith("http://127.0.0.1:5000/#/experiments/3/runs/r")
    server = Store("https://ada:secret@host/mlflow/", "3")
    assert server.open_command() is None
    assert server.address("r").startswith("https://***@host/mlflow/#/experiments/3/runs/r")
    assert (
        Store("postgresql://a:secret@h/d", "3").open_command() == "mlflow ui --backend-store-uri 'postgresql://***@h/d'"
    )
    assert Store("http://host", "3\x1b[2J").address("r").isprintable()
    assert not HOME.is_absolute()
