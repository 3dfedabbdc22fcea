"""The kinds of journal records, as lines of JSON that other versions of this program read and wrote."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.process import Process
from pipeline.tracking.records import (
    KINDS,
    Artifacts,
    Begin,
    DatasetUsed,
    Images,
    Metrics,
    Model,
    ModelScores,
    Params,
    ProcessStarted,
    Record,
    Status,
    Tags,
    Unknown,
    View,
    history_of,
    last_values,
    parse_lines,
    status_of,
    to_line,
)

PROCESS = {"host": "h", "boot": "b", "pid": 7, "started": 1.5}
# Lines as the version wrote them that had no classes for records.
LINES = {
    Begin: '{"kind": "begin", "time": 1, "name": "n", "tags": {"schema": "1"}, "tracking_uri": null, '
    '"experiment": "x", "config": "seed: 0", "overrides": ["seed=0"]}',
    ProcessStarted: '{"kind": "process", "time": 1, "process": {"host": "h", "boot": "b", "pid": 7, "started": 1.5}}',
    Params: '{"kind": "params", "time": 1, "values": {"seed": "0"}}',
    Metrics: '{"kind": "metrics", "time": 1, "step": 3, "values": {"a": 1.5, "b": Infinity}}',
    Tags: '{"kind": "tags", "time": 1, "values": {"a": "B\\u00fcsche"}}',
    DatasetUsed: '{"kind": "dataset", "time": 1, "split": "val", "name": "d-val", "source": "/d", "digest": "0f"}',
    Artifacts: '{"kind": "files", "time": 1, "parcel": "2-17", "place": "config"}',
    Images: '{"kind": "images", "time": 1, "parcel": "2-17", "split": "val", "step": 2, "size": 9, "keys": ["val/a"]}',
    Model: '{"kind": "model", "time": 1, "parcel": "3-18", "step": 2}',
    ModelScores: '{"kind": "model_scores", "time": 1, "step": 2, "dataset": "d-val", "digest": "0f", "metrics": ["a"]}',
    View: '{"kind": "view", "time": 1, "value": "{}"}',
    Status: '{"kind": "status", "time": 1, "status": "FINISHED"}',
}
RECORDS = {
    Begin: Begin(
        name="n",
        tags={"schema": "1"},
        tracking_uri=None,
        experiment="x",
        config="seed: 0",
        overrides=["seed=0"],
        time=1,
    ),
    ProcessStarted: ProcessStarted(PROCESS, time=1),
    Params: Params({"seed": "0"}, time=1),
    Metrics: Metrics(3, {"a": 1.5, "b": math.inf}, time=1),
    Tags: Tags({"a": "Büsche"}, time=1),
    DatasetUsed: DatasetUsed("val", "d-val", "/d", "0f", time=1),
    Artifacts: Artifacts("2-17", "config", time=1),
    Images: Images("2-17", "val", 2, 9, ["val/a"], time=1),
    Model: Model("3-18", 2, time=1),
    ModelScores: ModelScores(2, "d-val", "0f", ["a"], time=1),
    View: View("{}", time=1),
    Status: Status("FINISHED", time=1),
}


def parse(*lines: str) -> list[Record]:
    records, _ = parse_lines("".join(f"{line}\n" for line in lines).encode())
    return records


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_kind_reads_and_writes_the_lines_of_old(kind: type[Record]) -> None:
    assert parse(LINES[kind]) == [RECORDS[kind]]
    assert to_line(RECORDS[kind]) == f"{LINES[kind]}\n".encode()


def test_a_model_of_an_earlier_version_has_step_0() -> None:
    assert parse('{"kind": "model", "time": 1, "parcel": "3-18"}') == [Model("3-18", 0, time=1)]


def test_only_a_trial_has_a_parent() -> None:
    trial = f'{LINES[Begin][:-1]}, "parent": "abc"}}'
    (begin,) = parse(trial)
    assert isinstance(begin, Begin) and begin.parent == "abc"
    assert to_line(begin) == f"{trial}\n".encode()


def test_a_record_has_the_time_at_which_it_was_made() -> None:
    first, second = Tags({}), Tags({})
    assert 0 <= second.time - first.time < 60_000 and first.time > 1.7e12


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "hologram", "time": 5, "more": [1]}',
        '{"kind": "hologram"}',
        '{"kind": "metrics", "time": 5, "values": {}}',  # without its step
        '{"kind": "", "original": {}}',
    ],
)
def test_what_cannot_be_interpreted_is_kept_as_it_is(line: str) -> None:
    found, status = parse(line, LINES[Status])
    assert found == Unknown(json.loads(line), time=json.loads(line).get("time", 0))
    assert to_line(found) == f"{line}\n".encode() and status == RECORDS[Status]


def test_a_key_that_this_version_does_not_know_is_ignored() -> None:
    assert parse(f'{LINES[Status][:-1]}, "why": "x"}}') == [RECORDS[Status]]


def test_the_owner_is_the_process_that_a_record_describes() -> None:
    assert ProcessStarted(PROCESS).owner == Process("h", "b", 7, 1.5)
    assert ProcessStarted({}).owner is None


@given(st.lists(st.sampled_from(list(RECORDS.values())), max_size=5), st.binary(max_size=40))
def test_complete_lines_are_read_whatever_follows_them(records: list[Record], tail: bytes) -> None:
    lines = [to_line(record) for record in records]
    found, ends = parse_lines(b"".join(lines) + tail)
    assert found[: len(records)] == records and len(ends) == len(found) + 1
    assert ends[: len(records) + 1] == [sum(map(len, lines[:count])) for count in range(len(records) + 1)]


def test_the_status_is_that_of_the_last_process() -> None:
    begun: list[Record] = [RECORDS[Begin]]
    for record, status in (
        (ProcessStarted({}), "RUNNING"),
        (Status("KILLED"), "KILLED"),
        (Tags({}), "KILLED"),
        (ProcessStarted({}), "RUNNING"),  # resumed
        (Status("FINISHED"), "FINISHED"),
    ):
        begun.append(record)
        assert status_of(begun) == status
    assert status_of([]) == status_of(begun[:1]) == "RUNNING"


def test_the_history_has_every_metric_by_step() -> None:
    history = history_of([Metrics(2, {"a": 1.0}), Tags({}), Metrics(1, {"a": 3.0, "b": 4.0})])
    assert history == {"a": {2: 1.0, 1: 3.0}, "b": {1: 4.0}}
    assert last_values(history) == {"a": 1.0, "b": 4.0}
