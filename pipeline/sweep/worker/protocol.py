"""The messages between a sweep and the child process in which its trials run: one class each, JSON in the pipes.

A request is followed by reports (`TrialStarted`), if any, and by one answer.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict, get_args


class StudyTrialArguments(TypedDict):
    """Where a trial's epochs are reported: the arguments of `pipeline.sweep.study.StudyTrial`."""

    address: str
    name: str
    trial_id: int
    pruner: str
    epochs: int


@dataclass(frozen=True)
class CheckData:
    """Request: prepare and check the data of a configuration."""

    config: dict[str, Any]


@dataclass(frozen=True)
class RunTrial:
    """Request: train and evaluate one trial."""

    config: dict[str, Any]  # composed, `threads` and `kernels` resolved
    overrides: list[str]  # of the task, `rerun=…` included
    hydra_yaml: str  # Hydra's part of the configuration
    lineage: list[str]  # `rerun=…` or `resume=auto`, as typed
    name: str
    tags: dict[str, str]
    parent: str  # run_key of the sweep's own run
    resumes: str | None = None  # run_key of this trial's interrupted run
    study: StudyTrialArguments | None = None
    jobs: int = 1  # that run at the same time and share the machine


@dataclass(frozen=True)
class TrialStarted:
    """Report: the trial's run exists."""

    run_key: str


@dataclass(frozen=True)
class DataChecked:
    """Answer to `CheckData`: the content hashes of every split."""

    contents: dict[str, Any]
    name: str = ""
    root: str = ""  # absolute path of the dataset's folder
    digests: dict[str, str] = field(default_factory=dict)  # of each split


@dataclass(frozen=True)
class DataRefused:
    """Answer to `CheckData`: what is wrong with the data."""

    faults: list[str]


@dataclass(frozen=True)
class TrialEnded:
    """Answer to `RunTrial`."""

    status: str  # finished, pruned or failed
    metrics: dict[str, float] = field(default_factory=dict)
    reason: str = ""  # why it failed
    run: str = ""  # MLflow's id, or the run's key
    reusable: bool = True  # whether the process should run further trials


@dataclass(frozen=True)
class NeedsSettings:
    """Answer to `RunTrial`: the run to resume began with other settings, which are fixed once in a process."""

    threads: int
    deterministic: bool
    kernels: str


@dataclass(frozen=True)
class Stopped:
    """Answer to any request: it ended early because of a signal, and so does the process."""


Request = CheckData | RunTrial
Answer = DataChecked | DataRefused | TrialEnded | NeedsSettings | Stopped
Message = Request | TrialStarted | Answer

Send = Callable[[TrialStarted], None]
Work = Callable[[Request, Send], Answer]

_CLASSES = {message.__name__: message for message in get_args(Message)}


def to_json(message: Message) -> bytes:
    """A message as bytes; its class is named in them."""
    return json.dumps({"message": type(message).__name__, **asdict(message)}).encode()


def from_json(content: bytes) -> Any:
    """The message that `to_json` wrote."""
    values = json.loads(content)
    return _CLASSES[values.pop("message")](**values)
