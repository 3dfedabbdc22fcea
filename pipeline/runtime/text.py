"""Text fit to be shown: without what would steer a terminal, and without passwords."""

import difflib
import re
from collections.abc import Sequence

# C0 and C1 controls, with one of which every escape sequence begins; line separators; turns of the writing direction.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with each control character written as its escape, as `\\x1b` is."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def mask_credentials(text: str) -> str:
    """The text with user and password of every address in it replaced by ***.

    All up to the last @ of a word is taken for them, since SQLAlchemy allows a password any character.
    """
    text = re.sub(r"(?<=://)(?!/)[^\s'\"]+@", "***@", text)
    return re.sub(r"(?i)([?&][^=&\s]*(?:password|passwd|pwd|token|secret)[^=&\s]*=)[^&\s'\"]+", r"\1***", text)


def short_value(text: str) -> str:
    """A value as people compare it: a long number with the four digits that tell it from others."""
    try:
        return f"{float(text):.4g}" if len(text) > 8 else text
    except ValueError:
        return text


def nearest(word: str, choices: list[str]) -> str:
    """` (did you mean 'x'?)` for the choice most like the word, or nothing where none is alike."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def one_of(choices: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join(part for part in (", ".join(choices[:-1]), *choices[-1:]) if part)
