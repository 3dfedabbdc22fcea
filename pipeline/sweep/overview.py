"""What the sweep's own run shows in MLflow: what varies, how many trials have ended, and the best one so far."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hydra.core.override_parser.types import Override

from pipeline.config.schema import Config
from pipeline.sweep.objectives import direction, metric_of, score
from pipeline.sweep.trial_job import TrialResult
from pipeline.sweep.worker.protocol import DataChecked
from pipeline.tracking.local_runs import find_local
from pipeline.tracking.records import DatasetUsed, Images, Metrics, Params
from pipeline.tracking.shared_view import sweep_view
from pipeline.tracking.tracked_run import TrackedRun


def ranges(overrides: Sequence[Override]) -> dict[str, str]:
    """The values of each key that varies, as they were typed."""
    return {
        override.get_key_element().lstrip("+"): str(override.input_line).partition("=")[2]
        for override in overrides
        if override.is_sweep_override()
    }


@dataclass(frozen=True)
class Overview:
    """Writes to the sweep's own run."""

    run: TrackedRun
    name: str
    config: Config  # of the first values
    varying: dict[str, str]  # the values of each key that varies, as they were typed

    def describe(self, data: Sequence[DataChecked], new: bool) -> None:
        """Log what is known before the first trial.

        Args:
            data: of the trials.
            new: whether the run has just been created. Only then are the ranges its parameters, which MLflow lets
                nobody change; a later start may have others, which are in the tag `varies` alone.
        """
        if new and not self.run.journal.of(Params):
            self.run.log_params(self.varying)
        self.run.set_tags({"varies": " ".join(f"{key}={values}" for key, values in self.varying.items())})
        known = {(record.split, record.digest) for record in self.run.journal.of(DatasetUsed)}
        for checked in data:
            for split, digest in checked.digests.items():
                if (split, digest) not in known:
                    self.run.log_dataset(split, f"{checked.name}-{split}", Path(checked.root), digest)
        self._share_view([])

    def update(self, results: Mapping[int, TrialResult]) -> None:
        """Log how many trials have ended, and the best score up to each of them.

        Args:
            results: by trial number, from 0.
        """
        counts = Counter(result.status for result in results.values())
        tags = {"trials": str(len(results))}
        tags |= {f"{status}_trials": str(counts[status]) for status in ("finished", "pruned", "failed")}
        for objective in self.config.sweep.objectives:
            best = self._log_best(objective, results)
            if best is not None and len(self.config.sweep.objectives) == 1:  # of several, there is no best trial
                found = results[best]
                tags |= {"best_trial": str(best + 1), "best_run": found.run, "best_values": found.label}
        self.run.set_tags(tags)

    def finish(self, results: Mapping[int, TrialResult]) -> None:
        """Let the view of the sweep show the images that its trials have logged."""
        self.update(results)
        self._share_view(next(filter(None, map(_image_keys, results.values())), []))

    def _log_best(self, objective: str, results: Mapping[int, TrialResult]) -> int | None:
        """Log the best score so far by trial, counted from 1; returns the number of the trial that has it."""
        sign = 1 if direction(objective) == "maximize" else -1
        known = self.run.journal.history().get(metric_of(objective), {})
        best: tuple[float, int] | None = None
        for number in sorted(results):
            result = results[number]
            value = score(result.metrics, objective) if result.status == "finished" else None
            if value is not None and (best is None or sign * value > sign * best[0]):
                best = value, number
            if best is not None and known.get(number + 1) != best[0]:
                # A trial may end after later ones: when it is retried, or next to them. The last value counts.
                self.run.journal.append(Metrics(number + 1, {metric_of(objective): best[0]}))
        return None if best is None else best[1]

    def _share_view(self, images: Sequence[str]) -> None:
        objectives = [metric_of(objective) for objective in self.config.sweep.objectives]
        created = self.run.journal.begin.time
        value = sweep_view(self.name, created, list(self.varying), objectives, images, self.config.epochs)
        self.run.share_view(value)


def _image_keys(result: TrialResult) -> list[str]:
    """The keys of validation images of a trial whose journal is on this machine."""
    run = find_local(result.run)
    records = [] if run is None else run.records()
    return next((record.keys for record in records if isinstance(record, Images) and record.split == "val"), [])
