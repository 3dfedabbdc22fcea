"""`rerun=<run id>`: a tracked run again, from what MLflow has of it alone, and a verdict that can be relied on."""

import json
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest
import yaml
from mlflow.entities import Run
from PIL import Image

from pipeline.config.schema import SCHEMA_VERSION
from tests.end_to_end.commands import RUN, Ended, Finished, history, lines, several

# What changes no bits of a rerun.
MOVED = ("dataset.root=moved", "data_dir=elsewhere", "checkpoint.every_steps=1", "checkpoint.upload=best")
HOSTILE = "\x1b[2J\nrerun: bit-identical"


@dataclass(frozen=True)
class Place:
    """A folder with a copy of the finished run's store, whose runs are listed by what made them."""

    cwd: Path
    ended: dict[str, Ended]

    @property
    def client(self) -> mlflow.MlflowClient:
        return mlflow.MlflowClient(f"sqlite:///{self.cwd}/kept/mlflow.db")

    def made(self, experiment: str) -> list[Run]:
        """The runs of an experiment that were trained, the oldest first."""
        found = self.client.get_experiment_by_name(experiment)
        runs = self.client.search_runs([found.experiment_id], order_by=["attributes.start_time ASC"])
        return [run for run in runs if "is_sweep" not in run.data.tags]


def copy_store(finished: Finished, place: Path) -> None:
    """The store as it is, in another folder: a database keeps absolute places."""
    place.mkdir()
    shutil.copy(finished.cwd / "mlruns/mlflow.db", place)
    shutil.copytree(finished.artifact("."), place / finished.id / "artifacts")
    with sqlite3.connect(place / "mlflow.db") as database:
        where = (f"{place.as_uri()}/{finished.id}/artifacts", finished.id)
        database.execute("update runs set artifact_uri = ? where run_uuid = ?", where)
        database.execute("update experiments set artifact_location = ?", (place.as_uri(),))
    database.close()


def change_what_it_was_made_with(finished: Finished, place: Path) -> None:
    """Other packages, sources and hardware, and a metric, as if the original had had them; some are hostile."""
    copy_store(finished, place)
    environment = place / finished.id / "artifacts/environment"
    listed = (environment / "packages.txt").read_text()
    listed = re.sub(r"(?m)^numpy==.*", "numpy==1.0.0", listed) + "\x1b[31mred==1\x9b\n"
    (environment / "packages.txt").write_text(listed)
    for name, changes in (("sources", {"model/unet.py": "0", HOSTILE: "1"}), ("hardware", {"cpu": HOSTILE})):
        found = json.loads((environment / f"{name}.json").read_text())
        (environment / f"{name}.json").write_text(json.dumps(found | changes))
    with sqlite3.connect(place / "mlflow.db") as database:
        for table in ("metrics", "latest_metrics"):
            database.execute(
                f"insert into {table} (key, value, timestamp, run_uuid, step, is_nan) values (?, 1, 1, ?, 0, 0)",
                (HOSTILE, finished.id),
            )
    database.close()


def changed_data(source: Path, target: Path) -> None:
    """The dataset with one pixel of a training image and one of a validation mask changed."""
    shutil.copytree(source, target)
    for path, label in ((target / "JPEGImages/train_0.jpg", 255), (target / "SegmentationClass/val_1.png", 1)):
        with Image.open(path) as image:
            pixels, palette = np.array(image), image.getpalette()
        pixels[5:9, 5:9] = label - pixels[5:9, 5:9] if label == 255 else label
        changed = Image.fromarray(pixels)
        if palette:
            changed.putpalette(palette)
        changed.save(path)


STATUSES = ("RUNNING", "KILLED", "FAILED")


def others(place: Path) -> dict[str, str]:
    """Runs that cannot be repeated, by what is wrong with them."""
    client = mlflow.MlflowClient(f"sqlite:///{place}/mlflow.db")
    experiment = client.create_experiment("others", artifact_location=(place / "others").as_uri())
    made = {}
    for name in (*STATUSES, "deleted", "newer", "empty"):
        tags = {"schema": str(SCHEMA_VERSION + (name == "newer"))}
        made[name] = str(client.create_run(experiment, tags=tags).info.run_id)
        if name != "RUNNING":
            client.set_terminated(made[name], name if name in STATUSES else "FINISHED")
    client.delete_run(made["deleted"])
    return made


@pytest.fixture(scope="module")
def place(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Every command of this file, one after the other in one process, in a folder without the original's store."""
    cwd = tmp_path_factory.mktemp("rerun")
    copy_store(finished, cwd / "kept")
    change_what_it_was_made_with(finished, cwd / "changed")
    (cwd / "VOC").symlink_to(finished.cwd / "VOC")
    shutil.copytree(finished.cwd / "VOC", cwd / "moved")
    changed_data(finished.cwd / "VOC", cwd / "VOC2")
    wrong = others(cwd / "kept")
    uri = f"tracking.uri=sqlite:///{cwd}/kept/mlflow.db"
    commands = {
        # The seed that differs first: what it leaves in the process must not change the other run.
        "sweep": [
            "-m", f"rerun={finished.run.data.tags['run_key']}", uri, "seed=1,0", *MOVED, "tracking.experiment=sweep",
        ],
        "changed": [
            f"rerun={finished.id}", "rerun_strict=true", f"tracking.uri=sqlite:///{cwd}/changed/mlflow.db",
            "dataset.root=VOC2", "epochs=1", "tracking.experiment=changed",
        ],
        "group": [f"rerun={finished.id}", uri, "model=unet", "dataset=shapes"],
        "no key": [f"rerun={finished.id}", uri, "model.deepth=3"],
        "out of range": [f"rerun={finished.id}", uri, "epochs=0"],
        "absent": ["rerun=0123456789abcdef0123456789abcdef", uri],
        "no store": [f"rerun={finished.id}"],
        **{name: [f"rerun={run_id}", uri] for name, run_id in wrong.items()},
    }  # fmt: skip
    done = several([[RUN, *command] for command in commands.values()], cwd)
    return Place(cwd, dict(zip(commands, done, strict=True)))


# ---- the same again


def verdict(finished: Finished) -> str:
    count = len([name for name in history(finished.client, finished.run) if not name.startswith("model/")])
    return f"bit-identical: {count} metrics x 2 steps, weights equal"


def test_a_rerun_after_another_run_in_its_process_has_equal_bits(finished: Finished, place: Place) -> None:
    """With its data in another place and other checkpoints."""
    said = place.ended["sweep"]
    assert (said.status, said.stderr) == (0, "")
    other, again = place.made("sweep")
    for run in (other, again):
        assert run.info.status == "FINISHED" and run.data.tags["rerun_of"] == finished.id
        assert run.data.tags["run_key"] != finished.run.data.tags["run_key"]
    for tag in ("weights_sha256", "last_weights_sha256", "fingerprint"):
        assert again.data.tags[tag] == finished.run.data.tags[tag] != other.data.tags[tag]
    assert history(place.client, again) == history(finished.client, finished.run)
    assert history(place.client, other)["train/loss"] != history(place.client, again)["train/loss"]

    # The trials of a sweep speak from their own process.
    assert again.data.tags["rerun_verdict"] == verdict(finished)
    reported = other.data.tags["rerun_verdict"].splitlines()
    assert re.match(r"differs from step 1: \S+ was \S+, is \S+, by [+-]\S+ \(\d+ of \d+ values differ\)$", reported[0])
    assert reported[1:4] == ["weights differ", "possible reasons:", "  seed: 0 -> 1"]


def test_the_stored_configuration_is_used_not_todays(finished: Finished, place: Place) -> None:
    """Everything that the original's command line changed would have another value by default."""
    _, again = place.made("sweep")
    changed = {name for name, value in again.data.params.items() if value != finished.run.data.params[name]}
    assert changed == {"tracking.uri", "tracking.experiment", *(override.partition("=")[0] for override in MOVED)}
    kept = Path(again.info.artifact_uri.removeprefix("file://")) / "config/overrides.yaml"
    assert yaml.safe_load(kept.read_text())[0] == f"rerun={finished.run.data.tags['run_key']}"


# ---- what is different


def test_differences_are_named_and_a_strict_rerun_exits_with_3(finished: Finished, place: Place) -> None:
    said = place.ended["changed"]
    assert said.status == 3
    numpy = np.__version__
    before = said.stdout.partition("epoch 1/1")[0].splitlines()
    named = [line.removeprefix("differs   ") for line in before if line.startswith("differs   ")]
    assert named[:3] == [
        "epochs: 2 -> 1",
        "data, train split: another image train_0",
        "data, val split: another mask val_1",
    ]
    sources, packages, hardware = named[3:6]
    assert sources == r"sources: \x1b[2J\nrerun: bit-identical removed, model/unet.py changed"
    assert packages == rf"packages: \x1b[31mred 1\x9b -> absent, numpy 1.0.0 -> {numpy}"
    assert hardware.startswith(r"hardware: cpu \x1b[2J\nrerun: bit-identical -> ")
    reported = said.stdout.partition(f"rerun of {finished.id}: ")[2].splitlines()
    assert reported[0].startswith(r"differs from step 0: \x1b[2J\nrerun: bit-identical was 1.0, is missing (")
    assert reported[2:] == ["possible reasons:", *(f"  {line}" for line in named)]
    assert lines(said.stderr) == [f"error: rerun={finished.id}: {reported[0]}"]


def test_nothing_that_steers_a_terminal_is_shown(place: Place) -> None:
    for said in place.ended.values():
        reported = (said.stdout + said.stderr).replace("\t", "")  # Hydra sets its jobs in with one
        assert all(line.isprintable() for line in reported.split("\n"))


# ---- what cannot be repeated


def test_a_file_of_conf_is_refused_with_the_keys_to_type(place: Place) -> None:
    said = place.ended["group"]
    assert (said.status, said.stdout) == (2, "")
    model, dataset = lines(said.stderr)
    assert model.startswith("error: model=unet: a stored configuration has keys, not the files of conf/")
    assert "type model.name=unet model.depth=4 model.width=" in model
    assert dataset.startswith("error: dataset=shapes: ") and " dataset.name=shapes " in dataset


ABSENT = "no run has this id or run_key at tracking.uri=sqlite:///"


@pytest.mark.parametrize(
    ("command", "reported"),
    [
        ("absent", f"rerun=0123456789abcdef0123456789abcdef: {ABSENT}"),
        ("no store", "this database does not exist; start in the folder that contains mlruns/"),
        ("deleted", "mlflow.db mlflow runs restore --run-id"),
        ("RUNNING", "is RUNNING, and only a FINISHED run can be repeated"),
        ("KILLED", "is KILLED, and only a FINISHED run can be repeated; resume="),
        ("FAILED", "is FAILED, and only a FINISHED run can be repeated; resume="),
        ("newer", f"newer version of this program (schema {SCHEMA_VERSION + 1}, this one: {SCHEMA_VERSION})"),
        ("empty", "has no weights_sha256 to compare with"),
        ("no key", "model.deepth=3: unknown key 'model.deepth' (did you mean 'model.depth'?)"),
        ("out of range", "epochs=0: at least 1 expected"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(place: Place, command: str, reported: str) -> None:
    said = place.ended[command]
    assert (said.status, said.stdout) == (2, "")
    (fault,) = lines(said.stderr)
    assert fault.startswith("error: ") and reported in fault


def test_only_what_was_not_refused_was_run(finished: Finished, place: Place) -> None:
    experiments = [experiment.name for experiment in place.client.search_experiments()]
    assert sorted(experiments) == ["Default", "others", "segmentation", "sweep"]
    assert [run.info.run_id for run in place.made("segmentation")] == [finished.id]
    assert len(list((place.cwd / "mlruns/runs").iterdir())) == 4  # one is the sweep's own
    assert not (place.cwd / "mlruns/mlflow.db").exists()
