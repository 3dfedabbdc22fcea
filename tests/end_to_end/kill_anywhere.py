"""Real training processes are killed with SIGKILL at many instants, resumed, and compared to the last bit.

`python -m tests.end_to_end.kill_anywhere` takes four to six minutes on two cores and exits with status 1 if anything
differs; `test_resume.py` is its quick version. `python -m tests.end_to_end.kill_anywhere checkpoint` tries only the
instants that have this word in their label; with `outside=65` so many runs are killed at random times, instead of five.
"""

import random
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.tracking.run_ref import RunRef
from tests.conftest import write_voc
from tests.end_to_end.commands import RUN, tiny
from tests.end_to_end.forks import ForkServer, fork_server
from tests.end_to_end.killing import Death, in_parallel, kill_after
from tests.end_to_end.outcome import Outcome, differing, empty_store, outcome, run_folders

# Three epochs of four steps, each epoch better than the one before. Checkpoints after steps 3, 4, 6, 8, 9 and 12.
OPTIONS = tiny(
    model__dropout="0.3", optimizer__ema="0.5", optimizer__learning_rate="0.03", checkpoint__every_steps="3",
    optimizer__accumulate="2", epochs="3", seed="2", threads="2",
)  # fmt: skip
OFTEN = {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "1"}
OUTSIDE = 5  # processes that are killed from outside, at random times


@dataclass(frozen=True)
class Kill:
    """Where a process dies and, if the run is killed twice, where the one that resumes it dies."""

    label: str
    death: Death | float  # an exact point, or a share of the time of an undisturbed run: killed from outside
    second: Death | None = None
    torn: bool = False  # whether the end of the journal's last line, not flushed yet, is lost, as in a power cut


EPOCHS, OBSERVER = "pipeline.train.epochs:EpochCallback", "pipeline.experiment.epoch_logger:EpochLogger"
STEP, WRITER = f"{EPOCHS}.on_train_batch_end", "pipeline.train.checkpoint_writer"
RECORD, DELIVERY = "pipeline.tracking.journal:Journal.append", "pipeline.tracking.delivery:Delivery"
KILLS = (
    Kill("start-up: TensorFlow is imported", Death("pipeline.runtime.hardware:import_tensorflow")),
    Kill("start-up: the store is opened", Death("pipeline.experiment.log:open_if_it_answers", after=True)),
    Kill("data preparation: an image is checked", Death("pipeline.data.prepare:check_dataset")),
    Kill("the journal's first line is half written", Death("pipeline.tracking.journal:os.fsync"), torn=True),
    Kill("the journal has only its first line", Death(RECORD, 2)),
    Kill("before the MLflow run exists", Death(f"{DELIVERY}._apply"), Death(f"{DELIVERY}._apply")),
    Kill("the MLflow run exists, its id is not recorded", Death("pipeline.tracking.delivery:write_position")),
    Kill("the inputs are logged", Death("pipeline.experiment.log:_log_config", after=True)),
    Kill("MLflow sending: the 5th record is sent, that is not recorded", Death(f"{DELIVERY}._apply", 5, True)),
    Kill("first epoch: in its first step", Death(STEP)),
    Kill("first epoch: between two files of its first checkpoint", Death(f"{WRITER}:_write_arrays", 2)),
    Kill("first epoch: after its first checkpoint; again after step 6", Death(STEP, 3, True), Death(STEP, 3, True)),
    Kill("the end of an epoch, before its validation", Death(f"{EPOCHS}.on_epoch_end")),
    Kill("the journal's last line is half written", Death("pipeline.tracking.journal:os.fsync", 11), torn=True),
    Kill("step 6, before its checkpoint", Death(f"{EPOCHS}._save_within_epoch", 2)),
    Kill("checkpoint of step 6: before its folder", Death(r"os.mkdir \.step-00000006$")),
    Kill("checkpoint of step 6: one file of arrays is written", Death(r"open \.step-00000006/optimizer.npz")),
    Kill("checkpoint of step 6: before its state", Death(r"open \.step-00000006/state.json")),
    Kill("checkpoint of step 6: before it gets its name", Death(r"os.rename \.step-00000006$")),
    Kill("checkpoint of step 6: committed", Death(f"{WRITER}:CheckpointWriter.commit", 4, True)),
    Kill("checkpoint of step 6: older ones half removed", Death(r"os.remove (optimizer|running)\.npz$")),
    Kill("validation of epoch 2; again there", Death("open val/2/val_1"), Death("open val/2/val_1")),
    Kill("predictions are in the outbox, not in the journal", Death(RECORD, 2, only="predictions/val/")),
    Kill("between the best and the last checkpoint", Death(f"{WRITER}:CheckpointWriter.commit", 2, True)),
    Kill("the arrays of the checkpoint are written, the epoch is not journalled", Death(f"{OBSERVER}.on_epoch_end", 2)),
    Kill("within the records of an epoch", Death("pipeline.tracking.tracked_run:TrackedRun.log_metrics", 4)),
    Kill("between journal and commit of the checkpoint; again there", Death(f"{OBSERVER}.on_epoch_end", 2, True),
         Death(f"{OBSERVER}.on_epoch_end", 1, True)),
    Kill("the epoch is closed, all of it is written", Death(f"{OBSERVER}.on_checkpoint_saved", 2)),
    Kill("the last step; again in the validation after it", Death(STEP, 12), Death("open val/3/val_2")),
    Kill("test evaluation; again when its tables are written", Death("open predictions/test/test_1"),
         Death("pipeline.experiment.evaluation:write_scores")),
    Kill("test evaluation: a part is in the outbox", Death(RECORD, only="'overlays'")),
    Kill("the model is saved, not in the outbox", Death("pipeline.experiment.log:save_model", after=True)),
    Kill("MLflow sending: the model exists without its files",
         Death("pipeline.tracking.run_writer:ModelDescription.load")),
    Kill("the hashes of the weights are journalled", Death("pipeline.experiment.log:_log_scores", after=True)),
    Kill("MLflow sending: only the journal says FINISHED", Death(f"{DELIVERY}._apply", only="'FINISHED'")),
)  # fmt: skip


def kill_and_resume(kill: Kill, server: ForkServer, home: Path, seconds: float) -> tuple[Path, list[str]]:
    """Start, kill and resume a run; returns its working directory, and what went wrong on the way."""
    cwd = workplace(home)
    if isinstance(kill.death, float):
        status = kill_after(kill.death * seconds, cwd, *OPTIONS, **OFTEN)
        if status == 0:  # this run was quicker than the one that was timed
            cwd = workplace(home)
            status = kill_after(0.8 * kill.death * seconds, cwd, *OPTIONS, **OFTEN)
    else:
        status = server.run(cwd, RUN, *OPTIONS, deaths=(kill.death,), **OFTEN).status
    if status != -9:
        return cwd, [f"was not killed: status {status}"]
    if kill.torn:
        journal = next((cwd / "mlruns/runs").glob("*/journal.jsonl"))
        journal.write_bytes(journal.read_bytes()[:-9])
    if kill.second is not None:
        status = server.run(cwd, RUN, *continuation(cwd), deaths=(kill.second,), **OFTEN).status
        if status != -9:
            return cwd, [f"was not killed a second time: status {status}"]
    ended = server.run(cwd, RUN, *continuation(cwd), **OFTEN)
    return cwd, [] if ended.status == 0 else [f"status {ended.status}: {ended.stderr.strip()}"]


def write_home(home: Path) -> None:
    """Write the dataset and the empty store that `workplace` copies."""
    write_voc(home, train=8, val=3, test=3, classes=4, size=[(24, 32), (40, 30)])
    empty_store(home)


def workplace(home: Path) -> Path:
    """A new working directory with the dataset and an empty store."""
    cwd = Path(tempfile.mkdtemp(dir=home))
    (cwd / "VOC").symlink_to(home / "VOC")
    (cwd / "mlruns").mkdir()
    shutil.copy(home / "mlruns/mlflow.db", cwd / "mlruns")
    return cwd


def continuation(cwd: Path) -> list[str]:
    """What a user types after a crash: `resume=`, or the same command if no run had begun."""
    folders = run_folders(cwd)
    return [f"resume={RunRef(folders[0]).name}"] if folders else OPTIONS


def main(*arguments: str) -> int:
    """Try every instant whose label contains the word that is given; returns 0 if nothing differs."""
    outside = next((int(each.removeprefix("outside=")) for each in arguments if each.startswith("outside=")), OUTSIDE)
    wanted = next((each for each in arguments if not each.startswith("outside=")), "")
    seed = random.randrange(10**6)
    drawn = random.Random(seed)
    shares = sorted(round(drawn.uniform(0.05, 0.95), 3) for _ in range(outside))
    kills = [*KILLS, *(Kill(f"from outside, after {share:.1%} of a run (seed {seed})", share) for share in shares)]
    kills = [kill for kill in kills if wanted in kill.label]
    with tempfile.TemporaryDirectory() as folder:
        one, two = fork_server(0), fork_server(1)
        home = Path(folder)
        write_home(home)

        def attempt(kill: Kill, server: ForkServer) -> tuple[Kill, list[str]]:
            try:
                cwd, faults = kill_and_resume(kill, server, home, seconds)
                return kill, faults or differing(reference, outcome(cwd))
            except Exception as error:  # the others are tried nevertheless
                return kill, [repr(error)]

        for server in (one, two):  # up before the time of a run is taken, which would else be too long
            server.run(home, "-c", "pass")
        calm, began = workplace(home), time.perf_counter()
        assert kill_after(600, calm, *OPTIONS, **OFTEN) == 0
        seconds = time.perf_counter() - began
        reference = outcome(calm)
        print(summary(reference), flush=True)
        control = workplace(home)
        one.run(control, RUN, *OPTIONS[:-1], "seed=1", **OFTEN)
        other = outcome(control)
        is_sharp = other.checkpoint != reference.checkpoint and other.results != reference.results
        print(
            f"{'ok' if is_sharp else 'FAULT':6} negative control: another seed gives other weights and metrics",
            flush=True,
        )
        bad = 0 if is_sharp else 1
        for kill, faults in in_parallel((one, two), [partial(attempt, kill) for kill in kills]):
            bad += bool(faults)
            print(f"{'FAULT' if faults else 'ok':6} {kill.label}", *faults, sep="\n         ", flush=True)
    twice = sum(kill.second is not None for kill in kills)
    verdict = f"{bad} faults" if bad else "all equal the undisturbed run to the last bit"
    print(f"{len(kills)} runs killed with SIGKILL, {twice} of them twice, and resumed: {verdict}")
    return 1 if bad else 0


def summary(reference: Outcome) -> str:
    """A line about the run that the others are compared with."""
    values = sum(map(len, reference.results.values()))
    return (
        f"undisturbed: best epoch {reference.results['best/epoch'][0][1]:.0f} of {reference.params['epochs']}, "
        f"{values} values of {len(reference.results)} metrics, {len(reference.artifacts)} artifacts, "
        f"weights_sha256 {reference.tags['weights_sha256'][:12]}"
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
