"""Text fit to be shown: without what would steer a terminal, and without passwords."""

import re

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
