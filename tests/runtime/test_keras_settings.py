"""Keras's settings are those that a run needs, whatever a user's files, variables and code say."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
from pipeline.runtime.keras_settings import check_settings_files


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"epsilon": 1}, "epsilon=1: a number with a point expected"),
        ({"floatx": "bfloat16"}, "floatx=bfloat16: float16, float32 or float64 expected"),
        ({"image_data_format": "NHWC"}, "image_data_format=NHWC: channels_last or channels_first expected"),
        ([], "is not a table of Keras's settings"),
    ],
)
def test_settings_that_stop_the_import_are_named(
    settings: Any, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    with pytest.raises(UserError) as raised:
        check_settings_files()
    assert raised.value.faults == (f"{tmp_path}/keras.json: {fault}; correct the file, or remove it",)


@pytest.mark.parametrize("content", [None, "{", "{}", '{"epsilon": 0.1, "backend": "torch", "nnx_enabled": true}'])
def test_settings_that_can_be_overruled_are_no_fault(
    content: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    check_settings_files()
    if content is not None:
        (tmp_path / ".keras").mkdir()
        (tmp_path / ".keras/keras.json").write_text(content)
        check_settings_files()


def python(program: str, home: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "", "HOME": str(home), "KERAS_HOME": str(home), "TF_CPP_MIN_LOG_LEVEL": "3", **variables}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_files_variables_and_callers_are_overruled(tmp_path: Path) -> None:
    """One process for all of it, since importing TensorFlow costs seconds."""
    odd = {"backend": "torch", "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.1}
    (tmp_path / "keras.json").write_text(json.dumps(odd | {"nnx_enabled": True}))
    variables = {"KERAS_BACKEND": "jax", "KERAS_MAX_EPOCHS": "x", "KERAS_NNX_ENABLED": "1"}
    done = python(
        """
        import os
        from pipeline.config.schema import Config
        from pipeline.runtime.hardware import import_tensorflow, set_up
        from pipeline.runtime.keras_settings import keras_set
        tf = import_tensorflow()
        import keras
        config = keras.config

        def settings():
            caps = config.max_epochs(), config.max_steps_per_epoch()
            return config.floatx(), config.epsilon(), config.image_data_format(), config.dtype_policy().name, *caps

        needed = "float32", 1e-7, "channels_last", "mixed_bfloat16", None, None
        assert config.backend() == "tensorflow" and os.environ["KERAS_MAX_EPOCHS"] == "x"
        callers = settings()
        assert callers[:4] == ("float16", 0.1, "channels_first", "float16"), callers
        config.set_max_epochs(1)
        config.set_max_steps_per_epoch(2)
        callers = settings()
        try:
            with keras_set("mixed_bfloat16"):
                assert settings() == needed
                raise KeyError
        except KeyError:
            assert settings() == callers
        tf.config.run_functions_eagerly(True)
        set_up(Config(threads=1, precision="mixed_bfloat16"))
        assert settings() == needed and not tf.config.functions_run_eagerly()
        """,
        tmp_path,
        **variables,
    )
    assert done.returncode == 0 and done.stdout == "", done


def test_another_backend_in_use_is_refused(tmp_path: Path) -> None:
    done = python(
        """
        import contextlib
        with contextlib.suppress(ImportError):
            import keras
        from pipeline.runtime.errors import UserError
        from pipeline.runtime.keras_settings import import_keras
        try:
            import_keras()
        except UserError as error:
            print(error)
        """,
        tmp_path,
        KERAS_BACKEND="jax",
    )
    assert done.stdout.startswith("keras: was imported in this process with the backend 'jax'"), done
    assert done.stdout.endswith("start a new process with KERAS_BACKEND=tensorflow\n"), done
