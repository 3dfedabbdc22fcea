"""What makes two runs the same: resolved configuration, data, and the sources that affect weights or scores."""

import hashlib
import json
from pathlib import Path

from pipeline.config import Config, flatten

PACKAGE = Path(__file__).resolve().parent
NOT_IN_IT = ("tracking.", "checkpoint.", "sweep.")  # prefixes of keys that change no weight and no score
WHERE_DATA_LIES = ("data_dir", "dataset.root")
# Sources that only show, send or ask.
WITHOUT_EFFECT = (
    "tracking/",
    "command_line.py",
    "confusion_plot.py",
    "display.py",
    "evaluate.py",
    "help.py",
    "overlay.py",
    "predict.py",
    "report.py",
    "side_tool.py",
)


def fingerprint(config: Config, data_digest: str) -> str:
    """SHA-256 over the resolved configuration, the digest of the data and the contents of the sources."""
    keys = {
        key: value
        for key, value in flatten(config).items()
        if not key.startswith(NOT_IN_IT) and key not in WHERE_DATA_LIES
    }
    content = {"config": keys, "data": data_digest, "sources": sources_sha256()}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def sources_sha256() -> str:
    """SHA-256 over names and contents of this package's files that affect weights or scores."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith(WITHOUT_EFFECT):
            digest.update(json.dumps([name, hashlib.sha256(path.read_bytes()).hexdigest()]).encode())
    return digest.hexdigest()
