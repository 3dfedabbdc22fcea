"""What is said of masks whose values or colours have no class: all of them, and the command to edit."""

import json
import re
from collections.abc import Iterable, Sequence

import yaml

from pipeline.config.classes import hexadecimal, voc_colour
from pipeline.convert.mask_files import colour_of_key, key_of_colour, key_text
from pipeline.convert.mask_scan import Scan
from pipeline.convert.options import VOID_NAME, Options
from pipeline.data.palette import VOID
from pipeline.runtime.errors import UserError

SHOWN = 24  # values that a message lists
BACKGROUND, OBJECT = "background", "object"


def unknown_labels(
    options: Options, scan: Scan, by_colour: bool, what: str, names: dict[int, str] | None = None
) -> UserError:
    """All values or colours with counts, and what to type to name them."""
    pixels, files = scan.of(by_colour)
    every, total = pixels.most_common(), sum(pixels.values())
    given = names or {}
    listed = [
        f"  {key_text(key, by_colour):>7}  {files[key]} masks, {100 * count / total:.4g} % of the pixels"
        + (f", {given[key]}" if key in given else "")
        for key, count in every[:SHOWN]
    ]
    if len(every) > SHOWN:
        listed.append(f"  and {len(every) - SHOWN} more")
    key_name = "colours" if by_colour else "values"
    if (main := _main(every, given, total)) and len(every) > 2 * len(main):
        example = f"{key_name}={_example(main, given, by_colour)}"
        to_do = (
            f"{len(main)} of them cover {100 * sum(pixels[key] for key in main) / total:.1f} %: the others may be "
            f"blurred edges (anti-aliasing, scaling, JPEG). Better export the masks again without; tolerance=… takes "
            f"each pixel for the nearest of those named: {options.command_with(example, 'tolerance=128')}"
        )
    else:
        example = f"{key_name}={_example([key for key, _ in every[:SHOWN]], given, by_colour)}"
        to_do = f"say what they are, with your names: {options.command_with(example)}"
    return UserError(f"{what}; they hold:", *listed, to_do)


def _main(every: Sequence[tuple[int, int]], given: dict[int, str], total: int) -> list[int]:
    """The few values that cover nearly everything, if there are such: those with a name, or those of many pixels."""
    main = [key for key, count in every if (key in given if given else count > total / 200)]
    return main if len(main) <= SHOWN and sum(c for k, c in every if k in main) > 0.9 * total else []


def _example(keys: Iterable[int], given: dict[int, str], by_colour: bool) -> str:
    void = key_of_colour(voc_colour(VOID)) if by_colour else VOID
    parts = []
    for number, key in enumerate(sorted(keys)):
        fallback = BACKGROUND if key == 0 else VOID_NAME if key == void and len(given) > 1 else f"class_{number}"
        name = quoted_name(given.get(key, fallback))
        text = f'"{hexadecimal(colour_of_key(key))}"' if by_colour else str(key)
        parts.append(f"{text}: {name}")
    return "{" + ", ".join(parts) + "}"


def quoted_name(name: str) -> str:
    """A name for a mapping in YAML's flow style, in quotes if it would be read as something else, such as no."""
    plain = re.fullmatch(r"[^\W\d][\w -]*", name) and yaml.safe_load(name) == name
    return name if plain else json.dumps(name, ensure_ascii=False)


def kind_of(by_colour: bool, count: int) -> str:
    """`colour` or `value`, in the plural for any count but 1."""
    return ("colour" if by_colour else "value") + ("s" if count != 1 else "")
