"""What makes a sweep the same sweep, and a trial the same trial, from one start to the next."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence

from pipeline.config.fingerprint import CONF_NOT_IN_TRIAL, NOT_IN_SWEEP, NOT_IN_TRIAL, sources
from pipeline.config.hydra_files import CONF
from pipeline.config.keys import short_names
from pipeline.config.schema import Config
from pipeline.runtime.text import short_value

LONGEST = 4000  # characters of a tag


def sweep_name(config: Config, overrides: Iterable[str]) -> str:
    """The configured name, or the experiment's and a hash of what was typed, whatever its order.

    Args:
        overrides: of the task, those of its origin (`rerun=…`) included.
    """
    if config.sweep.name is not None:
        return config.sweep.name
    counted = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_SWEEP))
    digest = hashlib.sha256(json.dumps(counted).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', config.tracking.experiment)[:80] or 'sweep'}-{digest[:8]}"


def trial_of(overrides: Sequence[str]) -> str:
    """What a trial is known by: all overrides that may change its result, in one order, as one line."""
    counted = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_TRIAL))
    line = " ".join(counted) or "defaults"
    if len(line) <= LONGEST:
        return line
    return f"{line[:LONGEST]} {hashlib.sha256(line.encode()).hexdigest()}"


def sources_and_defaults() -> dict[str, str]:
    """{name: SHA-256} of all code and defaults that a trial's result depends on."""
    defaults = {
        f"conf/{path.relative_to(CONF).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(CONF.rglob("*.yaml"))
        if not path.relative_to(CONF).as_posix().startswith(CONF_NOT_IN_TRIAL)
    }
    return sources() | defaults


def label(values: dict[str, str]) -> str:
    """`depth=3 learning_rate=0.001`: the parameters of a trial in which it may differ from the others."""
    names = short_names(list(values))
    bare = {key: value.strip("'\"") for key, value in values.items()}
    return " ".join(f"{names[key]}={short_value(value)}" for key, value in bare.items())


def _key(override: str) -> str:
    return override.lstrip("+~")
