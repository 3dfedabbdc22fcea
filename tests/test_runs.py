"""Runs as a table, in the terminal and for notebooks, read from a real store."""

import io
from typing import Any

import mlflow
import pandas as pd
import pytest

from pipeline.runs import main, table
from pipeline.runtime.errors import UserError

PARAMS = {"model.width": "8", "optimizer.learning_rate": "0.01", "evaluate.flip": "False", "long_side": "None",
          "model.name": "unet", "dataset.classes": "['a', 'b']", "threads": "2"}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two trials of a sweep with its own run, and a run of another experiment whose values are not of their types."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    first, second = client.create_experiment("x"), client.create_experiment("y")

    def run(experiment: str, time: int, tags: dict[str, str], params: dict[str, str], **metrics: float) -> None:
        made = client.create_run(experiment, start_time=time, run_name=f"run {time}", tags=tags)
        for key, value in params.items():
            client.log_param(made.info.run_id, key, value)
        for key, value in metrics.items():
            client.log_metric(made.info.run_id, key.replace("__", "/"), value)
        client.set_terminated(made.info.run_id, "FINISHED", time + 120_000)

    run(first, 1000, {"sweep": "s", "is_sweep": "true", "run_key": "k" * 32}, {"model.width": "4,8"})
    run(first, 2000, {"sweep": "s", "trial": "a"}, PARAMS, best__val_mean_iou=0.75)
    run(first, 3000, {"sweep": "s", "trial": "b"}, {**PARAMS, "model.width": "4"}, best__val_mean_iou=0.25)
    run(second, 4000, {"note": "\x1b[2J"}, {"model.width": "wide", "evaluate.flip": "maybe", "seed": "3"})
    return uri


def names(frame: pd.DataFrame) -> list[str]:
    return list(frame["name"])


def test_the_newest_run_is_first_and_a_sweeps_own_run_is_left_out(store: str) -> None:
    assert names(table(uri=store)) == ["run 4000", "run 3000", "run 2000"]
    assert names(table("x", uri=store)) == ["run 3000", "run 2000"]
    for sweep in ("s", "k" * 32):
        assert names(table(sweep=sweep, uri=store)) == ["run 3000", "run 2000"]


def test_keys_have_their_types_and_what_is_missing_is_na(store: str) -> None:
    frame = table("x", uri=store)
    kinds = {"model.width": "Int64", "optimizer.learning_rate": "Float64", "evaluate.flip": "boolean",
             "long_side": "Int64", "model.name": "string", "dataset.classes": "string", "threads": "string",
             "best/val_mean_iou": "Float64", "minutes": "Float64", "sweep": "string"}  # fmt: skip
    assert {name: str(frame[name].dtype) for name in kinds} == kinds
    assert list(frame["model.width"]) == [4, 8] and frame["long_side"].isna().all()
    assert list(frame["minutes"]) == [2.0, 2.0] and str(frame["started"].dt.tz) == "UTC"
    strange = table("y", uri=store).iloc[0]
    assert strange["seed"] == 3 and pd.isna(strange["model.width"]) and pd.isna(strange["evaluate.flip"])


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Runs of other projects: numbers that no column holds, and names that are a metric here and a tag there."""
    uri = f"sqlite:///{tmp_path_factory.mktemp('strange')}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    for time, seed in ((10**15, "17446744073709551615"), (2000, "9" * 400), (1000, "3")):
        run_id = client.create_run("0", start_time=time, run_name=f"run {time}").info.run_id
        client.log_param(run_id, "seed", seed)
        if seed == "3":
            client.set_tag(run_id, "accuracy", "good")
            client.log_metric(run_id, "epochs", 0.5)
        else:
            client.log_metric(run_id, "accuracy", 0.5)
    return uri


def test_a_column_of_mixed_types_is_text(strange: str, capsys: pytest.CaptureFixture[str]) -> None:
    frame = table(uri=strange)
    assert [str(frame[name].dtype) for name in ("seed", "accuracy", "epochs")] == ["string"] * 3
    assert list(frame["seed"]) == ["17446744073709551615", "9" * 400, "3"]
    assert list(frame["accuracy"]) == ["0.5", "0.5", "good"] and frame["epochs"].iloc[-1] == "0.5"
    assert pd.isna(frame["started"].iloc[0]) and frame["started"].notna().sum() == 2
    for arguments in ([], ["--csv"]):
        assert main([*arguments, f"tracking.uri={strange}"]) == 0
        assert "17446744073709551615" in capsys.readouterr().out


def test_numbers_without_a_float_have_an_order(strange: str) -> None:
    assert len(table(where="seed > 5", uri=strange)) == 2
    assert len(table(where="seed < 1e300", uri=strange)) == 2


def test_conditions_are_over_keys_metrics_tags_and_the_run_itself(store: str) -> None:
    for where, expected in (
        ("best/val_mean_iou > 0.5", ["run 2000"]),
        ("model.width = 4 and status = FINISHED", ["run 3000"]),
        ("trial = b", ["run 3000"]),
        ("experiment = y", ["run 4000"]),
        ("best/val_mean_iou = null", ["run 4000"]),
    ):
        assert names(table(where=where, uri=store)) == expected, where
    assert len(table(where="model.width > 100", uri=store)) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["experiment=z"], "experiment=z: no experiment has this name; this store has Default, x, y"),
        (["sweep=z"], "sweep=z: no run is a trial of a sweep"),
        (["where=model.widht > 5"], "where: model.widht: no key .*model.width"),
        (["where=x"], "where: 'x': a name"),
        (["wher=x"], "wher=x: unknown key 'wher'.*where"),
    ],
)
def test_a_mistake_is_named(store: str, arguments: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        main([*arguments, f"tracking.uri={store}"])


def test_the_terminal_shows_what_differs_and_the_scores(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["experiment=x", f"tracking.uri={store}"]) == 0
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split() == ["started", "status", "run", "name", "model.width", "best/val_mean_iou", "test/mean_iou"]
    assert [row.split()[-3:] for row in rows] == [["4", "0.2500", "-"], ["8", "0.7500", "-"]]


def test_csv_is_the_whole_table(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--csv", "sweep=s", f"tracking.uri={store}"]) == 0
    read: Any = pd.read_csv(io.StringIO(capsys.readouterr().out), index_col="run")
    expected = table(sweep="s", uri=store)
    assert list(read.columns) == list(expected.columns) and list(read.index) == list(expected.index)
    assert list(read["model.width"]) == [4, 8]


def test_without_runs_it_says_so(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["where=model.width > 100", f"tracking.uri={store}"]) == 0
    assert capsys.readouterr().out == "no run meets the condition\n"
