"""A trial that failed before it had a run: a run of its own, so that it is seen among the others."""

import contextlib
import uuid
from typing import Any

from omegaconf import OmegaConf

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.journal import Journal
from pipeline.tracking.sweep_runs import mark_failed
from pipeline.tracking.tracked_run import RUNS, write_begin


def record_failure(request: dict[str, Any], reason: str) -> str:
    """Write down a FAILED run for a request of a trial; returns MLflow's id of it, or its key."""
    config, key = request["config"], uuid.uuid4().hex
    tracking = TrackingConfig(config["tracking"].get("uri"), config["tracking"]["experiment"])
    with contextlib.closing(Journal(RUNS / key)) as journal:
        text = OmegaConf.to_yaml(OmegaConf.create(config))
        write_begin(
            journal, tracking, request["name"], dict(request["tags"]), text, request["overrides"], request["parent"]
        )
        values = {name: mask_credentials(str(value))[:6000] for name, value in _flat(config)}
        journal.append("params", values=values)
    return mark_failed(key, tracking, reason)


def _flat(values: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in values.items():
        found += _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]
    return found
