"""Text from elsewhere, made safe and short before it is printed."""

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.text import is_unicode, nearest, one_of, plain, short_value


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Büsche, 森林 and 🐈\u200d⬛ a/b?", "Büsche, 森林 and 🐈\u200d⬛ a/b?"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("one\r\nerror: two\x00", r"one\r\nerror: two\x00"),
        ("\x9b2J \x7f \x85", r"\x9b2J \x7f \x85"),
        ("a\u202eb\u2066c\u2028d", r"a\u202eb\u2066c\u2028d"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown


def test_no_control_character_is_left() -> None:
    controls = [chr(code) for code in range(sys.maxunicode) if unicodedata.category(chr(code)) in ("Cc", "Zl", "Zp")]
    assert len(controls) == 67 and not set(plain("".join(controls))) & set(controls)


@given(st.text())
def test_other_text_stays_and_escaping_twice_is_once(text: str) -> None:
    shown = plain(text)
    assert len(shown.splitlines()) <= 1 and plain(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("0.011539499218636461", "0.01154"),
        ("0.0003", "0.0003"),
        ("1.0e-07", "1.0e-07"),
        ("123456789.5", "1.235e+08"),
        ("mixed_bfloat16", "mixed_bfloat16"),
        ("[0.5, 2.0]", "[0.5, 2.0]"),
    ],
)
def test_a_long_number_is_rounded_to_four_digits(text: str, short: str) -> None:
    assert short_value(text) == short


def test_nearest_is_empty_if_nothing_is_similar() -> None:
    assert nearest("dept", ["width", "depth"]) == " (did you mean 'depth'?)"
    assert nearest("zzz", ["width", "depth"]) == nearest("zzz", []) == ""


def test_choices_in_words() -> None:
    assert [one_of(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a or b", "a, b or c"]


@given(st.text())
def test_unicode_is_what_utf8_encodes(text: str) -> None:
    assert is_unicode(text)
    assert not is_unicode(text + b"B\xfcsche".decode("utf-8", "surrogateescape"))
