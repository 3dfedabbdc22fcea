"""The rule for the library that computes on a processor, and what a process says whose TensorFlow has the other one."""

import os
from pathlib import Path

import pytest

from pipeline.runtime import kernels

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
# Flags of /proc/cpuinfo: before AVX2; an AMD EPYC of the first generation; an Intel Xeon with AMX.
OLD, AVX2 = "fpu sse sse4_2 avx", "fpu sse sse4_2 avx fma avx2"
AVX512 = f"{AVX2} avx512f avx512_vnni"
AMX = f"{AVX512} avx512_bf16 amx_bf16 amx_tile amx_int8"


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """pretend(flags, switched): a processor with these flags, and a value of the variable or None."""

    def as_if(flags: str, switched: str | None = None, found: str = "eigen") -> None:
        (tmp_path / "cpuinfo").write_text(f"model name\t: A: B 3000\nflags\t\t: {flags}\n\nflags\t\t: other\n")
        monkeypatch.setattr(kernels, "Path", lambda _: tmp_path / "cpuinfo")
        monkeypatch.setattr(kernels, "in_use", lambda: found)
        monkeypatch.delenv(VARIABLE, raising=False)
        if switched is not None:
            monkeypatch.setenv(VARIABLE, switched)

    return as_if


def test_fields_of_the_processor(pretend, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend("fpu sse")
    assert [kernels.cpu_field(name) for name in ("model name", "flags", "bogomips")] == ["A: B 3000", "fpu sse", ""]
    monkeypatch.setattr(kernels, "Path", lambda _: tmp_path / "none")
    assert kernels.cpu_field("flags") == ""


@pytest.mark.parametrize(
    ("flags", "resolved"),
    [("", "tensorflow"), (OLD, "tensorflow"), (AVX2, "onednn"), (AVX512, "onednn"), (AMX, "onednn")],
)
def test_kernels_by_rule(pretend, flags: str, resolved: str) -> None:
    pretend(flags)
    assert kernels.resolve("auto") == resolved
    assert kernels.resolve(resolved) == resolved


@pytest.mark.parametrize(
    ("switched", "resolved"),
    [("0", "eigen"), ("False", "eigen"), ("1", "onednn"), ("TRUE", "onednn"), ("yes", "onednn")],
)
def test_a_variable_that_tensorflow_understands_decides_auto(pretend, switched: str, resolved: str) -> None:
    pretend(AVX2, switched)
    assert kernels.resolve("auto") == resolved
    assert kernels.resolve("eigen") == "eigen"


@pytest.mark.parametrize(
    ("wanted", "switched", "after", "note"),
    [
        ("onednn", None, "1", False),
        ("eigen", None, "0", False),
        ("tensorflow", None, None, False),
        ("tensorflow", "1", "1", False),
        ("onednn", "true", "true", False),
        ("onednn", "0", "1", True),
        ("eigen", "1", "0", True),
    ],
)
def test_a_configured_value_wins_over_the_variable(
    pretend, capsys: pytest.CaptureFixture[str], wanted: str, switched: str | None, after: str | None, note: bool
) -> None:
    pretend(AVX2, switched)
    kernels.switch(wanted)
    assert os.environ.get(VARIABLE) == after
    expected = f"note: {VARIABLE}={switched} is not used, since the run has kernels={wanted}\n" if note else ""
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("wanted", "flags", "switched", "found", "expected"),
    [
        ("onednn", AVX2, None, "onednn", None),
        ("eigen", AVX2, None, "eigen", None),
        ("tensorflow", AVX2, None, "eigen", None),
        ("tensorflow", AVX2, "1", "onednn", None),
        ("tensorflow", AVX512, None, "onednn", None),
        ("tensorflow", AVX512, None, "eigen", "onednn"),
        ("onednn", AVX2, None, "eigen", "onednn"),
        ("eigen", AMX, None, "onednn", "eigen"),
    ],
)
def test_other_kernels_than_expected_are_named(
    pretend, wanted: str, flags: str, switched: str | None, found: str, expected: str | None
) -> None:
    pretend(flags, switched, found)
    line = kernels.difference(wanted)
    if expected is None:
        assert line is None
    else:
        named = (
            f"kernels={wanted}: {expected} expected, but TensorFlow was imported in this process with {found}, which"
        )
        assert line is not None and line.startswith(named)
