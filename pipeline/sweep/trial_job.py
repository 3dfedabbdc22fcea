"""What a launcher runs for each trial, in whatever process it runs it: ask the warm child there, answer a small table.

Hydra's launchers carry these objects to other processes by pickling them themselves; nothing of it comes from outside.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from pipeline.runtime import signals
from pipeline.runtime.hardware import threads_each
from pipeline.runtime.process import Process
from pipeline.sweep.given_up import Failures
from pipeline.sweep.stopping import stopped_with
from pipeline.sweep.worker.client import Message, WorkerDied, close_worker, warm_worker

STATUSES = ("finished", "pruned", "failed", "interrupted", "skipped")


@dataclass(frozen=True)
class TrialSpec:
    """One trial to be run."""

    number: int  # of the trial, from 0
    label: str
    tags: dict[str, str]
    continues: str | None = None  # run_key of the interrupted run of this trial
    study: dict[str, Any] | None = None  # where its epochs are reported to: arguments of `pruning.StudyTrial`


@dataclass(frozen=True)
class TrialResult:
    """What became of a trial."""

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

    orders: dict[int, TrialSpec]  # by job number
    parent: str  # run_key of the sweep's own run
    origin: tuple[str, ...]  # `rerun=…` or `resume=auto`, as typed
    jobs: int  # that share the processors which one of them may use
    failures: Failures
    total: int = 0
    threads: int | None = None  # of each, where the launcher says so
    home: Process = field(default_factory=Process.this)  # the process that launched it
    folder: str = field(default_factory=os.getcwd)  # and where that was

    def __call__(self, composed: DictConfig) -> dict[str, Any]:
        hydra_config = HydraConfig.get()
        order = self.orders[int(hydra_config.job.num)]
        elsewhere = not self.home.is_this_process
        if elsewhere:
            self._settle()
        if self.failures.hopeless:
            return asdict(TrialResult(order.label, "skipped", reason="the sweep was given up before"))
        of = f"/{self.total}" if self.total else ""
        print(f"\ntrial {order.number + 1}{of}: {order.label}", flush=True)
        started = time.perf_counter()
        try:
            request = self._request(composed, order, OmegaConf.to_yaml(hydra_config), list(hydra_config.overrides.task))
            with stopped_with(self.home, self.failures) if elsewhere else contextlib.nullcontext():
                answer = _ask(request)
        except Exception as error:  # a fault of this program's; the other trials need not suffer from it
            answer = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
        if answer["status"] == "failed":
            self.failures.count()
        told = {name: answer[name] for name in ("metrics", "reason", "run") if name in answer}
        return asdict(TrialResult(order.label, answer["status"], seconds=time.perf_counter() - started, **told))

    def _settle(self) -> None:
        """In a launcher's process: work where the sweep was started, if that folder is on this machine."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who launched it tells it to stop
        if os.path.isdir(self.folder):
            os.chdir(self.folder)

    def _request(self, composed: DictConfig, order: TrialSpec, hydra_yaml: str, overrides: list[str]) -> Message:
        return {
            "kind": "trial",
            "config": for_worker(composed, self.jobs, self.threads),
            "overrides": [*self.origin, *overrides],
            "hydra": hydra_yaml,
            "origin": self.origin,
            "name": order.label,
            "tags": order.tags,
            "parent": self.parent,
            "continues": order.continues,
            "study": order.study,
        }


def for_worker(composed: DictConfig, jobs: int, threads: int | None = None) -> dict[str, Any]:
    """A composed configuration as plain values, `threads=auto` shared out among the jobs, if it is not given."""
    config = OmegaConf.to_container(composed)
    assert isinstance(config, dict)
    if config["threads"] == "auto":
        config["threads"] = threads or threads_each(jobs)
    return {str(key): value for key, value in config.items()}


def settings_of(config: dict[str, Any]) -> object:
    """What TensorFlow is set up with once in a process."""
    return config["threads"], config["deterministic"]


def _ask(request: Message) -> Message:
    """A trial's answer from the warm child, or what its death means."""
    began: list[str] = []

    def told(message: Message) -> None:
        if message["kind"] == "began":
            began.append(message["key"])

    worker = warm_worker(settings_of(request["config"]))
    try:
        answer = worker.ask(request, told)
    except WorkerDied as error:
        close_worker()
        reason = f"{error}"
        print(f"error: {reason}", file=sys.stderr)
        return {"status": "failed", "reason": reason, "run": _died(request, began, reason)}
    except signals.Interrupted:
        close_worker()
        raise
    if answer["status"] == "unsettled":  # a continued trial began with other threads: in a child that has as many
        request["config"] |= answer["settings"]
        return _ask(request)
    if answer.pop("replace", False) or answer["status"] == "interrupted":
        close_worker()
    return answer


def _died(request: Message, began: list[str], reason: str) -> str:
    """The run of a trial whose process died is FAILED."""
    from pipeline.config.schema import TrackingConfig
    from pipeline.tracking.failed_runs import record_failure
    from pipeline.tracking.sweep_runs import has_journal, mark_failed

    key = began[0] if began else request["continues"]
    if key is None or not has_journal(key):  # a run of another machine, which stays as it is
        return record_failure(request, reason)
    tracking = request["config"]["tracking"]
    return mark_failed(key, TrackingConfig(tracking["uri"], tracking["experiment"]), reason)
