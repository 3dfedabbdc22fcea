"""What makes two runs the same: resolved configuration, data, and the sources that affect weights or scores."""

import hashlib
import json

from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.runtime.files import PACKAGE

NOT_IN_IT = ("tracking.", "checkpoint.", "sweep.")  # prefixes of keys that change no weight and no score
WHERE_DATA_LIES = ("data_dir", "dataset.root", "init_from", "model.encoder_weights")
# Folders and files of this package that decide weights or scores. The others show, send, ask or arrange.
DECIDING = ("config/", "data/", "evaluate/", "model/", "train/", "runtime/hardware.py", "runtime/seeds.py")


def changes_nothing(key: str) -> bool:
    """Whether a key of the configuration is without effect on weights and scores."""
    return key.startswith(NOT_IN_IT) or key in WHERE_DATA_LIES


def fingerprint(config: Config, data_digest: str, initial_sha256: str | None) -> str:
    """SHA-256 over the resolved configuration, the data, what is started from, and the sources.

    Args:
        initial_sha256: of the weights, or of another run's checkpoint, that is started from; None for random ones.
    """
    keys = {key: value for key, value in flatten(config).items() if not changes_nothing(key)}
    content = {"config": keys, "data": data_digest, "initial": initial_sha256, "sources": sources_sha256()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sources_sha256() -> str:
    """SHA-256 over names and contents of this package's files that affect weights or scores."""
    return hashlib.sha256(json.dumps(sorted(sources().items())).encode()).hexdigest()


def sources() -> dict[str, str]:
    """{name: SHA-256 of its content} of this package's files that affect weights or scores."""
    found = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
    return {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if name.startswith(DECIDING)
    }
