"""The network of a tracked run, ready to predict: what `predict` and `evaluate` start with."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import keras

from pipeline.config.schema import Config
from pipeline.model.build import load_network
from pipeline.runtime.hardware import set_up
from pipeline.runtime.kernels import ROUNDED, difference, in_use
from pipeline.tracking.provenance import train_images
from pipeline.tracking.stored_run import StoredRun, fetch_weights


@dataclass(frozen=True)
class StoredNetwork:
    """A run's network with the weights that the run was evaluated with."""

    run_id: str
    config: Config  # of the run
    network: keras.Model
    train_images: frozenset[str]  # SHA-256 of the images it was trained on; empty where the run did not record them
    tags: Mapping[str, str] = field(default_factory=dict)  # of the run


def load_stored_network(stored: StoredRun, threads: int | str | None = None) -> StoredNetwork:
    """Load a run's network, and set up this process's TensorFlow (threads, precision, determinism) as for the run.

    Where TensorFlow has other kernels than the run's (that of another processor, or of the first run of several), a
    line says so.

    Args:
        stored: the run, whose private folder is removed.
        threads: that this process's TensorFlow already has; None: the run's.

    Raises:
        UserError: it has no evaluated weights, or they are not the recorded ones.
    """
    with stored.folder:
        weights, recorded_sha256 = fetch_weights(stored)
        config = stored.config()
        if line := difference(config.kernels):
            print(f"note: run {stored.run_id}: {line}: {ROUNDED}", file=sys.stderr)
        set_up(replace(config, threads=threads or config.threads, kernels=in_use()))
        network = load_network(config, weights, recorded_sha256)
        return StoredNetwork(stored.run_id, config, network, train_images(stored), stored.tags)
