"""Which locations of artifacts are trusted, whoever named them."""

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tracking.artifact_uris import checked_location, is_trusted

MODEL_ID, SERVER = "m-0123", "http://ada:lovelace@host:5000/mlflow"


@pytest.mark.parametrize(
    "location",
    [
        "mlflow-artifacts:/1/m-0123/artifacts", "mlflow-artifacts://host:5000/1/m-0123/artifacts",
        "http://host:5000/api/2.0/mlflow-artifacts/artifacts/1/m-0123/artifacts",
        "file:///srv/mlruns/1/models/m-0123/artifacts", "/srv/mlruns/1/m-0123/artifacts", "./mlruns/1/m-0123/artifacts",
        "s3://bucket/1/m-0123/artifacts", "r2://bucket@account.example/1/m-0123/artifacts",
        "wasbs://container@account.blob.core.windows.net/1/m-0123/artifacts",
        "abfss://container@account.dfs.core.windows.net/1/m-0123/artifacts", "sftp://ada@host/1/m-0123/artifacts",
    ],
)  # fmt: skip
def test_locations_where_mlflow_stores_artifacts_are_trusted(location: str) -> None:
    assert checked_location("model", MODEL_ID, location, SERVER) == MODEL_ID


@pytest.mark.parametrize(
    "location",
    [
        "http://evil/1/m-0123/artifacts", "http://host/1/m-0123/artifacts", "https://host:5000/1/m-0123/artifacts",
        r"http://evil\@host:5000/1/m-0123/artifacts", r"http://host:5000\@evil/1/m-0123/artifacts",
        r"mlflow-artifacts://evil\@host:5000/1/m-0123/artifacts", "mlflow-artifacts://evil/1/m-0123/artifacts",
        "file://share/1/m-0123/artifacts", "file:///home/ada/.ssh", "/home/ada/m-0124/artifacts", "http://[", "",
        "ftp://host/1/m-0123/artifacts", "models:/x/1", "postgresql://host/1/m-0123/artifacts",
    ],
)  # fmt: skip
def test_other_locations_are_not_trusted(location: str) -> None:
    for uri in (SERVER, "postgresql://ada:lovelace@host/mlflow", "sqlite:////srv/mlflow.db"):
        assert not is_trusted(MODEL_ID, location, uri)
    with pytest.raises(UserError) as raised:
        checked_location("model", MODEL_ID, location, SERVER)
    assert str(raised.value) == (
        f"tracking.uri=http://***@host:5000/mlflow: gives {location} as the location of the artifacts of model m-0123, "
        "where MLflow does not store any; nothing is sent there"
    )


@pytest.mark.parametrize("model_id", ["", "../m", "m\x1b[2J", "m\n", "m" * 65])
def test_an_id_that_mlflow_does_not_give_is_not_trusted(model_id: str) -> None:
    assert not is_trusted(model_id, f"/srv/mlruns/1/{model_id}/artifacts", SERVER)
