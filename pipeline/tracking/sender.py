"""The thread that sends a run's journal while the run trains, and keeps trying while the server does not answer."""

import contextlib
import sys
import threading
import time

from pipeline.runtime.errors import UserError
from pipeline.runtime.process import HEARTBEAT
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.refusals import summary
from pipeline.tracking.run_ref import HEARTBEAT_FILE

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0  # seconds between two attempts: doubled after each failure
LONGEST_PAUSE_AT_END = 0.5  # once the run is over and everything waits for its sender


class Sender:
    """Sends what is appended to a journal, in the background. Training never waits for it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._journal = delivery, delivery.journal
        self._closing = self._abandoned = False
        self._failure: str | None = None  # why the last attempt failed
        self._failing_since: float | None = None  # when the first attempt failed after the last that succeeded
        self._warned = self._warned_of_files = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        # A thread of its own, since sending a large file may take longer than a run may be silent.
        self._heart = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()
        self._heart.start()

    def wait_for_run(self, seconds: float) -> str | None:
        """MLflow's id of the run as soon as it has one; None if it has none after so many seconds."""
        until = time.monotonic() + seconds
        while self._delivery.run_id is None and self._failure is None and time.monotonic() < until:
            time.sleep(0.01)
        return self._delivery.run_id

    def close(self, timeout: float, total_timeout: float = float("inf")) -> str | None:
        """Send the rest and end.

        Args:
            timeout: seconds for which a server that does not answer is tried again. They count from its first failure,
                since one that is only slow may take longer, or from now if it failed before.
            total_timeout: seconds after which even a server that answers is abandoned.

        Returns:
            Why something is not sent; None if everything is, but for the files that `Delivery.deferred` has.
        """
        with self._journal.appended:
            self._closing = True
            self._journal.appended.notify_all()
        self._ended.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.02)
            now, failing_since = time.monotonic(), self._failing_since
            failed_too_long = failing_since is not None and now - max(began, failing_since) > timeout
            if failed_too_long or now - began > total_timeout:
                self._abandoned = True
                return self._failure or "there was no time"
        return None

    def _work(self) -> None:
        failures = 0
        while not self._abandoned:
            with self._journal.appended:
                while self._delivery.done and not self._closing:
                    self._journal.appended.wait()
                ending = self._delivery.done
            try:
                if ending:
                    self._delivery.retry_deferred()
                    self._failure = self._failing_since = None
                    return
                self._delivery.send_next()
                self._warn_of_files()
            except Exception as error:  # whatever it is, the run continues, and the journal keeps what is not sent
                self._failure = _reason(error)
                self._failing_since = self._failing_since or time.monotonic()
                self._warn_once()
                pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2**failures)
                failures += 1
                self._pause(pause)
            else:
                failures = 0
                self._failure = self._failing_since = None

    def _beat(self) -> None:
        """Show that the run is alive: in its folder, whether a server answers or not, and in MLflow."""
        while True:
            with contextlib.suppress(OSError):
                (self._journal.folder / HEARTBEAT_FILE).touch()
            with contextlib.suppress(Exception):  # the thread that sends meets the same error, and reports it
                self._delivery.heartbeat(time.time())
            if self._ended.wait(HEARTBEAT):
                return

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            print(
                f"warning: {self._failure}; the run continues, and what it logs is stored in {self._journal.folder} "
                "and sent as soon as possible",
                file=sys.stderr,
            )

    def _warn_of_files(self) -> None:
        if self._delivery.deferred and not self._warned_of_files:
            self._warned_of_files = True
            (line, *_) = summary(self._delivery.deferred.values())
            print(
                f"warning: MLflow cannot store {line}; everything else is sent, and files that are refused wait in "
                f"{self._journal.outbox.folder}",
                file=sys.stderr,
            )

    def _pause(self, seconds: float) -> None:
        """Wait, but only briefly once the run is over and everything waits for this thread."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._closing:
                left = min(left, LONGEST_PAUSE_AT_END)
                until = min(until, time.monotonic() + left)
            time.sleep(min(left, 0.1))


def _reason(error: Exception) -> str:
    """The line of an error that says what went wrong."""
    text = str(error) if isinstance(error, UserError) else f"tracking: {str(error) or type(error).__name__}"
    return plain(mask_credentials(text.strip().splitlines()[0]))
