"""optuna-dashboard opens the study of a search."""

import json
from collections.abc import Callable
from typing import Any
from wsgiref.util import setup_testing_defaults

import pytest

from pipeline.sweep.search import Search
from tests.sweep.searches import work

dashboard = pytest.importorskip("optuna_dashboard", reason="needs the extra dashboard: optuna-dashboard")


def test_the_dashboard_lists_the_trials_of_a_search(search: Callable[..., Search]) -> None:
    found = work(search(n_trials=3))
    app: Any = dashboard.wsgi(found.queue.study._storage)

    def get(path: str) -> Any:
        statuses: list[str] = []
        environ: dict[str, Any] = {"PATH_INFO": path}
        setup_testing_defaults(environ)
        content = b"".join(app(environ, lambda status, *_: statuses.append(status)))
        assert statuses == ["200 OK"], content
        return json.loads(content)

    (study,) = [each for each in get("/api/studies")["study_summaries"] if each["study_name"] == found.queue.name]
    trials = get(f"/api/studies/{study['study_id']}")["trials"]
    assert [trial["state"] for trial in trials] == ["Complete"] * 3
    names = [{param["name"] for param in trial["params"]} for trial in trials]
    assert names == [set(found.queue.space.distributions)] * 3
