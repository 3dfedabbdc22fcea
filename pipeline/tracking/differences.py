"""How what a run is made with differs from what another was made with, in lines for a person."""

from collections.abc import Mapping

from pipeline.runtime.text import plain
from pipeline.tracking.provenance import Provenance

MOST_NAMED = 5  # packages, files or images that a line names
LONGEST_NAMED = 300  # characters of each


def differences(original: Provenance, now: Provenance) -> list[str]:
    """A line for each kind of thing that is not what it was: data, sources, packages, hardware."""
    lines = []
    if original.data:  # runs of older versions do not name their images
        lines += [line for split in now.data if (line := _data(split, original.data.get(split, []), now.data[split]))]
    if original.sources:
        lines += _table("sources", original.sources, now.sources, values=False)
    lines += _table("packages", original.packages, now.packages)
    lines += _table("hardware", original.hardware, now.hardware)
    if lines and original.git.get("revision") != now.git.get("revision"):
        lines.append(f"revision: {_revision(original)} -> {_revision(now)}")
    return lines


def _data(split: str, before: list[list[str]], now: list[list[str]]) -> str:
    """What is different in the images of a split; empty if nothing is."""
    if before == now:
        return ""
    then, here = {row[0]: row[1:] for row in before}, {row[0]: row[1:] for row in now}
    parts = []
    for what, place in (("image", 0), ("mask", 1)):
        changed = [id for id in here if id in then and then[id][place] != here[id][place]]
        if changed:
            parts.append(f"another {what} {_named(changed)}")
    for word, ids in (("gone", then.keys() - here.keys()), ("new", here.keys() - then.keys())):
        if ids:
            parts.append(f"{word} {_named(sorted(ids))}")
    return f"data, {split} split: {'; '.join(parts) or 'another order'}"


def _table(what: str, before: Mapping[str, str], now: Mapping[str, str], values: bool = True) -> list[str]:
    """`packages: numpy 2.3.1 -> 2.4.6` for the entries of two tables that differ; nothing where one says nothing."""
    names = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
    if not names or not before:
        return []
    told = [
        f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        if values
        else f"{name} changed"
        if name in before and name in now
        else f"{name} {'new' if name in now else 'gone'}"
        for name in names
    ]
    return [f"{what}: {_named(told)}"]


def _named(names: list[str]) -> str:
    """The first of some names, which may be a server's, and how many more there are."""
    told = [plain(name[:LONGEST_NAMED]) for name in names[:MOST_NAMED]]
    return ", ".join(told) + (f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else "")


def _revision(made_with: Provenance) -> str:
    revision = made_with.git.get("revision")
    return f"{plain(str(revision)[:12])}{' with changes' if made_with.git.get('dirty') else ''}" if revision else "none"
