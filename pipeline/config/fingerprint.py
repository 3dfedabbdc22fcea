"""What makes two runs the same: resolved configuration, data, and the sources that affect weights or scores.

What makes no difference is listed here for all that ask: fingerprints, and the identity of sweeps and of their trials.
"""

import hashlib
import json

from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.runtime.files import PACKAGE

# Keys of the configuration that change no weight and no score, by their prefixes: how a run is recorded. Of where data
# and initial weights lie, the content counts, which the fingerprint has hashes of; from memory or a file, images are
# the same.
NOT_IN_FINGERPRINT = ("tracking.", "checkpoint.", "sweep.")
PLACES = ("data_dir", "cache_mb", "dataset.root", "init_from", "model.encoder_weights")
APPEARANCE = ("dataset.colours", "evaluate.log_images")  # of overlays and palettes; images that are only looked at
# Overrides, by their prefixes, that change neither what a sweep trains nor what it compares.
NOT_IN_SWEEP_NAME = (
    "tracking=", "tracking.", "sweep.name", "sweep.max_failures", "sweep.max_minutes", "sweep.retry_failed", "hydra.",
    "hydra/", *APPEARANCE,
)  # fmt: skip
# A trial does not depend on what a search optimises or where its study is stored: another search may use its result.
NOT_IN_TRIAL_NAME = (*NOT_IN_SWEEP_NAME, "sweep.", "sweep=", "resume=")
NOT_IN_DEFAULTS = ("tracking/", "sweep/", "hydra/")  # files of conf/ that change no result
# Folders and files of this package that decide weights or scores. All others display, send, look up or organise.
DECIDING = (
    "config/",
    "data/",
    "evaluate/",
    "model/",
    "train/",
    "runtime/hardware.py",
    "runtime/kernels.py",
    "runtime/keras_settings.py",
    "runtime/seeds.py",
)


def changes_nothing(key: str) -> bool:
    """Whether a key of the configuration has no effect on weights and scores."""
    return key.startswith(NOT_IN_FINGERPRINT) or key in (*PLACES, *APPEARANCE)


def fingerprint(config: Config, data_digest: str, initial_sha256: str | None) -> str:
    """SHA-256, in hexadecimal, over the resolved configuration, the data, the initial weights, and the sources.

    Args:
        data_digest: over the contents of all splits and the class names.
        initial_sha256: of the initial weights, or of the checkpoint that they are from; None for random ones.
    """
    keys = {key: value for key, value in flatten(config).items() if not changes_nothing(key)}
    content = {"config": keys, "data": data_digest, "initial": initial_sha256, "sources": sources_sha256()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sources_sha256() -> str:
    """SHA-256 over the names and contents of this package's files that affect weights or scores."""
    return hashlib.sha256(json.dumps(sorted(sources().items())).encode()).hexdigest()


def sources() -> dict[str, str]:
    """{name: SHA-256 of its content} of this package's files that affect weights or scores."""
    found = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if name.startswith(DECIDING)
    }
