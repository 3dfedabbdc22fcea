"""The thread that sends a run's journal while the run trains, and goes on trying while the server does not answer."""

import contextlib
import sys
import threading
import time

from pipeline.runtime.errors import UserError
from pipeline.runtime.process import HEARTBEAT
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.delivery import Delivery

LONGEST_PAUSE = 60.0  # seconds between two attempts


class Sender:
    """Sends what is appended to a journal, in the background. Training never waits for it."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery, self._journal = delivery, delivery.journal
        self._closing = self._left = False
        self._failure: str | None = None  # why the last attempt failed
        self._told = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        # A thread of its own, since sending a large file may take longer than a run may be silent.
        self._heart = threading.Thread(target=self._beat_on, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()
        self._heart.start()

    def wait_for_run(self, seconds: float) -> str | None:
        """MLflow's id of the run, as soon as it has one; None when it has none after so many seconds."""
        until = time.monotonic() + seconds
        while self._delivery.run_id is None and self._failure is None and time.monotonic() < until:
            time.sleep(0.01)
        return self._delivery.run_id

    def close(self, patience: float, longest: float = float("inf")) -> str | None:
        """Send the rest and end.

        Args:
            patience: seconds for which a server that does not answer is asked again.
            longest: seconds after which even a server that answers is left.

        Returns:
            Why something is left to be sent; None when all is sent.
        """
        with self._journal.appended:
            self._closing = True
            self._journal.appended.notify_all()
        self._ended.set()
        began = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.02)
            waited = time.monotonic() - began
            if waited > longest or (self._failure is not None and waited > patience):
                self._left = True
                return self._failure or "there was no time"
        return None

    def _work(self) -> None:
        failures = 0
        while not self._left:
            with self._journal.appended:
                while self._delivery.done and not self._closing:
                    self._journal.appended.wait()
                if self._delivery.done and self._closing:
                    return
            try:
                if not self._delivery.done:
                    self._delivery.send_next()
            except Exception as error:  # whatever it is, the run goes on, and what is not sent stays in the journal
                self._failure = _told(error)
                self._say_once()
                pause = min(LONGEST_PAUSE, 0.5 * 2**failures)
                failures += 1
                self._pause(pause)
            else:
                if failures:
                    failures = 0
                self._failure = None

    def _beat_on(self) -> None:
        """Say that the run is alive: its folder does whether a server answers or not."""
        while True:
            with contextlib.suppress(OSError):
                (self._journal.folder / "heartbeat").touch()
            with contextlib.suppress(Exception):  # the thread that sends meets the same fault, and tells it
                self._delivery.heartbeat(time.time())
            if self._ended.wait(HEARTBEAT):
                return

    def _say_once(self) -> None:
        if not self._told:
            self._told = True
            print(
                f"warning: {self._failure}; the run goes on, and what it logs is kept in {self._journal.folder} "
                "and sent as soon as it can be",
                file=sys.stderr,
            )

    def _pause(self, seconds: float) -> None:
        """Wait, but not long once the run is over and everything waits for this."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if self._closing:
                left = min(left, 0.5)
                until = min(until, time.monotonic() + left)
            time.sleep(min(left, 0.1))


def _told(error: Exception) -> str:
    """The line of an error that says what went wrong."""
    text = str(error) if isinstance(error, UserError) else f"tracking: {str(error) or type(error).__name__}"
    return plain(mask_credentials(text.strip().splitlines()[0]))
