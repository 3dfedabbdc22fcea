"""Send to MLflow what runs could not send: `python -m pipeline.sync`."""

import contextlib
import sys
from typing import TYPE_CHECKING

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy
from pipeline.runtime.text import mask_credentials, plain

if TYPE_CHECKING:  # imports MLflow, which takes seconds
    from pipeline.tracking.run_ref import RunRef

HELP = """\
Sends to MLflow what is still in the journals of runs under mlruns/, as after a run whose tracking server was away.

  python -m pipeline.sync                       every run of this folder that is not alive
  python -m pipeline.sync run=<run_key or id>   one of them

run=…            one run
tracking.uri=…   MLflow tracking address; by default the one that each run was started with

Sending a record twice changes nothing, and runs that are alive send for themselves. Files that MLflow cannot store are
named, with the reason, and hold up nothing else; so are runs of another user whose files cannot be written.
Exit status 1: something is left.
"""


def main(arguments: list[str]) -> int:
    """Send; returns 0 if everything is sent, 1 if something is left.

    Raises:
        UserError: arguments are wrong, or there is no such run.
    """
    given = parse(arguments, optional=("run", "tracking.uri")).values
    from pipeline.tracking.dead_runs import mark_dead_runs
    from pipeline.tracking.journal import FILE
    from pipeline.tracking.local_runs import find_local, local_runs, unreadable_runs
    from pipeline.tracking.run_ref import RUNS

    mark_dead_runs(TrackingConfig(), None)
    runs = list(local_runs())
    if "run" in given:
        run = find_local(given["run"])
        if run is None:
            raise UserError(f"run={given['run']}: no run under {RUNS} has this run_key or id")
        runs = [run]
    runs.reverse()  # the oldest first, and sweeps before their trials, which name them in MLflow
    results = [_send(run, given.get("tracking.uri")) for run in sorted(runs, key=_is_trial)]
    for folder in sorted({checkpoints.parent for checkpoints in RUNS.glob("[!.]*/checkpoints")}):
        if not (folder / FILE).exists():
            print(
                f"error: {folder}: {FILE} is missing, so nothing of this run can be sent; restore that file",
                file=sys.stderr,
            )
            results.append("left")
    for folder in unreadable_runs():
        why = "since this user cannot read it; only the user who began this run can send it"
        print(f"note: {folder}: is left alone, {why}", file=sys.stderr)
    if not any(results):
        print("nothing to send")
    return 1 if "left" in results else 0


def _send(run: "RunRef", uri: str | None) -> str:
    """Send what is left of a run, and report it; returns "sent", "left" if it failed, or "" if there was nothing."""
    from pipeline.tracking.delivery import Delivery, NotStored
    from pipeline.tracking.journal import Journal
    from pipeline.tracking.run_ref import tracking_of

    try:
        journal = Journal(run.folder)
    except Busy:
        print(f"{run.key}: is alive and sends for itself")
        return ""
    except OSError as error:  # of a run of another user, or of a broken disk: the other runs are sent
        return _not_opened(run, error)
    with contextlib.closing(journal):
        if not run.unsent():
            return ""  # without looking at its address, which may lack a password
        try:
            delivery = Delivery(journal, tracking_of(journal.begin, uri))
            delivery.send_all()
        except NotStored as error:
            for line in error.faults:
                print(f"error: {run.key}: MLflow has not stored {plain(line)}", file=sys.stderr)
            return "left"
        except Exception as error:  # whatever it is, the other runs are sent
            reason = plain(mask_credentials((str(error).strip() or repr(error)).splitlines()[0]))
            print(f"error: {run.key}: {run.unsent()} records are not sent: {reason}", file=sys.stderr)
            return "left"
    print(f"{run.key}: sent as run {delivery.run_id}")
    return "sent"


def _not_opened(run: "RunRef", error: OSError) -> str:
    """Report a run whose journal cannot be opened, if something of it is left; returns "left" or ""."""
    if not (unsent := run.unsent()):
        return ""
    reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    advice = "; only the user who began this run can send it" if isinstance(error, PermissionError) else ""
    print(f"error: {run.key}: {unsent} records are not sent: {plain(reason)}{advice}", file=sys.stderr)
    return "left"


def _is_trial(run: "RunRef") -> bool:
    begin = run.begin()
    return begin is not None and begin.parent is not None


if __name__ == "__main__":
    run_tool(main, HELP, needs_arguments=False)
