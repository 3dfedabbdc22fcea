"""Images per second, without the time that compiling takes."""

import pytest

from pipeline.train import throughput
from pipeline.train.throughput import Throughput


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: now[0])
    return now


def take_steps(measured: Throughput, clock: list[float], *seconds: float) -> None:
    for each in seconds:
        clock[0] += each
        measured.step()


def test_the_first_step_of_the_process_does_not_count(clock: list[float]) -> None:
    measured = Throughput(batch_size=4)
    measured.start_epoch()
    take_steps(measured, clock, 30)
    assert measured.images_per_second == 0
    take_steps(measured, clock, 2, 2)
    assert measured.images_per_second == 2


def test_every_epoch_is_measured_for_itself(clock: list[float]) -> None:
    measured = Throughput(batch_size=4)
    measured.start_epoch()
    take_steps(measured, clock, 30, 1)
    clock[0] += 60  # validation
    measured.start_epoch()
    assert measured.images_per_second == 0
    take_steps(measured, clock, 2, 2)
    assert measured.images_per_second == 2
