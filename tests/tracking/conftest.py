"""A journal in a new folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.tracking.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "run")
    yield journal
    journal.close()
