"""What tests of journals share."""

from collections.abc import Iterable
from typing import Any

from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Record


def contents(records: Iterable[Record]) -> list[dict[str, Any]]:
    """The JSON objects of records, without their time."""
    return [{key: value for key, value in record.content().items() if key != "time"} for record in records]


def kinds(records: Iterable[Record]) -> list[str]:
    return [record.kind for record in records]


def reopened(journal: Journal) -> Journal:
    journal.close()
    return Journal(journal.folder)
