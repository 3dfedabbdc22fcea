"""What runs could not send to MLflow is sent now: `python -m pipeline.sync`."""

import contextlib
import sys
from pathlib import Path

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials, plain

HELP = """\
Sends to MLflow what is still in the journals of runs under mlruns/, as after a run whose tracking server went away.

  python -m pipeline.sync                       every run of this folder that is not alive
  python -m pipeline.sync run=<run_key or id>   one of them

run=…            one run
tracking.uri=…   MLflow tracking address; by default the one that each run was started with

What is sent twice changes nothing, and runs that are alive send for themselves. Exit status 1: something is left.
"""


def main(arguments: list[str]) -> int:
    """Send; 0 when nothing is left, 1 when something is.

    Raises:
        UserError: arguments are wrong, or there is no such run.
    """
    given = parse(arguments, optional=("run", "tracking.uri")).values
    from pipeline.tracking.delivery import Delivery, read_position
    from pipeline.tracking.journal import Busy, Journal, begin_of
    from pipeline.tracking.local_runs import find_local, local_runs, mark_leftovers, tracking_of
    from pipeline.tracking.tracked_run import RUNS

    mark_leftovers(TrackingConfig(), None)
    folders: list[Path] = list(local_runs())
    if "run" in given:
        folder = find_local(given["run"])
        if folder is None:
            raise UserError(f"run={given['run']}: no run under {RUNS} has this run_key or id")
        folders = [folder]
    sent, left = 0, False
    # The oldest first, and sweeps before their trials, which name them in MLflow.
    oldest_first = list(reversed(folders))
    for folder in sorted(oldest_first, key=lambda folder: "parent" in (begin_of(folder) or {})):
        try:
            journal = Journal(folder)
        except Busy:
            print(f"{folder.name}: is alive and sends for itself")
            continue
        with contextlib.closing(journal):
            waiting = len(journal.records) - read_position(folder)[1]
            if not waiting:
                continue  # before its address, which may lack a password, is looked at
            try:
                delivery = Delivery(journal, tracking_of(journal.records[0], given.get("tracking.uri")))
                while not delivery.done:
                    delivery.send_next()
                    waiting, sent = len(journal.records) - delivery.sent, sent + 1
                print(f"{folder.name}: sent as run {delivery.run_id}")
            except Exception as error:  # whatever it is, the other runs are sent
                left = True
                reason = plain(mask_credentials((str(error).strip() or repr(error)).splitlines()[0]))
                print(f"error: {folder.name}: {waiting} records are left: {reason}", file=sys.stderr)
    if not sent and not left:
        print("nothing was left to send")
    return 1 if left else 0


if __name__ == "__main__":
    run_tool(main, HELP, needs_arguments=False)
