"""Text from elsewhere, fit to be shown: in one line, and without what would steer a terminal."""

import re

# C0 and C1 controls, with one of which every escape sequence begins; line separators; turns of the writing direction.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """The text with each control character written as its escape, as `\\x1b` is."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
