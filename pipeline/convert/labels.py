"""Labels of outlines become classes: the tool's own order, what the command line says, and what is unknown."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.convert.mask_values import is_background
from pipeline.convert.options import VOID_NAME, Options
from pipeline.convert.unknown_values import BACKGROUND, quoted_name
from pipeline.data.palette import VOID
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated, nearest, plain

SHOWN = 50  # unknown labels that a message lists


@dataclass(frozen=True)
class Labels:
    """Which class each label is."""

    classes: list[str]
    background: str | None
    index: dict[str, int]  # label -> class index, or 255
    notes: list[str]

    @property
    def outside(self) -> int:
        """The index of pixels that no outline covers: that of the background, or void."""
        return VOID if self.background is None else self.classes.index(self.background)


def resolve(counts: Counter[str], listed: Sequence[str] | None, options: Options, where: str) -> Labels:
    """Give every label a class.

    Args:
        counts: how many outlines have each label.
        listed: the labels that the source declares, in its order; None: it declares none.
        where: the source's list of labels, for messages.

    Raises:
        UserError: labels are unknown, all of them listed with their counts; or keys of the command line disagree.
    """
    declared = sorted(counts) if listed is None else list(listed)
    known = {*declared, *counts}
    faults = [
        f"labels: '{label}' is no label of the source{nearest(label, sorted(known))}; it has "
        + enumerated(sorted(known), 20)
        for label in options.labels
        if label not in known
    ]
    meant = {label: options.labels.get(label, VOID_NAME if label == "__ignore__" else label) for label in known}
    names = list(dict.fromkeys(meant[label] for label in declared if meant[label] != VOID_NAME))
    classes = list(options.classes) or names
    background = _background(options, classes)
    if background is not None and background not in classes:
        if options.classes:
            faults.append(
                f"classes: does not have {background}, which pixels are that no outline covers; add it, or give "
                "background=null, which makes them void"
            )
        classes = [background, *classes]
    if not options.classes and background is not None:
        classes = [background, *(name for name in classes if name != background)]
    unknown = [label for label in counts if meant[label] != VOID_NAME and meant[label] not in classes]
    if unknown:
        unknown.sort(key=lambda label: -counts[label])
        source = "classes" if options.classes else where
        named = {**options.labels, **dict.fromkeys(unknown[:5], VOID_NAME)}
        meanings = [f"{quoted_name(label)}: {quoted_name(name)}" for label, name in named.items()]
        faults.append(
            f"{len(unknown)} labels are not in {source} ({enumerated(classes, 20)}): "
            + enumerated([f"{plain(label)} ({counts[label]} outlines)" for label in unknown], SHOWN)
            + "; add them to classes=…, or say what they are, with your names: "
            + options.command_with(f"labels={{{', '.join(meanings)}}}")
        )
    if faults:
        raise UserError(*faults)
    index = {label: VOID if name == VOID_NAME else classes.index(name) for label, name in meant.items()
             if name == VOID_NAME or name in classes}  # fmt: skip
    notes = [] if options.classes else [f"classes: {_indices(classes)}; 'classes=[…]' sets others or another order"]
    if background is not None and options.background == "auto":
        notes.append(f"what no outline covers is {background}; background=null makes it void")
    return Labels(classes, background, index, notes)


def _background(options: Options, classes: Sequence[str]) -> str | None:
    if options.background != "auto":
        return options.background
    return next((name for name in classes if is_background(name)), BACKGROUND)


def _indices(names: Sequence[str]) -> str:
    return enumerated([f"{index} {plain(name)}" for index, name in enumerate(names)], 8)
