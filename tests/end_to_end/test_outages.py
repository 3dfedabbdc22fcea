"""The tracking server is absent, goes away, comes back or is full: no run stops, and MLflow gets all of it."""

import errno
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import Run

from pipeline.tracking.journal import read_journal
from pipeline.tracking.records import Metrics
from tests.end_to_end.commands import RUN, Ended, lines, tiny
from tests.end_to_end.outage_driver import Driver
from tests.end_to_end.outcome import without_times
from tests.end_to_end.proxy import Proxy
from tests.end_to_end.server import Server

WALL_CLOCK = r"time/|train/images_per_second"


@dataclass(frozen=True)
class Story:
    """What happened: each command's end, by the outage that it met."""

    cwd: Path
    client: mlflow.MlflowClient
    ended: dict[str, Ended]
    why_no_full_disk: str

    def runs(self, outage: str) -> list[Run]:
        """The runs that a command's output names, in their order."""
        if outage == "full" and self.why_no_full_disk:
            pytest.skip(self.why_no_full_disk)
        keys = re.findall(r"^run       ([0-9a-f]{32})", self.ended[outage].stdout, re.MULTILINE)
        assert keys, self.ended[outage]
        experiment = self.client.get_experiment_by_name("x").experiment_id
        known = {run.info.run_id: run for run in self.client.search_runs([experiment])}
        known |= {run.data.tags["run_key"]: run for run in known.values()}
        return [known[key] for key in keys]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Iterator[Story]:
    """All outages, one after the other: starting servers and TensorFlow is what takes the time."""
    cwd, place = tmp_path_factory.mktemp("cwd"), tmp_path_factory.mktemp("server")
    (cwd / "VOC").symlink_to(data / "VOC")
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(place)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    why = f"a small file system cannot be mounted here: {mounted.stderr.strip()}" if mounted.returncode else ""
    server, driver, ended = Server(place), Driver(cwd), {}
    options = tiny(epochs="3", evaluate__overlays="0", tracking__uri=server.address, tracking__experiment="x")
    filling = place / "filling"
    try:
        ended["absent"] = driver.run(RUN, *options, pauses={1: server.start})
        ended["none"] = driver.run(RUN, *options)
        proxy = Proxy(server.port)
        proxy.limit = 12_000  # bytes: the weights are larger, and a few tables and images
        through = [f"tracking.uri={proxy.address}" if "tracking.uri" in option else option for option in options]
        ended["refused"] = driver.run(RUN, *through)
        refused = ended["refused"].stdout.partition("run       ")[2][:32]
        ended["refused as it was"] = Ended(0, json.dumps(sizes(mlflow.MlflowClient(server.address), refused)), "")
        ended["sync refused"] = driver.run("pipeline.sync", f"run={refused}")
        proxy.limit = 0
        ended["sync what was refused"] = driver.run("pipeline.sync")
        proxy.close()
        ended["lost and back"] = driver.run(RUN, *options, pauses={1: server.kill, 2: server.start})
        if not why:
            fill(filling)
            ended["full"] = driver.run(RUN, *options, pauses={2: filling.unlink})
        two = ["-m", "hydra/sweeper=basic", *options, "seed=0,1"]  # in this very process
        ended["lost for good"] = driver.run(RUN, *two, pauses={1: server.kill}, patience=0.2)
        ended["sync without a server"] = driver.run("pipeline.sync")
        server.start()
        ended["sync"] = driver.run("pipeline.sync")
        ended["sync again"] = driver.run("pipeline.sync")
        yield Story(cwd, mlflow.MlflowClient(server.address), ended, why)
    finally:
        driver.close()
        server.kill()
        if not mounted.returncode:
            subprocess.run(["umount", "--lazy", str(place)], check=True)  # a killed process lets go of it in a while


def sizes(client: mlflow.MlflowClient, run_id: str, folder: str | None = None) -> dict[str, int]:
    """The files of a run by their names, with their sizes."""
    found: dict[str, int] = {}
    for entry in client.list_artifacts(run_id, folder):
        found |= sizes(client, run_id, entry.path) if entry.is_dir else {entry.path: entry.file_size or 0}
    return found


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with file.open("wb", buffering=0) as out:
        for size in (2**20, 2**12):
            try:
                while True:
                    out.write(b"\0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


OUTAGES = ["absent", "refused", "lost and back", "full", "lost for good"]


@dataclass(frozen=True)
class Found:
    """What MLflow has of a run."""

    metrics: list[tuple[str, int, float, int]]  # key, step, value, time
    files: list[str]
    models: list[tuple[str, str, set[str]]]
    inputs: list[str]  # digests
    scores: list[tuple[Any, ...]]

    @property
    def results(self) -> list[tuple[str, int, float]]:
        """Every metric that does not tell time or load."""
        return sorted(metric[:3] for metric in self.metrics if not re.match(rf"system/|{WALL_CLOCK}", metric[0]))

    @property
    def steps(self) -> list[tuple[str, int]]:
        """At which steps each wall-clock metric was logged, but the one at the best epoch, which seeds change."""
        logged = sorted((key, step) for key, step, *_ in self.metrics if re.match(WALL_CLOCK, key))
        assert [key for key, _ in logged].count("time/total_seconds") == 1
        return [(key, step) for key, step in logged if key != "time/total_seconds"]


def look_at(story: Story, run: Run) -> Found:
    client, run_id = story.client, run.info.run_id
    metrics = [metric for name in run.data.metrics for metric in client.get_metric_history(run_id, name)]
    return Found(
        metrics=[(metric.key, metric.step, metric.value, metric.timestamp) for metric in metrics],
        files=sorted(map(without_best_epoch, sizes(client, run_id))),
        models=models(story, run),
        inputs=sorted(item.dataset.digest for item in run.inputs.dataset_inputs),
        scores=scores(story, run),
    )


@pytest.fixture(scope="module")
def undisturbed(story: Story) -> tuple[Run, Found]:
    """The run that nothing happened to."""
    (run,) = story.runs("none")
    return run, look_at(story, run)


@pytest.mark.parametrize("outage", ["none", *OUTAGES])
def test_mlflow_has_the_complete_history(story: Story, undisturbed: tuple[Run, Found], outage: str) -> None:
    """Every record of the journal once, with its own time, and the same as of a run that nothing happened to."""
    other, expected = undisturbed
    for number, run in enumerate(story.runs(outage)):
        assert run.info.status == "FINISHED"
        journal = read_journal(story.cwd / "mlruns/runs" / run.data.tags["run_key"])
        journalled = {
            (key, record.step, value, record.time)
            for record in journal if isinstance(record, Metrics) for key, value in record.values.items()
        }  # fmt: skip
        found = look_at(story, run)
        assert len(found.metrics) == len(journalled) and set(found.metrics) == journalled
        assert run.info.end_time == journal[-1].time and run.info.start_time == journal[0].time
        assert found.files == expected.files and len(set(found.files)) == len(found.files)
        assert len([name for name in found.files if name.startswith("images/val~")]) == 3 * 2 * 2  # two files an image
        assert len(found.models) == 1 and found.models == expected.models
        assert len(found.inputs) == 3 and found.inputs == expected.inputs
        assert found.steps == expected.steps
        if number == 0:  # the second has another seed
            assert found.results == expected.results
            own = {"tracking.uri": ""}  # a proxy's address is another one
            assert run.data.params | own == other.data.params | own
            assert tags(run) == tags(other)
            assert found.scores == expected.scores != []


def without_best_epoch(artifact: str) -> str:
    """The name of an artifact without what seeds and instants change."""
    return re.sub(r"(images/test~[^+]*\+step\+)\d+.*?(\+compressed)?\.webp", r"\1\2", without_times(artifact))


def tags(run: Run) -> dict[str, str]:
    """All but what is different in every run."""
    own = ("run_key", "heartbeat", "mlflow.note.content")
    assert set(own) <= set(run.data.tags)
    return {name: text for name, text in run.data.tags.items() if name not in own}


def models(story: Story, run: Run) -> list[tuple[str, str, set[str]]]:
    of_run = f"source_run_id = '{run.info.run_id}'"
    found = story.client.search_logged_models([run.info.experiment_id], filter_string=of_run)
    return [
        (
            model.name,
            str(model.status),
            {entry.path for entry in story.client.list_logged_model_artifacts(model.model_id)},
        )
        for model in found
    ]


def scores(story: Story, run: Run) -> list[tuple[Any, ...]]:
    """Those of the run's model, with the data of each."""
    (output,) = run.outputs.model_outputs
    found = story.client.get_logged_model(output.model_id).metrics
    return sorted((metric.key, metric.step, metric.value, metric.dataset_name) for metric in found)


def test_every_run_is_there_once(story: Story) -> None:
    named = [run.info.run_id for outage in ("none", *story.ended) if outage in OUTAGES for run in story.runs(outage)]
    experiment = story.client.get_experiment_by_name("x").experiment_id
    known = [run.info.run_id for run in story.client.search_runs([experiment])]
    assert sorted(known) == sorted([*named, story.runs("none")[0].info.run_id])


@pytest.mark.parametrize("outage", ["absent", "lost and back", "full"])
def test_one_line_warns_of_a_server_that_comes_back(story: Story, outage: str) -> None:
    (run,) = story.runs(outage)
    reported = story.ended[outage]
    assert reported.status == 0, reported.stderr
    (warning,) = lines(reported.stderr)
    assert warning.startswith("warning: tracking")
    assert f"the run continues, and what it logs is stored in mlruns/runs/{run.data.tags['run_key']}" in warning
    assert len(warning) < 600  # the longest is of a file that was being uploaded
    assert lines(reported.stdout)[-1].split()[-1].partition("?")[0].endswith(f"/runs/{run.info.run_id}")


def test_nothing_is_said_where_nothing_happens(story: Story) -> None:
    assert (story.ended["none"].status, story.ended["none"].stderr) == (0, "")


def test_a_run_without_a_server_says_where_it_is_kept(story: Story) -> None:
    (run,) = story.runs("absent")
    assert f"run       {run.data.tags['run_key']} in its journal until MLflow answers" in story.ended["absent"].stdout


def test_runs_of_a_lost_server_finish_and_name_sync(story: Story) -> None:
    """Two in one process: that the first gave up does not touch the second."""
    reported = story.ended["lost for good"]
    assert reported.status == 0, reported.stderr
    keys = [run.data.tags["run_key"] for run in story.runs("lost for good")]
    assert len(keys) == 2
    warnings = lines(reported.stderr)
    assert len(warnings) == 4
    for key, (first, last) in zip(keys, (warnings[:2], warnings[2:]), strict=True):
        assert f"the run continues, and what it logs is stored in mlruns/runs/{key}" in first
        assert last.endswith(f"a part of run {key} is not in MLflow yet: python -m pipeline.sync sends it")


def test_sync_names_what_waits_and_sends_it_once(story: Story) -> None:
    runs = story.runs("lost for good")
    without = story.ended["sync without a server"]
    assert (without.status, without.stdout) == (1, "")
    left = lines(without.stderr)
    assert len(left) == 2
    for line, run in zip(left, runs, strict=True):
        assert re.match(rf"error: {run.data.tags['run_key']}: \d+ records are not sent: .*Connection refused", line)
    done = story.ended["sync"]
    assert (done.status, done.stderr) == (0, "")
    assert lines(done.stdout) == [f"{run.data.tags['run_key']}: sent as run {run.info.run_id}" for run in runs]
    again = story.ended["sync again"]
    assert (again.status, again.stdout, again.stderr) == (0, "nothing to send\n", "")


def test_what_a_proxy_refuses_waits_alone_and_is_sent_later(story: Story) -> None:
    """All of it is compared with an undisturbed run above."""
    (run,) = story.runs("refused")
    key = run.data.tags["run_key"]
    reported = story.ended["refused"]
    assert reported.status == 0, reported.stderr
    first, *last = lines(reported.stderr)
    assert first.startswith("warning: MLflow cannot store ") and "413" in first and len(first) < 600
    assert all(line.endswith(f"python -m pipeline.sync run={key} sends it") and "413" in line for line in last)
    before = json.loads(story.ended["refused as it was"].stdout)
    after = sizes(story.client, run.info.run_id)
    missing = set(after) - set(before)
    assert "checkpoints/best/weights.npz" in missing and "config/config.yaml" in before
    assert max(before.values()) <= 12_000 < min(after[name] for name in missing)
    again = story.ended["sync refused"]
    assert again.status == 1 and all(line.startswith(f"error: {key}: MLflow has not") for line in lines(again.stderr))
    assert story.ended["sync what was refused"].stdout == f"{key}: sent as run {run.info.run_id}\n"
