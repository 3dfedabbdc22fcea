"""What the warm child process does: it checks data and runs trials. Imports TensorFlow."""

import traceback
from collections.abc import Callable, Mapping

from omegaconf import DictConfig

from pipeline.config.validation import checked
from pipeline.data.cache import DataCache
from pipeline.data.prepare import unusable_splits
from pipeline.experiment.lineage import Lineage, parse_lineage
from pipeline.experiment.messages import print_note
from pipeline.experiment.restore_remote import NoCheckpoint
from pipeline.experiment.resume import Resumable, find_resumable
from pipeline.experiment.run import run_experiment
from pipeline.experiment.trial import Trial
from pipeline.runtime.cli import report
from pipeline.runtime.console import PreparationDisplay
from pipeline.runtime.errors import RerunDiffers, RunFailed, UserError
from pipeline.runtime.hardware import resolve_auto, set_up
from pipeline.runtime.signals import Interrupted
from pipeline.runtime.text import plain
from pipeline.sweep.worker.protocol import (
    Answer,
    CheckData,
    DataChecked,
    DataRefused,
    NeedsSettings,
    Request,
    RunTrial,
    Send,
    Stopped,
    StudyTrialArguments,
    TrialEnded,
    TrialStarted,
)
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.sweep_runs import record_failure
from pipeline.train.compiled import NetworkCache

OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError", "InternalError")  # a new process is safer after them
EXPECTED = (UserError, RunFailed, RerunDiffers)


class Worker:
    """Answers requests, and caches data and networks between them."""

    def __init__(self) -> None:
        self._data, self._networks = DataCache(), NetworkCache()

    def work(self, request: Request, send: Send) -> Answer:
        """Do what a request asks for. Nothing is raised but an interrupt between two requests.

        Args:
            send: called with the report that a trial's run exists.
        """
        try:
            return self._check_data(request) if isinstance(request, CheckData) else self._run_trial(request, send)
        except Interrupted:
            return Stopped()
        finally:
            self._networks.release_memory()

    def _check_data(self, request: CheckData) -> DataChecked | DataRefused:
        try:
            config = checked(DictConfig(request.config))
            set_up(resolve_auto(config))  # decoding is TensorFlow's first work, after which threads cannot be set
            with PreparationDisplay() as progress:
                # Whether a batch is too large is checked for each trial.
                dataset = self._data.dataset(config, progress, trains=False)
            if faults := unusable_splits(dataset, trains=True):
                raise UserError(*faults)
        except UserError as error:
            return DataRefused(list(error.faults))
        checked_data, root = dataset.checked, str(dataset.root.resolve())
        return DataChecked(checked_data.contents, config.dataset.name, root, dict(checked_data.split_digests))

    def _run_trial(self, request: RunTrial, send: Send) -> TrialEnded | NeedsSettings:
        prune = _pruning(request.study)
        run_key = request.resumes  # of the run that the trial has, once it has one

        def on_begin(key: str, validation: Mapping[int, float]) -> None:
            nonlocal run_key
            run_key = key
            send(TrialStarted(key))
            for epoch, score in validation.items():  # of the process that was interrupted
                prune(epoch, score)

        self._data.processes = request.jobs
        trial = Trial(request.name, request.tags, request.parent, on_begin, prune)
        try:
            config = checked(DictConfig(request.config))
            resumed = _resumable(request.resumes, config.tracking.uri)
            if resumed is None:
                run_key = None
                lineage = _lineage(request, config.tracking.uri)
            else:
                lineage = Lineage(resume=resumed)
                config = resumed.config  # with the `auto` values that were resolved when it began
                needed = NeedsSettings(int(config.threads), config.deterministic, config.kernels)
                if any(request.config[key] != value for key, value in vars(needed).items()):
                    return needed
            inputs = config, request.overrides, request.hydra_yaml
            result = run_experiment(*inputs, lineage, trial, self._data, self._networks)
        except EXPECTED as error:
            report(error)
            return _failed(request, error, run_key)
        except (Exception, SystemExit) as error:  # a library that would end the program ends the trial
            traceback.print_exc()
            self._networks.clear()  # nobody knows in which state it left them
            return _failed(request, error, run_key)
        return TrialEnded("pruned" if result.pruned else "finished", dict(result.metrics), run=result.name)


def _failed(request: RunTrial, error: BaseException, run_key: str | None) -> TrialEnded:
    """The answer to an exception. A trial without a run gets one, so that its failure is visible in MLflow."""
    kind = type(error).__name__
    run = RunRef.of(run_key).name if run_key else record_failure(vars(request), f"{kind}: {error}")
    reason = "; ".join(str(error).strip().splitlines()) or kind
    if not isinstance(error, EXPECTED):
        reason = f"{kind}: {reason}"
    return TrialEnded("failed", reason=reason, run=run, reusable=kind not in OUT_OF_MEMORY)


def _resumable(run_key: str | None, uri: str | None) -> Resumable | None:
    """The interrupted run of a trial, or None where it has none, or none that can be resumed.

    Raises:
        UserError: the run is alive or damaged.
    """
    if run_key is None:
        return None
    try:
        return find_resumable(run_key, uri)
    except NoCheckpoint as error:  # its machine, or its folder, may be gone for good
        print_note(f"{plain(str(error))}; the trial starts over")
        return None


def _lineage(request: RunTrial, uri: str | None) -> Lineage:
    """The run that the whole sweep repeats, if it repeats one."""
    address = [] if uri is None else [f"tracking.uri={uri}"]
    return parse_lineage([*request.lineage, *address])[0]


def _pruning(arguments: StudyTrialArguments | None) -> Callable[[int, float], bool]:
    if arguments is None:
        return lambda epoch, score: False
    from pipeline.sweep.study import StudyTrial

    return StudyTrial(**arguments).prune
