"""Which places of artifacts are believed, whoever named them."""

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tracking.artifact_uris import believed, in_its_own_place

ID, SERVER = "m-0123", "http://ada:lovelace@host:5000/mlflow"


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
def test_places_where_mlflow_keeps_artifacts_are_believed(location: str) -> None:
    assert believed("model", ID, location, SERVER) == ID


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
def test_other_places_are_not(location: str) -> None:
    for uri in (SERVER, "postgresql://ada:lovelace@host/mlflow", "sqlite:////srv/mlflow.db"):
        assert not in_its_own_place(ID, location, uri)
    with pytest.raises(UserError) as told:
        believed("model", ID, location, SERVER)
    assert str(told.value) == (
        f"tracking.uri=http://***@host:5000/mlflow: says that the artifacts of model m-0123 are in {location}, which "
        "is no place for them"
    )


@pytest.mark.parametrize("id", ["", "../m", "m\x1b[2J", "m\n", "m" * 65])
def test_an_id_that_is_none_of_mlflows_is_not(id: str) -> None:
    assert not in_its_own_place(id, f"/srv/mlruns/1/{id}/artifacts", SERVER)
