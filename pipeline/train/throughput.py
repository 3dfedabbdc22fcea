"""How fast training is."""

import time


class Throughput:
    """Training images per second in this epoch, without the first step of the process, which compiles."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size, self._steps = batch_size, 0
        # When the measured steps began: after the first step of this process, later at the epoch's start.
        self._began: float | None = None
        self._last = 0.0

    def start_epoch(self) -> None:
        """Measure a new epoch."""
        self._steps = 0
        if self._began is not None:
            self._began = time.perf_counter()

    def step(self) -> None:
        """A step is done."""
        self._last = time.perf_counter()
        if self._began is None:
            self._began = self._last
        else:
            self._steps += 1

    @property
    def images_per_second(self) -> float:
        """0 before the second step of the process is done."""
        if self._began is None or not self._steps:
            return 0.0
        return self._steps * self._batch_size / (self._last - self._began)
