"""The command that started a sweep: what it composes to, and what identifies the sweep and each trial in it."""

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

from pipeline.config.environment import experiment_name
from pipeline.config.fingerprint import NOT_IN_DEFAULTS, NOT_IN_SWEEP_NAME, NOT_IN_TRIAL_NAME, sources
from pipeline.config.hydra_files import CONF, PRIMARY, own_files
from pipeline.config.keys import short_names
from pipeline.config.schema import Config
from pipeline.experiment.lineage import Lineage
from pipeline.runtime.text import short_value

CHOOSE_DATA = (
    "dataset",
    "data_dir",
    "experiment",
    "debug",
    "overfit",
)  # prefixes of overrides that may select other data
TAG_LENGTH = 4000  # characters


@dataclass(frozen=True)
class Command:
    """The command line, and what Hydra needs to compose it."""

    hydra: HydraContext
    config: DictConfig  # with Hydra's own part
    lineage: Lineage
    arguments: list[str]  # overrides of the task

    @property
    def typed(self) -> list[str]:
        """The overrides of the task, `rerun=…` and `resume=auto` included."""
        return [*self.lineage.typed, *self.arguments]

    def parsed(self) -> list[Override]:
        """The overrides as Hydra parses them."""
        return OverridesParser.create(config_loader=self.hydra.config_loader).parse_overrides(self.arguments)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """A trial's configuration, not checked.

        Raises:
            HydraException, OmegaConfBaseException: it cannot be composed.
        """
        composed = self.hydra.config_loader.load_sweep_config(self.config, list(overrides))
        task = copy.deepcopy(composed)
        with open_dict(task):
            del task["hydra"]
        return task


def distinct_datasets(command: Command, trials: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Configurations that cover the data of all trials, one for each selection of data.

    Args:
        trials: the overrides of each.
    """
    chosen: dict[tuple[str, ...], Sequence[str]] = {}
    for trial in trials:
        chosen.setdefault(tuple(text for text in trial if text.lstrip("+").startswith(CHOOSE_DATA)), trial)
    found = []
    for trial in chosen.values():
        with contextlib.suppress(HydraException, OmegaConfBaseException):  # reported as that trial's failure
            found.append(command.compose(trial))
    return found


def sweep_name(config: Config, overrides: Iterable[str]) -> str:
    """`sweep.name`, or the experiment's name and a hash of the overrides, which does not depend on their order.

    Args:
        overrides: of the task, those of its lineage (`rerun=…`) included.
    """
    if config.sweep.name is not None:
        return config.sweep.name
    identifying = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_SWEEP_NAME))
    if (primary := own_files().primary) != PRIMARY:
        identifying.append(f"--config-name={primary}")
    digest = hashlib.sha256(json.dumps(identifying).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', experiment_name(config.tracking))[:80] or 'sweep'}-{digest[:8]}"


def trial_name(overrides: Sequence[str]) -> str:
    """What identifies a trial: all overrides that may change its result, sorted, as one line that fits into a tag."""
    identifying = sorted(override for override in overrides if not _key(override).startswith(NOT_IN_TRIAL_NAME))
    line = " ".join(identifying) or "defaults"
    if len(line) <= TAG_LENGTH:
        return line
    return f"{line[:TAG_LENGTH]} {hashlib.sha256(line.encode()).hexdigest()}"


def sources_and_defaults() -> dict[str, str]:
    """{name: SHA-256} of all code and defaults that a trial's result depends on."""
    defaults = {
        f"conf/{path.relative_to(CONF).as_posix()}": hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(CONF.rglob("*.yaml"))
        if not path.relative_to(CONF).as_posix().startswith(NOT_IN_DEFAULTS)
    }
    own = {
        f"{file.relative_to(folder).as_posix()} of --config-dir or hydra.searchpath": hashlib.sha256(
            file.read_bytes()
        ).hexdigest()
        for folder in own_files().folders
        for file in sorted(folder.rglob("*.yaml"))
    }
    return sources() | defaults | own


def label(values: dict[str, str]) -> str:
    """`depth=3 learning_rate=0.001`: the parameters in which a trial may differ from the others."""
    names = short_names(list(values))
    bare = {key: value.strip("'\"") for key, value in values.items()}
    return " ".join(f"{names[key]}={short_value(value)}" for key, value in bare.items())


def _key(override: str) -> str:
    return override.lstrip("+~")
