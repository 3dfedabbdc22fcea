"""The records of a run's journal: one small class for each kind, and the line of JSON that each is stored as.

A line is `{"kind": …, "time": …}` followed by the fields of the record's class. Keys that a class does not have are
ignored; a record of a kind that this version does not know is kept as `Unknown`.
"""

import contextlib
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

from pipeline.runtime.process import Process

LONGEST_DIGEST = 36  # characters that MLflow stores of a dataset's digest


def _now() -> int:
    return int(time.time() * 1000)


@dataclass(frozen=True)
class Record:
    """What all records have."""

    kind: ClassVar[str]
    time: int = field(default_factory=_now, kw_only=True)  # milliseconds since the epoch

    def content(self) -> dict[str, Any]:
        """The JSON object that the record is stored as."""
        return {"kind": self.kind, **{item.name: getattr(self, item.name) for item in fields(self)}}


@dataclass(frozen=True, kw_only=True)
class Begin(Record):
    """The first record: what the run is. It is written before the run exists in MLflow."""

    kind = "begin"
    name: str
    tags: dict[str, str]
    tracking_uri: str | None = None  # without credentials; None: the default database
    experiment: str
    config: str = ""  # YAML
    overrides: list[str] = field(default_factory=list)
    parent: str | None = None  # run_key of the sweep that the run is a trial of

    def content(self) -> dict[str, Any]:
        """The JSON object that the record is stored as; only trials have the key `parent`."""
        content = super().content()
        if self.parent is None:
            del content["parent"]
        return content


@dataclass(frozen=True)
class ProcessStarted(Record):
    """A process begins to work on the run: the one that creates it, or one that resumes it."""

    kind = "process"
    process: dict[str, Any]  # `vars` of a `Process`, or what an older version wrote

    @property
    def owner(self) -> Process | None:
        """The process; None where the record does not describe one."""
        return Process.read(self.process)


@dataclass(frozen=True)
class Params(Record):
    """Parameters of the run."""

    kind = "params"
    values: dict[str, str]


@dataclass(frozen=True)
class Metrics(Record):
    """Metrics of one step."""

    kind = "metrics"
    step: int
    values: dict[str, float]


@dataclass(frozen=True)
class Tags(Record):
    """Tags of the run; a later value replaces an earlier one."""

    kind = "tags"
    values: dict[str, str]


@dataclass(frozen=True)
class DatasetUsed(Record):
    """The data of one split."""

    kind = "dataset"
    split: str
    name: str
    source: str  # absolute path of the dataset's folder
    digest: str


@dataclass(frozen=True)
class WithFiles(Record):
    """A record that comes with files, which wait in the outbox."""

    parcel: str  # folder in the outbox


@dataclass(frozen=True)
class Artifacts(WithFiles):
    """Files that become artifacts of the run."""

    kind = "files"
    place: str  # path among the artifacts


@dataclass(frozen=True)
class Images(WithFiles):
    """Images of one step as `MlflowClient.log_image` names them; see `pipeline.tracking.step_images`."""

    kind = "images"
    split: str
    step: int
    size: int  # bytes of all files
    keys: list[str]


@dataclass(frozen=True)
class Model(WithFiles):
    """A model, as `mlflow.pyfunc.save_model` wrote it."""

    kind = "model"
    step: int = 0  # the epoch that its weights are of; journals of earlier versions do not say


@dataclass(frozen=True)
class ModelScores(Record):
    """Metrics that were logged before and are scores of the run's model: MLflow ranks models by them."""

    kind = "model_scores"
    step: int  # of the metrics, the epoch that the model's weights are of
    dataset: str  # name and digest of the data that they were scored on, as `DatasetUsed` has them
    digest: str
    metrics: list[str]


@dataclass(frozen=True)
class View(Record):
    """How MLflow's UI shows the run's experiment when it is opened with the run's key."""

    kind = "view"
    value: str  # see `pipeline.tracking.shared_view`


@dataclass(frozen=True)
class Status(Record):
    """The run, or one of the processes that worked on it, has ended."""

    kind = "status"
    status: str  # FINISHED, FAILED or KILLED


@dataclass(frozen=True)
class Unknown(Record):
    """A record that this version cannot interpret, as a newer version may write."""

    kind = ""
    original: dict[str, Any]

    def content(self) -> dict[str, Any]:
        """The JSON object as it was read."""
        return self.original


KINDS: dict[str, type[Record]] = {
    record.kind: record
    for record in (
        Begin, ProcessStarted, Params, Metrics, Tags, DatasetUsed, Artifacts, Images, Model, ModelScores, View, Status,
    )
}  # fmt: skip


def from_content(content: dict[str, Any]) -> Record:
    """The record that a JSON object describes."""
    kind = KINDS.get(content["kind"])
    if kind is not None:
        known = {item.name for item in fields(kind)}
        with contextlib.suppress(TypeError):  # a field is missing without which the record means nothing
            return kind(**{name: value for name, value in content.items() if name in known})
    return Unknown(content, time=content.get("time", 0))


def to_line(record: Record) -> bytes:
    """A record as a line of a journal."""
    return json.dumps(record.content()).encode() + b"\n"


def parse_lines(content: bytes) -> tuple[list[Record], list[int]]:
    """The complete records of a journal, and the offset where each ends; the first offset is that of the first record.

    A line is on the disk before the next one is begun, so only the last can be torn, or full of zeros after a power
    cut.
    """
    records, ends = [], [0]
    for line in content.splitlines(keepends=True):
        try:
            found = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            break
        if not isinstance(found, dict) or not isinstance(found.get("kind"), str):
            break
        records.append(from_content(found))
        ends.append(ends[-1] + len(line))
    return records, ends


def status_of(records: Iterable[Record]) -> str:
    """FINISHED, FAILED or KILLED, or RUNNING if the last process that worked on the run did not record its end."""
    for record in reversed(list(records)):
        if isinstance(record, Status):
            return record.status
        if isinstance(record, ProcessStarted):
            break
    return "RUNNING"


def history_of(records: Iterable[Record]) -> dict[str, dict[int, float]]:
    """Every metric as {step: value}."""
    history: dict[str, dict[int, float]] = {}
    for record in records:
        if isinstance(record, Metrics):
            for key, value in record.values.items():
                history.setdefault(key, {})[record.step] = value
    return history


def last_values(history: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """The value of each metric at its last step."""
    return {name: values[max(values)] for name, values in history.items()}
