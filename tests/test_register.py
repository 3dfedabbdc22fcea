"""`python -m pipeline.register`: names that MLflow refuses are refused before anything is registered."""

import re

import pytest

from pipeline import register
from pipeline.runtime.errors import UserError


@pytest.mark.parametrize("alias", ["v1", "V1", "latest", "Latest", "LATEST", "a b", "é", "a" * 256])
def test_an_alias_that_mlflow_refuses_is_refused_first(alias: str) -> None:
    with pytest.raises(UserError) as refused:
        register.main(["run=a", "name=streets", f"alias={alias}"])
    (fault,) = refused.value.faults
    assert fault.startswith(f"alias={alias}: letters, digits, - and _ expected; ")


@pytest.mark.parametrize("alias", ["production", "Production", "v", "v1a", "latest-1", "1", "a" * 255])
def test_other_aliases_are_not(alias: str) -> None:
    assert register._name_faults("streets", alias) == []


def test_all_faults_are_reported_together() -> None:
    with pytest.raises(UserError) as refused:
        register.main(["run=a", "sweep=b", "name=a/b", "alias=V1"])
    assert [re.split("[=:]", fault)[0] for fault in refused.value.faults] == ["name", "alias", "run"]
