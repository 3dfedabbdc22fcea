"""Which images stay together when train is cut: frames of a video, slices of a patient. `dataset.group` says it."""

from collections.abc import Mapping, Sequence

from pipeline.runtime.text import enumerated

Groups = dict[str, str]  # id -> the name of its group


def groups_of(ids: Sequence[str], pattern: str | None, faults: list[str]) -> Groups:
    """The group of each id: what the first group of the pattern matches in it, or the id itself without a pattern.

    The pattern may come from a stored configuration. It is matched by RE2, in a time that is linear in the length of
    the id, where Python's `re` takes for ever with some patterns.

    Args:
        pattern: `dataset.group`; searched for, so `^` stands for the start.
        faults: gets a fault for a pattern that RE2 does not know, or that does not match every id.
    """
    if pattern is None or not ids:
        return {name: name for name in ids}
    import tensorflow as tf  # takes seconds, and only a pattern needs it

    try:
        # The blank tells an empty group from an id that is not matched, which stays as it is.
        found = tf.strings.regex_replace(tf.constant(ids), f"(?s)^.*?(?:{pattern}).*$", r" \1")
    except tf.errors.InvalidArgumentError as error:
        reason = str(error.message).partition("error: ")[2] or str(error.message)
        faults.append(
            f"dataset.group={pattern}: {reason}; a regular expression of RE2, without look-around and back-references, "
            "expected"
        )
        return {name: name for name in ids}
    names = [text.decode() for text in found.numpy().tolist()]
    groups = {name: group[1:] for name, group in zip(ids, names, strict=True) if group[:1] == " " and group[1:]}
    if unmatched := [name for name in ids if name not in groups]:
        faults.append(
            f"dataset.group={pattern}: names no group for {len(unmatched)} of {len(ids)} ids: {enumerated(unmatched)}; "
            "a pattern that matches each id expected"
        )
    return {name: groups.get(name, name) for name in ids}


def group_warnings(ids: Mapping[str, Sequence[str]], pattern: str | None) -> list[str]:
    """A warning about groups with ids in two splits, which lists of their own have put there.

    Args:
        ids: by split.
        pattern: `dataset.group`.
    """
    if pattern is None:
        return []
    first: dict[str, str] = {}
    shared: dict[tuple[str, str], dict[str, None]] = {}
    for split, split_ids in ids.items():
        for group in groups_of(split_ids, pattern, []).values():
            if (other := first.setdefault(group, split)) != split:
                shared.setdefault((other, split), {})[group] = None
    return [
        f"groups with images in both the {one} and the {other} split: {enumerated(names)}; scores are then too high"
        for (one, other), names in shared.items()
    ]
