"""Optuna's part of a search: its storage, the study, samplers and pruners by name, and the epochs of a trial."""

import importlib.util
import json
import logging
import sys
import warnings
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config.addresses import JOURNAL, database_file
from pipeline.config.schema import SweepConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import locked
from pipeline.runtime.text import mask_credentials
from pipeline.sweep.objectives import direction

NEEDS = {"cmaes": "cmaes", "gp": "torch"}  # packages that samplers need besides Optuna
PRUNED_AT = "pruned_at"  # user attribute of trials: hyperband answers for an epoch only once


def open_storage(address: str) -> BaseStorage:
    """The storage at an absolute address, created where it does not exist.

    Raises:
        UserError: it does not answer.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        if address.startswith(JOURNAL):
            file = Path(address.removeprefix(JOURNAL))
            file.parent.mkdir(parents=True, exist_ok=True)
            return JournalStorage(JournalFileBackend(str(file)))
        if (database := database_file(address)) is None:
            return RDBStorage(address)
        # Several processes may open a database that does not exist: one at a time creates its tables.
        with locked(database.parent / f".{database.name}.lock"):
            return RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 60}})
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = mask_credentials(str(error).strip().splitlines()[0])
        raise UserError(f"sweep.storage={mask_credentials(address)}: {reason}") from error


def open_study(storage: BaseStorage, name: str, sweep: SweepConfig, space: dict[str, str], epochs: int) -> optuna.Study:
    """The study of a sweep, created where it does not exist.

    Raises:
        UserError: a study of this name has another search space or other objectives.
    """
    study = optuna.create_study(
        storage=storage,
        study_name=name,
        sampler=make_sampler(sweep.sampler, 0, parallel=False),
        pruner=make_pruner(sweep.pruner, epochs),
        directions=[direction(objective) for objective in sweep.objectives],
        load_if_exists=True,
    )
    searched = {"space": json.dumps(space), "objectives": json.dumps(sweep.objectives)}
    for what, now in searched.items():
        before = study.user_attrs.get(what)
        if before is None:
            study.set_user_attr(what, now)
        elif before != now:
            raise UserError(
                f"sweep.name={name}: its earlier trials have the {what} {before}, not {now}; give another sweep.name"
            )
    return study


def check_sampler(sweep: SweepConfig, address: str) -> None:
    """Refuse a sampler that cannot be used.

    Raises:
        UserError: its package is not installed, or it would read pickles from a server.
    """
    package = NEEDS.get(sweep.sampler)
    if package is not None and importlib.util.find_spec(package) is None:
        raise UserError(f"sweep.sampler={sweep.sampler}: needs the package {package}: pip install {package}")
    if sweep.sampler == "cmaes" and database_file(address) is None:
        raise UserError(
            "sweep.sampler=cmaes: stores its state as a pickle, which anyone with access to a shared storage could "
            "replace; a sqlite:/// storage expected"
        )


def make_sampler(name: str, seed: int, parallel: bool) -> BaseSampler:
    """A sampler; a new one for each trial makes its draws depend on the seed and the study alone."""
    samplers: dict[str, Any] = {
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=parallel),
        "cmaes": lambda: optuna.samplers.CmaEsSampler(seed=seed),
        "random": lambda: optuna.samplers.RandomSampler(seed=seed),
        "nsga2": lambda: optuna.samplers.NSGAIISampler(seed=seed),
        "gp": lambda: optuna.samplers.GPSampler(seed=seed),
    }
    sampler: BaseSampler = samplers[name]()
    return sampler


def make_pruner(name: str, epochs: int) -> BasePruner:
    """A pruner; it has no state of its own, and reads the study."""
    if name == "median":
        return MedianPruner()
    return HyperbandPruner(min_resource=1, max_resource=epochs) if name == "hyperband" else NopPruner()


class StudyTrial:
    """One trial of a study, for the process that trains it: reports its epochs and asks the pruner.

    The storage is opened for the first report: it need not answer yet when the trial begins.
    """

    def __init__(self, address: str, name: str, trial_id: int, pruner: str, epochs: int) -> None:
        self._address, self._name, self._trial_id = address, name, trial_id
        self._pruner = make_pruner(pruner, epochs)

    @cached_property
    def _storage(self) -> BaseStorage:
        return open_storage(self._address)

    @cached_property
    def _study(self) -> optuna.Study:
        return optuna.load_study(study_name=self._name, storage=self._storage, pruner=self._pruner)

    def prune(self, epoch: int, score: float) -> bool:
        """Report an epoch's validation mean IoU; returns whether the trial is to end there.

        Reported again, an epoch gets the same answer. A storage that does not answer prunes nothing.
        """
        try:
            decided = self._storage.get_trial(self._trial_id).user_attrs.get(PRUNED_AT)
            if decided is not None:
                return epoch >= int(decided)
            self._storage.set_trial_intermediate_value(self._trial_id, epoch, score)
            if not self._study.pruner.prune(self._study, self._storage.get_trial(self._trial_id)):
                return False
            self._storage.set_trial_user_attr(self._trial_id, PRUNED_AT, epoch)
            return True
        except Exception as error:
            reason = mask_credentials(str(error).strip().partition("\n")[0] or type(error).__name__)
            print(f"warning: epoch {epoch} is not reported to the study: {reason}", file=sys.stderr)
            return False
