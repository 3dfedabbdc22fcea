"""The thread that sends: logging never waits for it, and what a server missed is sent when it is back."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tracking import sender as module
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Tags
from pipeline.tracking.refusals import Refusal
from pipeline.tracking.sender import Sender


class Server:
    """Replaces `Delivery`: records what arrives, and fails or hangs on request."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.sent, self.run_id = journal, 0, None
        self.failures: list[Exception] = []  # what the next attempts raise
        self.arrived: list[int] = []
        self.beats = 0
        self.deferred: dict[int, Refusal] = {}
        self.retried = 0
        self.asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()

    @property
    def done(self) -> bool:
        return self.sent >= len(self.journal.records)

    def send_next(self) -> None:
        self.asked.set()
        self.answers.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.run_id = "id"
        self.arrived.append(int(self.journal.records[self.sent].values["number"]))
        self.sent += 1

    def retry_deferred(self) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.retried += 1

    def heartbeat(self, _instant: float) -> None:
        self.beats += 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    journal = Journal(tmp_path / "run")
    yield Server(journal)
    journal.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundredth of every pause."""
    pause = Sender._pause
    monkeypatch.setattr(Sender, "_pause", lambda sender, seconds: pause(sender, seconds / 100))


def log(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.journal.append(Tags({"number": str(number)}))


def ended(sender: Sender) -> bool:
    sender._thread.join(30)
    return not sender._thread.is_alive()


def test_records_before_and_after_the_start_arrive_in_order(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    log(server, *range(5))
    sender = Sender(server)
    sender.start()
    assert sender.wait_for_run(30) == "id"
    log(server, *range(5, 50))
    assert sender.close(timeout=30) is None and ended(sender)
    assert server.arrived == list(range(50))
    assert (server.journal.folder / "heartbeat").is_file() and server.beats == 1
    assert capsys.readouterr().err == ""


def test_logging_does_not_wait_for_a_server_that_hangs(server: Server) -> None:
    server.answers.clear()
    sender = Sender(server)
    sender.start()
    log(server, 0)
    assert server.asked.wait(30)
    log(server, *range(1, 20))  # returns, though nothing has arrived
    assert server.arrived == [] and len(server.journal.records) == 20
    server.answers.set()
    assert sender.close(timeout=30) is None
    assert server.arrived == list(range(20))


@pytest.mark.parametrize("failures", [1, 4])
def test_a_server_that_comes_back_gets_everything(
    server: Server, capsys: pytest.CaptureFixture[str], failures: int
) -> None:
    """And one warning is printed."""
    sender = Sender(server)
    server.failures = [OSError("http://ada:secret@host: no\x1b[31m\nanswer")] * failures
    log(server, 0, 1)
    assert sender.wait_for_run(0) is None  # nothing has been sent, and nobody waits for it
    sender.start()
    until(lambda: server.done)
    server.failures = [ValueError()]  # a second outage prints no second warning
    log(server, 2)
    until(lambda: server.done)
    assert sender.close(timeout=0) is None
    assert server.arrived == [0, 1, 2]
    assert capsys.readouterr().err == (
        "warning: tracking: http://***@host: no\\x1b[31m; the run continues, and what it logs is stored in "
        f"{server.journal.folder} and sent as soon as possible\n"
    )


def until(happens: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    last = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < last
        time.sleep(0.005)


def test_the_warning_has_a_reason_even_if_the_error_has_none(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module._reason(AssertionError()) == "tracking: AssertionError"
    assert module._reason(UserError("tracking.uri=x: does not answer", "more")) == "tracking.uri=x: does not answer"


def test_pauses_grow_to_a_minute_until_an_attempt_succeeds(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Sender, "_pause", lambda _sender, seconds: pauses.append(seconds))
    server.failures = [OSError()] * 9
    log(server, 0)
    sender = Sender(server)
    sender.start()
    until(lambda: server.done)
    server.failures = [OSError()]
    log(server, 1)
    assert sender.close(timeout=30) is None
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 0.5]


def test_after_the_timeout_the_reason_is_returned(server: Server) -> None:
    """And the thread ends: the next run of the same process has a sender of its own."""
    server.failures = [OSError("gone")] * 10**6
    log(server, 0)
    sender = Sender(server)
    sender.start()
    assert sender.close(timeout=0.0) == "tracking: gone"
    assert ended(sender)
    assert server.arrived == []


def test_an_interrupted_run_abandons_even_a_server_that_answers(server: Server) -> None:
    server.answers.clear()
    log(server, 0, 1)
    sender = Sender(server)
    sender.start()
    assert sender.close(timeout=30, total_timeout=0.0) == "there was no time"
    server.answers.set()
    assert ended(sender)
    assert server.arrived in ([], [0])  # the request in progress may arrive, and nothing after it


def test_a_server_that_restarts_at_the_end_is_tried_again(server: Server) -> None:
    server.failures = [OSError("restarts")] * 3
    log(server, 0, 1)
    sender = Sender(server)
    sender.start()
    assert sender.close(timeout=30) is None
    assert server.arrived == [0, 1]


class Clock:
    """The sender's clock, which a test sets forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead = 0.0
        time_of_sender = SimpleNamespace(
            monotonic=lambda: time.monotonic() + self.ahead, sleep=time.sleep, time=time.time
        )
        monkeypatch.setattr(module, "time", time_of_sender)


def test_a_failure_after_a_long_upload_is_tried_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The timeout counts from the failure, however long the server has taken for what it stored."""
    clock, send_next = Clock(monkeypatch), server.send_next
    log(server, 0, 1)
    sender = Sender(server)

    def upload() -> None:
        server.send_next = send_next
        assert sender._ended.wait(30)
        time.sleep(0.1)  # the sender is being closed
        clock.ahead = 100.0
        send_next()
        server.failures = [OSError("502")] * 5

    server.send_next = upload
    sender.start()
    assert sender.close(timeout=30) is None
    assert server.arrived == [0, 1]


def test_a_server_that_was_away_before_the_end_is_tried_for_the_whole_timeout(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    server.failures = [OSError("gone")] * 10**6
    log(server, 0)
    sender = Sender(server)
    sender.start()
    until(lambda: sender._failure is not None)
    clock.ahead = 100.0
    threading.Timer(0.2, server.failures.clear).start()
    assert sender.close(timeout=30) is None
    assert server.arrived == [0]


def test_a_sender_that_was_not_started_is_closed_at_once(server: Server) -> None:
    assert Sender(server).close(timeout=30) is None


def test_an_idle_run_has_a_heartbeat_even_without_a_server(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT", 0.04)
    beat = server.journal.folder / "heartbeat"
    log(server, 0)
    sender = Sender(server)
    sender.start()
    until(lambda: server.beats >= 3)  # nothing new is logged
    server.failures = [OSError()] * 10**6
    log(server, 1)
    until(lambda: len(server.failures) < 10**6 - 1)
    beat.unlink()
    until(beat.is_file)
    sender.close(timeout=0.0)


def test_refused_files_give_one_warning_and_are_tried_again_at_the_end(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    server.deferred = {0: Refusal({"p/a": "too large", "p/b": "too large"})}
    log(server, 0, 1)
    sender = Sender(server)
    sender.start()
    until(lambda: server.done)
    server.failures = [OSError("restarts")] * 2  # the retry waits for a server that is away
    assert sender.close(timeout=30) is None and ended(sender)
    assert (server.arrived, server.retried) == ([0, 1], 1)
    assert capsys.readouterr().err.splitlines()[0] == (
        "warning: MLflow cannot store p/a, p/b: too large; everything else is sent, and files that are refused wait in "
        f"{server.journal.folder}/outbox"
    )
