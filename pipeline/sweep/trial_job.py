"""What a launcher runs for each trial, in whatever process it runs it: have the warm child of that process train it.

Hydra's launchers carry these objects to other processes by pickling them themselves; nothing of it comes from outside.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.config.environment import null_values
from pipeline.runtime import output, signals
from pipeline.runtime.hardware import threads_each
from pipeline.runtime.kernels import resolve
from pipeline.runtime.process import Process
from pipeline.sweep.progress import SweepProgress
from pipeline.sweep.stopping import StopState, ends_with_sweep
from pipeline.sweep.worker.client import Settings, WorkerDied, close_worker, warm_worker
from pipeline.sweep.worker.protocol import NeedsSettings, RunTrial, Stopped, StudyTrialArguments, TrialEnded

STATUSES = ("finished", "pruned", "failed", "interrupted", "skipped")


@dataclass(frozen=True)
class TrialSpec:
    """One trial to be run."""

    number: int  # of the trial, from 0
    label: str  # the parameters in which it differs from the other trials
    tags: dict[str, str]
    resumes: str | None = None  # run_key of the interrupted run of this trial
    study: StudyTrialArguments | None = None


@dataclass(frozen=True)
class TrialResult:
    """How a trial ended."""

    label: str
    status: str  # one of STATUSES
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""
    run: str = ""  # MLflow's id, or the run's key
    seconds: float = 0.0
    earlier: bool = False  # known from an earlier start


@dataclass(frozen=True)
class TrialJob:
    """The task that a launcher is given. It raises nothing but an interrupt: launchers stop at an exception."""

    specs: dict[int, TrialSpec]  # by job number
    parent: str  # run_key of the sweep's own run
    lineage: tuple[str, ...]  # `rerun=…` or `resume=auto`, as typed
    jobs: int  # that share the processors which one of them may use
    stop_state: StopState
    progress: SweepProgress
    threads: int | None = None  # of each job, where the launcher decides it
    sweep_process: Process = field(default_factory=Process.this)
    sweep_folder: str = field(default_factory=os.getcwd)
    tracking: dict[str, str | None] = field(default_factory=null_values)  # another machine has another environment

    def __call__(self, composed: DictConfig) -> TrialResult:
        """Run the trial of the job that Hydra has just composed."""
        hydra_config = HydraConfig.get()
        spec = self.specs[int(hydra_config.job.num)]
        in_launcher_process = not self.sweep_process.is_this_process
        if in_launcher_process:
            self._settle()
        if self.stop_state.forbids_trials:
            return TrialResult(spec.label, "skipped", reason="the sweep was stopped before this trial")
        of = f"/{self.progress.total}" if self.progress.total else ""
        print(f"\ntrial {spec.number + 1}{of}: {spec.label}", flush=True)
        started = time.perf_counter()
        try:
            request = self._request(composed, spec, hydra_config)
            with (
                ends_with_sweep(self.sweep_process, self.stop_state)
                if in_launcher_process
                else contextlib.nullcontext()
            ):
                ended = _run(request, self.stop_state)
        except Exception as error:  # a bug of this program must not end the other trials
            ended = TrialEnded("failed", reason=f"{type(error).__name__}: {error}")
        if ended.status == "failed":
            self.stop_state.add_failure()
        seconds = time.perf_counter() - started
        if ended.status != "interrupted":
            with contextlib.suppress(OSError):  # a full disk, or a folder that another machine does not have
                print(self.progress.end(spec.number, spec.label, ended.status, ended.metrics, seconds), flush=True)
        return TrialResult(spec.label, ended.status, ended.metrics, ended.reason, ended.run, seconds)

    def _settle(self) -> None:
        """In a launcher's process: work where the sweep was started, if that folder is on this machine."""
        if threading.current_thread() is threading.main_thread():
            # A terminal sends Ctrl-C, and its end, to all processes; the sweep's own process passes them on.
            for number in (signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        output.protect()
        output.make_expendable()
        if os.path.isdir(self.sweep_folder):
            os.chdir(self.sweep_folder)

    def _request(self, composed: DictConfig, spec: TrialSpec, hydra_config: Any) -> RunTrial:
        config = for_worker(composed, self.jobs, self.threads)
        given = {key: value for key, value in config["tracking"].items() if value is not None}
        return RunTrial(
            config={**config, "tracking": {**self.tracking, **given}},
            overrides=[*self.lineage, *hydra_config.overrides.task],
            hydra_yaml=OmegaConf.to_yaml(hydra_config),
            lineage=list(self.lineage),
            name=spec.label,
            tags=spec.tags,
            parent=self.parent,
            resumes=spec.resumes,
            study=spec.study,
            jobs=self.jobs,
        )


def for_worker(composed: DictConfig, jobs: int, threads: int | None = None) -> dict[str, Any]:
    """A composed configuration as plain values, `kernels` resolved; `threads=auto` is `threads`, or a share of all.

    Args:
        jobs: that run at the same time and share the processors.
    """
    config = OmegaConf.to_container(composed)
    assert isinstance(config, dict)
    if config["threads"] == "auto":
        config["threads"] = threads or threads_each(jobs)
    config["kernels"] = resolve(config["kernels"])
    return {str(key): value for key, value in config.items()}


def settings_of(config: dict[str, Any]) -> Settings:
    """What TensorFlow is set up with once in a process."""
    return config["threads"], config["deterministic"], config["kernels"]


def _run(request: RunTrial, stop_state: StopState) -> TrialEnded:
    """Have the warm child run a trial; a child that dies fails it, unless it was ended before it began."""
    started: list[str] = []
    worker = warm_worker(settings_of(request.config))
    try:
        answer = worker.ask(request, started.append)
    except WorkerDied as error:
        close_worker()
        if stop_state.stop_requested and not started:
            return TrialEnded("interrupted")
        reason = str(error)
        print(f"error: {reason}", file=sys.stderr)
        run_key = started[0] if started else request.resumes
        return TrialEnded("failed", reason=reason, run=_record_death(request, run_key, reason))
    except signals.Interrupted:
        close_worker()
        raise
    if isinstance(answer, NeedsSettings):
        return _run(replace(request, config={**request.config, **vars(answer)}), stop_state)
    if isinstance(answer, Stopped):
        close_worker()
        return TrialEnded("interrupted")
    assert isinstance(answer, TrialEnded)
    if not answer.reusable:
        close_worker()
    return answer


def _record_death(request: RunTrial, run_key: str | None, reason: str) -> str:
    """Mark the run of a trial whose process died as FAILED; returns MLflow's id of it, or its key."""
    from pipeline.config.schema import TrackingConfig
    from pipeline.tracking.run_ref import RunRef
    from pipeline.tracking.sweep_runs import mark_failed, record_failure

    if run_key is None or not RunRef.of(run_key).is_here:  # a run of another machine stays as it is
        return record_failure(vars(request), reason)
    tracking = request.config["tracking"]
    return mark_failed(run_key, TrackingConfig(uri=tracking["uri"], experiment=tracking["experiment"]), reason)
