"""The interrupted runs that `test_resume` looks at: each story happens once, in a working directory of its own."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pipeline.tracking.journal import Journal
from pipeline.tracking.run_ref import RunRef
from pipeline.train.checkpoint import newest_first
from tests.end_to_end.commands import RUN, Ended, stored_runs
from tests.end_to_end.forks import ForkServer
from tests.end_to_end.kill_anywhere import OFTEN, OPTIONS, continuation
from tests.end_to_end.killing import Death
from tests.end_to_end.outcome import Outcome, outcome, run_folders

STEP = "pipeline.train.epochs:EpochCallback.on_train_batch_end"
VALIDATION = Death("open predictions/val/2/val_1")


class Place:
    """A working directory in which one run is started, killed and resumed."""

    def __init__(self, cwd: Path, server: ForkServer) -> None:
        self.cwd, self.server = cwd, server
        self.ended: dict[str, Ended] = {}
        self.statuses: list[str] = []
        self.outcome: Outcome | None = None

    def command(self, label: str, *arguments: str, deaths: tuple[Death, ...] = ()) -> Ended:
        """Run `run.py` with these arguments; how it ended is stored under a label."""
        self.ended[label] = self.server.run(self.cwd, RUN, *arguments, deaths=deaths, **OFTEN)
        return self.ended[label]

    def resume(self, label: str, *arguments: str) -> Ended:
        """Resume the run."""
        return self.command(label, *continuation(self.cwd), *arguments)

    def killed(self, label: str, at: Death, *arguments: str) -> None:
        """Begin or resume the run, which is then killed."""
        begun = run_folders(self.cwd)
        ended = self.command(label, *(continuation(self.cwd) if begun else [*OPTIONS, *arguments]), deaths=(at,))
        assert ended.status == -9, (at, ended)

    @property
    def folder(self) -> Path:
        """The run's folder."""
        (folder,) = run_folders(self.cwd)
        return folder

    @property
    def newest(self) -> Path:
        """The run's newest checkpoint."""
        return next(newest_first(self.folder / "checkpoints"))


def in_five_places_then_moved(place: Place) -> None:
    """Before the MLflow run exists, twice in an epoch, twice in a validation; then the data are elsewhere."""
    place.killed("no run", Death("pipeline.tracking.delivery:Delivery._apply"), "resume=auto")
    assert stored_runs(place.cwd)[1] == []
    place.killed("step 3", Death(STEP, 3, after=True))  # in the first epoch, after a checkpoint
    place.killed("step 7", Death(STEP, 4))
    assert place.command("once", "resume=auto", *OPTIONS, deaths=(VALIDATION,)).status == -9
    place.killed("twice", VALIDATION)
    shutil.copytree(place.cwd / "VOC", place.cwd / "elsewhere/VOC")
    (place.cwd / "VOC").unlink()
    place.resume("end", "dataset.root=elsewhere/VOC", "data_dir=elsewhere/data")


def full_disk_then_between_best_and_last(place: Place) -> None:
    """Only the run's own folder is on the small disk, so that MLflow can record how the run ended."""
    runs = place.cwd / "mlruns/runs"
    runs.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(runs)]
    mounted = os.geteuid() == 0 and subprocess.run(mount, capture_output=True, check=False).returncode == 0
    try:
        if mounted:
            # Full before the fourth file of arrays is written: the weights of the best epoch.
            place.command("full", *OPTIONS, deaths=(Death("pipeline.train.checkpoint_writer:np.savez", 4, number=0),))
            place.statuses = [RunRef(place.folder).status(), stored_runs(place.cwd)[1][0].info.status]
            (runs / "filler").unlink()
        first = 1 if mounted else 2  # which commit of the process is the best's: step 3's may come before it
        place.killed("best", Death("pipeline.train.checkpoint_writer:CheckpointWriter.commit", first, after=True))
        place.resume("end")
        place.outcome = outcome(place.cwd)
    finally:
        if mounted:
            subprocess.run(["umount", str(runs)], check=True)


def damaged_then_in_the_test_evaluation(place: Place) -> None:
    """At first, resuming it is refused for every reason, which must not change anything."""
    place.killed("step 4", Death(STEP, 4))
    refuse_to_resume(place)
    (place.newest / "state.json").write_text("{}")  # the only checkpoint
    place.killed("damaged", Death("open predictions/test/test_1"))
    array = place.newest / "weights.npz"
    content = bytearray(array.read_bytes())
    content[len(content) // 2] ^= 1
    array.write_bytes(content)
    place.resume("end")


def refuse_to_resume(place: Place) -> None:
    place.resume("other keys", "seed=1", "checkpoint.keep=3")
    shutil.copytree(place.cwd / "VOC", place.cwd / "changed/VOC")
    image = place.cwd / "changed/VOC/JPEGImages/train_1.jpg"
    Image.open(image).rotate(180).save(image)
    place.resume("changed data", "dataset.root=changed/VOC")
    with contextlib.closing(Journal(place.folder)):  # as a process that is alive does
        place.resume("alive")
    resume, folder = continuation(place.cwd), place.folder
    folder.rename(place.cwd / "another machine")
    place.command("elsewhere", *resume)
    (place.cwd / "another machine").rename(folder)


def on_another_machine(place: Place) -> None:
    """Killed when the first epoch's checkpoint has just been uploaded, and again while it is fetched."""
    sent = Death("pipeline.tracking.delivery:Delivery._apply", only="'checkpoints/last'", after=True)
    place.killed("uploaded", sent, "checkpoint.upload=epoch")
    (run,) = stored_runs(place.cwd)[1]
    shutil.rmtree(place.folder)
    resume, in_its_history = f"resume={run.info.run_id}", Death("pipeline.tracking.journal:Journal.append", 4)
    assert place.command("fetching", resume, deaths=(in_its_history,)).status == -9
    place.command("end", resume)


def finished(place: Place) -> None:
    """In the working directory of the undisturbed run."""
    place.resume("by id")
    place.command("auto", "resume=auto", *OPTIONS)
    resume = continuation(place.cwd)
    place.command("shorter", *resume, "epochs=2")
    place.command("longer", *resume, "epochs=4")
    place.command("longer again", f"rerun={stored_runs(place.cwd)[1][-1].info.run_id}")


def another_seed(place: Place) -> None:
    place.command("end", *OPTIONS[:-1], "seed=1")


KILLED: tuple[Callable[[Place], None], ...] = (
    in_five_places_then_moved, damaged_then_in_the_test_evaluation, full_disk_then_between_best_and_last,
)  # fmt: skip
STORIES = (*KILLED, on_another_machine, finished, another_seed)
