"""What a warm child process does: look at the data, and run trials. It imports TensorFlow."""

import traceback
from collections.abc import Callable, Mapping
from typing import Any

from omegaconf import DictConfig

from pipeline.config.schema import Config
from pipeline.config.validation import checked
from pipeline.data.cache import DataCache
from pipeline.experiment.lineage import Lineage, parse_lineage
from pipeline.experiment.restore_remote import NoCheckpoint
from pipeline.experiment.resume import find_resumable
from pipeline.experiment.run import run_experiment
from pipeline.experiment.trial import Trial
from pipeline.runtime.cli import report
from pipeline.runtime.console import PreparationDisplay, text_console
from pipeline.runtime.errors import RerunDiffers, RunFailed, UserError
from pipeline.runtime.hardware import resolve_auto, set_up
from pipeline.runtime.signals import Interrupted
from pipeline.runtime.text import plain
from pipeline.sweep.worker.__main__ import Message, Tell
from pipeline.sweep.worker.memory import forget_trial
from pipeline.tracking.failed_runs import record_failure
from pipeline.tracking.local_runs import local_id
from pipeline.tracking.tracked_run import RUNS

NO_MORE_MEMORY = ("MemoryError", "ResourceExhaustedError", "InternalError")  # after them, a fresh process is safer


class Worker:
    """Answers requests; see `pipeline.sweep.trial_job` for what they hold."""

    def __init__(self) -> None:
        self._kept = DataCache()

    def work(self, request: Message, tell: Tell) -> Message:
        """Do what is asked for. Nothing but an interrupt at the wrong time is raised."""
        try:
            return self._look_at_data(request) if request["kind"] == "data" else self._trial(request, tell)
        except Interrupted:
            return {"status": "interrupted"}
        finally:
            forget_trial()

    def _look_at_data(self, request: Message) -> Message:
        try:
            config = checked(DictConfig(request["config"]))
            set_up(resolve_auto(config))  # decoding is TensorFlow's first work, after which threads cannot be set
            with PreparationDisplay() as progress:
                # Whether a batch is too large is for each trial to find out.
                dataset = self._kept.dataset(config, progress, trains=False)
        except UserError as error:
            return {"status": "refused", "faults": list(error.faults)}
        return {"status": "looked", "contents": dataset.checked.contents, "digest": dataset.checked.digest}

    def _trial(self, request: Message, tell: Tell) -> Message:
        begun: list[str] = []

        def began(run_key: str, validation: Mapping[int, float]) -> None:
            begun.append(run_key)
            tell({"kind": "began", "key": run_key})
            for epoch, score in validation.items():  # of the process that was interrupted
                prune(epoch, score)

        prune = _pruning(request["study"])
        trial = Trial(request["name"], request["tags"], request["parent"], began, prune)
        try:
            config = checked(DictConfig(request["config"]))
            origin = _origin(request, config)
            if origin.resume is not None:  # it goes on as it began, in an `auto` that was resolved then
                config = origin.resume.config
                settings = {"threads": config.threads, "deterministic": config.deterministic}
                if any(request["config"][key] != value for key, value in settings.items()):
                    return {"status": "unsettled", "settings": settings}
            result = run_experiment(config, request["overrides"], request["hydra"], origin, trial, self._kept)
        except (UserError, RunFailed, RerunDiffers) as error:
            report(error)
            return self._failed(request, error, begun)
        except (Exception, SystemExit) as error:  # a library that would end the program ends the trial
            traceback.print_exc()
            return self._failed(request, error, begun) | {"replace": type(error).__name__ in NO_MORE_MEMORY}
        return {
            "status": "pruned" if result.pruned else "finished",
            "metrics": dict(result.metrics),
            "run": result.name,
        }

    def _failed(self, request: Message, error: BaseException, begun: list[str]) -> Message:
        """What an exception comes to; a trial that had no run yet gets one, so that it can be seen."""
        reason = f"{type(error).__name__}: {error}"
        key = begun[0] if begun else request["continues"]
        run = (local_id(RUNS / key) or key) if key else record_failure(request, reason)
        told = "; ".join(str(error).strip().splitlines()) or type(error).__name__
        if not isinstance(error, UserError | RunFailed | RerunDiffers):
            told = f"{type(error).__name__}: {told}"
        return {"status": "failed", "reason": told, "run": run}


def _origin(request: Message, config: Config) -> Lineage:
    """The run that a trial continues, if it can be, or that the whole sweep repeats."""
    uri = config.tracking.uri
    if request["continues"]:
        try:
            return Lineage(resume=find_resumable(request["continues"], uri))
        except NoCheckpoint as error:  # its machine, or its folder, may be gone for good
            text_console().print(f"note      {plain(str(error))}; the trial begins anew", soft_wrap=True)
            request["continues"] = None  # what fails from here on is a run of its own
    address = [] if uri is None else [f"tracking.uri={uri}"]
    return parse_lineage([*request["origin"], *address])[0]


def _pruning(study: dict[str, Any] | None) -> Callable[[int, float], bool]:
    if study is None:
        return lambda epoch, score: False
    from pipeline.sweep.pruning import StudyTrial

    return StudyTrial(**study).prune
