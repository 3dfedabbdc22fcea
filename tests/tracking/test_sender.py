"""The thread that sends: whoever logs never waits for it, and what a server missed is sent when it is back."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.runtime.errors import UserError
from pipeline.tracking import sender as module
from pipeline.tracking.journal import Journal
from pipeline.tracking.sender import Sender


class Server:
    """Takes the place of `Delivery`: counts what arrives, and fails or waits as it is told to."""

    def __init__(self, journal: Journal) -> None:
        self.journal, self.sent, self.run_id = journal, 0, None
        self.failures: list[Exception] = []  # what the next attempts raise
        self.arrived: list[int] = []
        self.beats = 0
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
        self.arrived.append(self.journal.records[self.sent]["number"])
        self.sent += 1

    def heartbeat(self, _instant: float) -> None:
        self.beats += 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    journal = Journal(tmp_path / "run")
    yield Server(journal)
    journal.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second, one, two, … as hundredths."""
    pause = Sender._pause
    monkeypatch.setattr(Sender, "_pause", lambda sender, seconds: pause(sender, seconds / 100))


def log(server: Server, *numbers: int) -> None:
    for number in numbers:
        server.journal.append("tags", number=number)


def ended(sender: Sender) -> bool:
    sender._thread.join(30)
    return not sender._thread.is_alive()


def test_what_was_logged_before_and_after_the_start_arrives_in_order(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    log(server, *range(5))
    sender = Sender(server)
    sender.start()
    assert sender.wait_for_run(30) == "id"
    log(server, *range(5, 50))
    assert sender.close(patience=30) is None and ended(sender)
    assert server.arrived == list(range(50))
    assert (server.journal.folder / "heartbeat").is_file() and server.beats == 1
    assert capsys.readouterr().err == ""


def test_whoever_logs_does_not_wait_for_a_server_that_hangs(server: Server) -> None:
    server.answers.clear()
    sender = Sender(server)
    sender.start()
    log(server, 0)
    assert server.asked.wait(30)
    log(server, *range(1, 20))  # returns, though nothing has arrived
    assert server.arrived == [] and len(server.journal.records) == 20
    server.answers.set()
    assert sender.close(patience=30) is None
    assert server.arrived == list(range(20))


@pytest.mark.parametrize("failures", [1, 4])
def test_a_server_that_fails_and_comes_back_gets_all_and_it_is_said_once(
    server: Server, capsys: pytest.CaptureFixture[str], failures: int
) -> None:
    sender = Sender(server)
    server.failures = [OSError("http://ada:secret@host: no\x1b[31m\nanswer")] * failures
    log(server, 0, 1)
    assert sender.wait_for_run(0) is None  # nothing has been sent, and nobody waits for it
    sender.start()
    until(lambda: server.done)
    server.failures = [ValueError()]  # a second outage is not told again
    log(server, 2)
    until(lambda: server.done)
    assert sender.close(patience=0) is None
    assert server.arrived == [0, 1, 2]
    assert capsys.readouterr().err == (
        "warning: tracking: http://***@host: no\\x1b[31m; the run goes on, and what it logs is kept in "
        f"{server.journal.folder} and sent as soon as it can be\n"
    )


def until(happens: Callable[[], bool]) -> None:
    """Wait for what another thread does."""
    last = time.monotonic() + 30
    while not happens():
        assert time.monotonic() < last
        time.sleep(0.005)


def test_the_warning_names_what_is_wrong_even_where_an_error_says_nothing(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    assert module._told(AssertionError()) == "tracking: AssertionError"
    assert module._told(UserError("tracking.uri=x: does not answer", "more")) == "tracking.uri=x: does not answer"


def test_pauses_between_attempts_grow_to_a_minute_and_begin_anew_after_a_success(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(Sender, "_pause", lambda _sender, seconds: pauses.append(seconds))
    server.failures = [OSError()] * 9
    log(server, 0)
    sender = Sender(server)
    sender.start()
    until(lambda: server.done)
    server.failures = [OSError()]
    log(server, 1)
    assert sender.close(patience=30) is None
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 0.5]


def test_when_patience_is_over_the_reason_is_returned_and_the_thread_ends(server: Server) -> None:
    """The next run of the same process has a sender of its own, beside which this one must not go on."""
    server.failures = [OSError("gone")] * 10**6
    log(server, 0)
    sender = Sender(server)
    sender.start()
    assert sender.close(patience=0.0) == "tracking: gone"
    assert ended(sender)
    assert server.arrived == []


def test_an_interrupted_run_leaves_even_a_server_that_answers(server: Server) -> None:
    server.answers.clear()
    log(server, 0, 1)
    sender = Sender(server)
    sender.start()
    assert sender.close(patience=30, longest=0.0) == "there was no time"
    server.answers.set()
    assert ended(sender)
    assert server.arrived in ([], [0])  # what was under way may arrive; nothing after it is begun


def test_a_server_that_fails_while_the_run_is_over_is_asked_again_until_patience_ends(server: Server) -> None:
    server.failures = [OSError("restarts")] * 3
    log(server, 0, 1)
    sender = Sender(server)
    sender.start()
    assert sender.close(patience=30) is None
    assert server.arrived == [0, 1]


def test_a_sender_that_was_never_started_is_closed_at_once(server: Server) -> None:
    assert Sender(server).close(patience=30) is None


def test_an_idle_run_says_that_it_is_alive_whether_the_server_answers_or_not(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
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
    sender.close(patience=0.0)
