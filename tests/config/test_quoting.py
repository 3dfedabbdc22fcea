"""Overrides that Hydra refuses: the advice sets the key to what was typed, when it is typed in a POSIX shell."""

import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.quoting import quoted, syntax_fault
from pipeline.runtime.errors import UserError

VALUES = [
    "/data/Bilder Übung", "日本", "a=b", "a${b", "it's", 'say "hi"', "both ' and \"", "(a)", "~/x", "a#b!", "{a", "a&b",
    "\\${x} ü", "back\\slash ü", "ü\\", "x, y=z",
]  # fmt: skip


def advice(override: str) -> str:
    """The word that a shell makes of the advice for an override."""
    with pytest.raises(UserError) as raised:
        checked_config([override])
    (fault,) = raised.value.faults
    command = fault.partition("twice for the shell: ")[2]
    word = subprocess.run(["sh", "-c", f"printf %s {command}"], capture_output=True, text=True, check=True).stdout
    assert shlex.split(command) == [word]
    return word


@pytest.mark.parametrize("value", VALUES)
def test_advice_for_a_text_works_when_typed(value: str) -> None:
    assert checked_config([advice(f"tracking.run_name={value}")]).tracking.run_name == value


def test_advice_for_a_list_works_when_typed() -> None:
    typed = "dataset.classes=[Hintergrund, Fußgänger,Ampel rot,'c=d']"
    expected = ["Hintergrund", "Fußgänger", "Ampel rot", "c=d"]
    assert checked_config([advice(typed)]).dataset.classes == expected


def test_a_key_with_an_umlaut_is_unknown() -> None:
    assert syntax_fault("=3") == "=3: key=value expected"
    with pytest.raises(UserError, match=r"unknown key 'dataset.rööt' \(did you mean 'dataset.root'\?\)"):
        checked_config(["dataset.rööt=ü"])


def test_several_names_for_a_list() -> None:
    with pytest.raises(UserError, match=r"dataset.classes=a,b: a list expected; type 'dataset.classes=\[a,b\]'"):
        checked_config(["dataset.classes=a,b"])


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_quoted_text_is_read_as_it_is(value: str) -> None:
    parsed = OverridesParser.create().parse_override(f"key={quoted(value)}").value()
    assert OmegaConf.to_container(OmegaConf.create({"key": parsed}), resolve=True) == {"key": value}
