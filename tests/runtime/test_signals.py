"""The first signal can be deferred, the second is immediate. Real signals are sent to the process of the tests."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.runtime import signals
from pipeline.runtime.signals import Interrupted, deferred, install, pending, raise_pending

BOTH = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    """Install the program's handlers, and restore the previous ones afterwards."""
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, *signals.OTHERS)}
    for number in signals.OTHERS:
        signal.signal(number, signal.SIG_DFL)
    install()
    yield
    for number, handler in previous.items():
        signal.signal(number, handler)
    signals._pending, signals._deferred = None, False


def send(number: int) -> None:
    """A signal, as the system delivers it: Python's handler runs before the next line."""
    os.kill(os.getpid(), number)


@BOTH
def test_a_signal_is_raised_at_once(number: int) -> None:
    with pytest.raises(Interrupted) as raised:
        send(number)
    assert raised.value.number == number and pending()


@pytest.mark.parametrize(
    ("number", "status", "message"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGHUP, 129, "ended by SIGHUP"),
        (signal.SIGUSR1, 138, "ended by SIGUSR1"),
        (signal.SIGUSR2, 140, "ended by SIGUSR2"),
        (signal.SIGXCPU, 152, "ended by SIGXCPU"),
    ],
)
def test_status_and_message_say_which_signal_it_was(number: int, status: int, message: str) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:  # code that handles Ctrl-C handles SIGTERM as well
        send(number)
    assert isinstance(raised.value, Interrupted)
    assert (raised.value.exit_status, raised.value.message) == (status, message)


def test_an_interruption_is_ctrl_c_by_default() -> None:
    assert (Interrupted().exit_status, Interrupted().message) == (130, "interrupted")


@BOTH
def test_a_deferred_signal_waits_until_the_end(number: int) -> None:
    steps = []
    with pytest.raises(Interrupted) as raised, deferred():
        assert not pending()
        steps.append("before")
        send(number)
        steps.append("after")
        assert pending()
    assert steps == ["before", "after"] and raised.value.number == number


def test_a_deferred_signal_is_raised_on_request() -> None:
    steps = []
    with pytest.raises(Interrupted) as raised, deferred():
        raise_pending()  # nothing waits
        send(signal.SIGTERM)
        steps.append("the step in flight, and its checkpoint")
        raise_pending()
        steps.append("the next step")
    assert steps == ["the step in flight, and its checkpoint"] and raised.value.exit_status == 143


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_is_immediate(first: int, second: int) -> None:
    steps = []
    with pytest.raises(Interrupted) as raised, deferred():
        send(first)
        steps.append("first")
        send(second)
        steps.append("second")
    assert steps == ["first"] and raised.value.number == second


def test_signals_are_immediate_after_the_block() -> None:
    with deferred():
        pass
    with pytest.raises(Interrupted):
        send(signal.SIGINT)


def test_a_second_signal_ends_what_the_first_started() -> None:
    ended = []
    with pytest.raises(Interrupted) as raised:
        try:
            with deferred():
                send(signal.SIGINT)
                raise_pending()
        except Interrupted:
            send(signal.SIGTERM)
            ended.append("not reached")
    assert not ended and raised.value.number == signal.SIGTERM


def test_a_waiting_signal_does_not_hide_an_error() -> None:
    with pytest.raises(ZeroDivisionError), deferred():
        send(signal.SIGINT)
        _ = 1 // 0
    assert pending()  # code that continues after the error, such as a sweep, can ask
    with pytest.raises(Interrupted):
        raise_pending()


def test_a_block_after_a_block_defers_again() -> None:
    with deferred():
        pass
    steps = []
    with pytest.raises(Interrupted), deferred():
        send(signal.SIGTERM)
        steps.append("deferred")
    assert steps == ["deferred"]


def test_without_the_handlers_nothing_is_deferred() -> None:
    """The negative control: Python's own handler defers nothing."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    steps = []
    with pytest.raises(KeyboardInterrupt) as raised, deferred():
        send(signal.SIGINT)
        steps.append("not reached")
    assert not steps and not isinstance(raised.value, Interrupted)


@pytest.mark.parametrize("first", [signal.SIGTERM, *signals.OTHERS])
@pytest.mark.parametrize("second", signals.OTHERS)
def test_only_a_person_is_impatient(first: int, second: int) -> None:
    """A terminal that closes sends SIGHUP twice, a service that stops SIGTERM and SIGHUP, a limit one each second."""
    steps = []
    with pytest.raises(Interrupted) as raised, deferred():
        send(first)
        send(second)
        steps.append("the step in flight, and its checkpoint")
    assert steps and raised.value.number == first


def test_a_person_may_be_impatient_after_a_hang_up() -> None:
    with pytest.raises(Interrupted) as raised, deferred():
        send(signal.SIGHUP)
        send(signal.SIGTERM)
        pytest.fail("not reached")
    assert raised.value.number == signal.SIGTERM


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """As under `nohup`."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    install()
    send(signal.SIGHUP)
    assert not pending()


def test_a_signal_that_is_handled_keeps_its_handler() -> None:
    """As that of a launcher which requeues its job."""
    received: list[int] = []
    signal.signal(signal.SIGUSR2, lambda number, _: received.append(number))
    install()
    send(signal.SIGUSR2)
    assert received == [signal.SIGUSR2] and not pending()
