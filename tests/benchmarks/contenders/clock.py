"""The seconds of an epoch of Keras's `fit`, without what it does before and after all epochs, once in a run."""

import time

import keras


class Clock(keras.callbacks.Callback):
    """Sees every step, as a run's callback does."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Start."""
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Nothing; that it is there makes Keras fetch each step's loss."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began
