"""MLflow's environment variables hold where the configuration says nothing."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from pipeline.config.addresses import LOCAL, recorded_uri, tracking_uri
from pipeline.config.environment import fill
from pipeline.config.overrides import checked_config
from pipeline.config.schema import TrackingConfig
from pipeline.config.stored import parse_config
from pipeline.runtime.errors import UserError


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def set_all(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"MLFLOW_{name}", value)


def test_variables_hold_where_keys_are_null(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TRACKING_URI="http://host", EXPERIMENT_NAME="theirs", RUN_NAME="named")
    tracking = checked_config([]).tracking
    fill(tracking)
    assert tracking == TrackingConfig("http://host", "theirs", "named")
    typed = ["tracking.uri=sqlite:///a.db", "tracking.experiment=mine", "tracking.run_name=x"]
    tracking = checked_config(typed).tracking
    fill(tracking)
    assert tracking == TrackingConfig("sqlite:///a.db", "mine", "x")


def test_without_variables_the_defaults_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, TRACKING_URI="", EXPERIMENT_NAME="")  # MLflow ignores empty ones, too
    tracking = checked_config([]).tracking
    fill(tracking)
    assert tracking == TrackingConfig(None, "segmentation", None)


def test_the_address_of_the_environment_is_the_default_of_all(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = f"sqlite:///{own_folder}/mlruns/mlflow.db"
    assert tracking_uri(None) == tracking_uri(LOCAL) == default
    set_all(monkeypatch, TRACKING_URI="sqlite:///theirs.db")
    assert tracking_uri(None) == f"sqlite:///{own_folder}/theirs.db"
    assert tracking_uri(LOCAL) == default
    for address in ("databricks", "databricks://work"):
        set_all(monkeypatch, TRACKING_URI=address)
        assert tracking_uri(None) == address


@pytest.mark.parametrize("address", ["./mlruns", "file:///x", "ftp://host"])
def test_a_fault_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    set_all(monkeypatch, TRACKING_URI=address)
    with pytest.raises(UserError, match=f"^MLFLOW_TRACKING_URI={address}: http://, https://, sqlite:///"):
        checked_config([])
    assert checked_config(["tracking.uri=sqlite:///a.db"]).tracking.uri == "sqlite:///a.db"


@pytest.mark.parametrize("address", ["file:///x", "azureml://x", "sqlite:///~nobody-at-all/x.db", "http://u:it's@host"])
def test_addresses_are_checked_where_they_are_used_only(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The reader's variable may be for another program, and a stored address valid on the machine of the run only."""
    config = checked_config([])
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert config.tracking.uri is None and parse_config(text, "here") == config
    with pytest.raises(UserError, match=r"^MLFLOW_TRACKING_URI="):
        checked_config([], config)
    assert checked_config(["tracking.uri=sqlite:///x.db"], config).tracking.uri == "sqlite:///x.db"
    there = parse_config(text.replace("  uri: null", f'  uri: "{address}"'), "here")
    assert there.tracking.uri == address
    with pytest.raises(UserError, match=r"^tracking\.uri="):
        checked_config([], there)


@pytest.mark.parametrize(
    ("uri", "recorded"),
    [
        (None, None), (LOCAL, None), ("sqlite:///{here}/mlruns/mlflow.db", None),
        ("sqlite:///a b.db", "sqlite:///a b.db"),
        ("sqlite:///{here}/x/y.db?timeout=3", "sqlite:///x/y.db?timeout=3"), ("sqlite:////srv/y.db", "sqlite:////srv/y.db"),
        ("http://ada:secret@host", "http://***@host"),
    ],
)  # fmt: skip
def test_a_journal_records_what_holds_in_a_copied_folder(own_folder: Path, uri: str | None, recorded: str) -> None:
    assert recorded_uri(uri and uri.format(here=own_folder)) == recorded
