"""A trial's epochs as the study sees them: each is reported, and the pruner asked whether there should be more."""

import sys
from functools import cached_property

import optuna
from optuna.storages import BaseStorage

from pipeline.runtime.text import mask_credentials
from pipeline.sweep.study import make_pruner, open_storage

PRUNED_AT = "pruned_at"  # user attribute of trials: hyperband answers a question only once


class StudyTrial:
    """One trial of a study, seen from the process that trains it.

    The storage is opened for the first epoch that is told: one that does not answer when the trial begins may then.
    """

    def __init__(self, address: str, name: str, trial_id: int, pruner: str, epochs: int) -> None:
        self._address, self._name, self._id = address, name, trial_id
        self._pruner = make_pruner(pruner, epochs)

    @cached_property
    def _storage(self) -> BaseStorage:
        return open_storage(self._address)

    @cached_property
    def _study(self) -> optuna.Study:
        return optuna.load_study(study_name=self._name, storage=self._storage, pruner=self._pruner)

    def prune(self, epoch: int, score: float) -> bool:
        """Report an epoch's validation mean IoU; whether the trial is to end. Asked again it says the same.

        A storage that does not answer prunes nothing.
        """
        try:
            decided = self._storage.get_trial(self._id).user_attrs.get(PRUNED_AT)
            if decided is not None:
                return epoch >= int(decided)
            self._storage.set_trial_intermediate_value(self._id, epoch, score)
            if not self._study.pruner.prune(self._study, self._storage.get_trial(self._id)):
                return False
            self._storage.set_trial_user_attr(self._id, PRUNED_AT, epoch)
            return True
        except Exception as error:
            told = mask_credentials(str(error).strip().partition("\n")[0] or type(error).__name__)
            print(f"warning: epoch {epoch} is not told to the study: {told}", file=sys.stderr)
            return False
