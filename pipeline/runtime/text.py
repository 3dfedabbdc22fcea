"""Make text safe to print and short to read: escape control characters, mask credentials, word choices."""

import difflib
import re
from collections.abc import Iterable, Sequence

# C0 and C1 controls, one of which starts every escape sequence; line separators; changes of the writing direction.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

INSIDE_A_WORD = r"['\"]+(?=\w)"  # quotation marks
SECRET_OPTION = r"[?&][^=&\s]*(?:password|passwd|pwd|token|secret)[^=&\s]*="  # of an address


def plain(text: str) -> str:
    """The text with each control character replaced by its escape, such as `\\x1b`."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def is_unicode(text: str) -> bool:
    """Whether text can be stored: False with bytes of another encoding in it, which Python reads as surrogates."""
    return not re.search("[\ud800-\udfff]", text)


def mask_credentials(text: str) -> str:
    """The text with the user and password of every address in it replaced by ***.

    Everything up to the last @ of a word counts as them, since SQLAlchemy allows any character in a password. A
    quotation mark ends the word, as it does in YAML and in code, unless a letter or digit follows. `config.addresses`
    refuses credentials whose end could be missed that way.
    """
    text = re.sub(rf"(?<=://)(?!/)(?:[^\s'\"]|{INSIDE_A_WORD})+@", "***@", text)
    return re.sub(rf"(?i)({SECRET_OPTION})(?:[^&\s'\"]|{INSIDE_A_WORD})+", r"\1***", text)


def short_value(text: str) -> str:
    """A value as people compare it: a long number is rounded to four significant digits."""
    try:
        return f"{float(text):.4g}" if len(text) > 8 else text
    except ValueError:
        return text


def nearest(word: str, choices: list[str]) -> str:
    """` (did you mean 'x'?)` for the choice most similar to the word; empty if none is similar."""
    close = difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f" (did you mean '{close[0]}'?)" if close else ""


def one_of(choices: Sequence[str]) -> str:
    """The choices in words: `a, b or c`."""
    return " or ".join(part for part in (", ".join(choices[:-1]), *choices[-1:]) if part)


def enumerated(names: Iterable[str], most: int = 5) -> str:
    """The names with commas in between; of more than `most`, the first ones and the count of the others."""
    every = list(names)
    others = len(every) - most
    return ", ".join(every) if others <= 0 else f"{', '.join(every[:most])} and {others} more"
