"""Put the model of a run, or of a sweep's best trial, into MLflow's registry: `python -m pipeline.register`."""

import contextlib
import re
from typing import TYPE_CHECKING

from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import plain

if TYPE_CHECKING:  # imports MLflow, which takes seconds
    from pipeline.tracking.stored_run import StoredRun

HELP = """\
Registers the model of a run in MLflow, under a name and an alias that stand for the run from then on.

  python -m pipeline.register run=<id> name=streets alias=production
  python -m pipeline.register sweep=<id> name=streets alias=candidate     the best trial of a sweep

run=…            MLflow's run id, the run's run_key, or another registered model (models:/streets@candidate)
sweep=…          a sweep's run: its finished trial with the highest best/val_mean_iou; test scores decide nothing
name=…           the registered model: a new one, or one that gets another version
alias=…          points to this version from now on; without it, the version has its number alone
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder

A run that is registered under the name already gets no second version: only the alias moves.
`run=models:/streets@production` and `run=models:/streets/3` then name the run wherever a run's id is expected, and
mlflow.pyfunc.load_model("models:/streets@production") loads its model.
"""


def main(arguments: list[str]) -> int:
    """Register, and print the address; returns the exit status 0.

    Raises:
        UserError: arguments are wrong, there is no such run, it has no model, or the sweep has no finished trial.
    """
    given = parse(arguments, ("name",), ("run", "sweep", "alias", "tracking.uri")).values
    faults = _name_faults(given["name"], given.get("alias"))
    if ("run" in given) == ("sweep" in given):
        faults.append("run=<id>, or sweep=<id> for its best trial: one of them expected")
    if faults:
        raise UserError(*faults)
    from pipeline.tracking.registry import register
    from pipeline.tracking.stored_run import open_run

    uri = given.get("tracking.uri")
    with contextlib.ExitStack() as folders:
        if "run" in given:
            stored = open_run(given["run"], uri)
            folders.enter_context(stored.folder)
            _refuse_sweep(stored)
        else:
            stored = _best_trial(given["sweep"], uri, folders)
        done = register(stored.client, stored.run_id, given["name"], given.get("alias"))
    score = stored.run.data.metrics.get("best/val_mean_iou")
    scored = "" if score is None else f", val mIoU {score:.4f}"
    was = "" if done.new else ", which it was already: no new version"
    print(f"run {stored.run_id}{scored}: version {done.version} of '{plain(done.name)}'{was}")
    if done.alias is not None:
        moved = {None: "new", done.version: "as before"}.get(done.before, f"before: version {done.before}")
        print(f"alias '{done.alias}': version {done.version} ({moved})")
    print(f"run={plain(done.address)}")
    return 0


def _name_faults(name: str, alias: str | None) -> list[str]:
    """What MLflow refuses of a name and an alias."""
    faults = []
    if re.search(r"[/:@]", name) or name != name.strip():
        faults.append(f"name={name}: a name without /, : and @ expected, and without spaces at its ends")
    reserved = alias is not None and re.fullmatch(r"latest|v\d+", alias, re.IGNORECASE)
    if alias is not None and (reserved or not re.fullmatch("[A-Za-z0-9_-]{1,255}", alias)):
        faults.append(
            f"alias={alias}: letters, digits, - and _ expected; 'latest' and v with a number, in capitals too, mean "
            "versions in MLflow"
        )
    return faults


def _best_trial(name: str, uri: str | None, folders: contextlib.ExitStack) -> "StoredRun":
    """The finished trial of a sweep with the highest validation mean IoU, as `pipeline.compare` ranks them.

    Args:
        folders: closes the private folders of all trials.

    Raises:
        UserError: there is no such sweep, or no trial of it has finished.
    """
    from pipeline.compare.runs import read_run
    from pipeline.compare.table import best_of
    from pipeline.tracking.run_groups import children_of
    from pipeline.tracking.stored_run import open_run

    sweep = open_run(name, uri, "sweep")
    folders.enter_context(sweep.folder)
    trials, unreadable = children_of(sweep)
    for trial in trials:
        folders.enter_context(trial.folder)
    if not trials and not unreadable:
        raise UserError(f"sweep={name}: is no sweep, or one without a trial; run={name} registers a single run")
    best = best_of(read_run(trial, {}, {}) for trial in trials)
    if best is None:
        states = ", ".join(sorted({str(trial.run.info.status) for trial in trials}))
        raise UserError(f"sweep={name}: none of its trials has finished with a score ({states})", *unreadable)
    return next(trial for trial in trials if trial.run_id == best.run_id)


def _refuse_sweep(stored: "StoredRun") -> None:
    from pipeline.tracking.sweep_runs import IS_SWEEP

    if IS_SWEEP in stored.tags:
        raise UserError(f"{stored.label}: is a sweep; sweep={stored.run_id} registers its best trial")


if __name__ == "__main__":
    run_tool(main, HELP)
