"""What was typed to start a sweep, what it composes to, and what identifies a sweep and each of its trials by it."""

import contextlib
import copy
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.fingerprint import sources
from pipeline.config.hydra_files import CONF
from pipeline.config.keys import short_names
from pipeline.config.schema import Config
from pipeline.experiment.lineage import Lineage
from pipeline.runtime.text import short_value

CHOOSE_DATA = ("dataset", "data_dir", "experiment")


@dataclass(frozen=True)
class Command:
    """What was typed, and what Hydra needs to compose it."""

    hydra: HydraContext
    config: DictConfig  # Hydra's own part is in it
    origin: Lineage
    arguments: list[str]  # overrides of the task

    def parsed(self) -> list[Override]:
        """The overrides."""
        return OverridesParser.create(config_loader=self.hydra.config_loader).parse_overrides(self.arguments)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """A trial's configuration, not checked."""
        composed = self.hydra.config_loader.load_sweep_config(self.config, list(overrides))
        task = copy.deepcopy(composed)
        with open_dict(task):
            del task["hydra"]
        return task


def distinct_datasets(command: Command, trials: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Configurations of trials with all the data among them, each once as far as the overrides tell."""
    chosen: dict[tuple[str, ...], Sequence[str]] = {}
    for trial in trials:
        chosen.setdefault(tuple(text for text in trial if text.lstrip("+").startswith(CHOOSE_DATA)), trial)
    found = []
    for trial in chosen.values():
        with contextlib.suppress(HydraException, OmegaConfBaseException):  # the trial itself will tell
            found.append(command.compose(trial))
    return found


# Overrides that change neither what is trained nor what is compared.
NOT_IN_IT = ("tracking=", "tracking.", "sweep.name", "sweep.max_failures", "sweep.retry_failed", "hydra.", "hydra/")


# Of a trial neither what the search wants nor where it is kept matters: another search may use its result.
NOT_IN_A_TRIAL = (*NOT_IN_IT, "sweep.", "sweep=", "resume=")


WITHOUT_EFFECT = ("tracking/", "sweep/", "hydra/")  # files of conf/


LONGEST = 4000  # characters of a tag


def sweep_name(config: Config, overrides: Iterable[str]) -> str:
    """The configured name, or the experiment's and a hash of what was typed, whatever its order.

    Args:
        overrides: of the task, those of its origin (`rerun=…`) included.
    """
    if config.sweep.name is not None:
        return config.sweep.name
    counted = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_IT))
    digest = hashlib.sha256(json.dumps(counted).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', config.tracking.experiment)[:80] or 'sweep'}-{digest[:8]}"


def trial_of(overrides: Sequence[str]) -> str:
    """What a trial is known by: all overrides that may change its result, in one order, as one line."""
    counted = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_A_TRIAL))
    line = " ".join(counted) or "defaults"
    if len(line) <= LONGEST:
        return line
    return f"{line[:LONGEST]} {hashlib.sha256(line.encode()).hexdigest()}"


def sources_and_defaults() -> dict[str, str]:
    """{name: SHA-256} of all code and defaults that a trial's result depends on."""
    defaults = {
        f"conf/{path.relative_to(CONF).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(CONF.rglob("*.yaml"))
        if not path.relative_to(CONF).as_posix().startswith(WITHOUT_EFFECT)
    }
    return sources() | defaults


def label(values: dict[str, str]) -> str:
    """`depth=3 learning_rate=0.001`: the parameters of a trial in which it may differ from the others."""
    names = short_names(list(values))
    bare = {key: value.strip("'\"") for key, value in values.items()}
    return " ".join(f"{names[key]}={short_value(value)}" for key, value in bare.items())


def _key(override: str) -> str:
    return override.lstrip("+~")
