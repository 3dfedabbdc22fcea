"""Faults of a dataset's files and lists: one message for each kind, with a count and examples."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

EXAMPLES = 3  # that a message names besides the first one


@dataclass(frozen=True)
class Fault:
    """One fault. The first one of a kind is described, and the others are counted."""

    kind: Hashable
    name: str  # of the line, id or file, as an example
    what: str  # what is wrong with it
    to_do: str = ""  # for all faults of this kind


def one_message_each(faults: Iterable[Fault]) -> list[str]:
    """A message for each kind of fault, in the order of the first ones."""
    kinds: dict[Hashable, list[Fault]] = {}
    for fault in faults:
        kinds.setdefault(fault.kind, []).append(fault)
    return [_message(same) for same in kinds.values()]


def _message(same: list[Fault]) -> str:
    first, others = same[0], same[1:]
    shown = [fault.name for fault in others[:EXAMPLES]] + (["…"] if len(others) > EXAMPLES else [])
    more = f" ({len(others)} more like this: {', '.join(shown)})" if others else ""
    return first.what + more + (f"; {first.to_do}" if first.to_do else "")
