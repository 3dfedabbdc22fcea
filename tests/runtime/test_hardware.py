"""`auto` is a rule on capabilities; TensorFlow is imported quietly and set up once, as configured."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.runtime import hardware
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT

PLAIN, AVX, AMX = "fpu sse4_2 avx2 avx512f avx512_vnni", "fpu avx512f avx512_bf16", "fpu amx_tile amx_bf16"


class Devices:
    """Stands for TensorFlow: GPUs with these compute capabilities, 5 and 6 threads, and a build."""

    def __init__(self, capabilities: list[tuple[int, int] | None]) -> None:
        self.capabilities = capabilities
        self.config = self
        self.experimental = self.threading = self.sysconfig = self.distribute = self

    def get_build_info(self) -> dict[str, object]:
        return {"b": 2, "a": 1}

    def get_intra_op_parallelism_threads(self) -> int:
        return 5

    def get_inter_op_parallelism_threads(self) -> int:
        return 6

    def get_strategy(self) -> str:
        return "alone"

    def MirroredStrategy(self) -> str:  # noqa: N802
        return "mirrored"

    def list_physical_devices(self, kind: str) -> list[int]:
        assert kind == "GPU"
        return list(range(len(self.capabilities)))

    def get_device_details(self, gpu: int) -> dict[str, object]:
        capability = self.capabilities[gpu]
        return {"device_name": f"GPU {gpu}"} | ({} if capability is None else {"compute_capability": capability})


def pretend(
    monkeypatch: pytest.MonkeyPatch, flags: str, gpus: list[tuple[int, int] | None], processors: int = 3
) -> None:
    monkeypatch.setattr(hardware, "cpu_field", lambda name: {"flags": flags, "model name": "a processor"}[name])
    monkeypatch.setattr(hardware, "import_tensorflow", lambda: Devices(gpus))
    monkeypatch.setattr(hardware, "processors", lambda: processors)


@pytest.mark.parametrize(
    ("flags", "gpus", "precision"),
    [
        (PLAIN, [], "float32"),
        (AVX, [], "mixed_bfloat16"),
        (AMX, [], "mixed_bfloat16"),
        ("", [], "float32"),
        ("avx512_bf16x", [], "float32"),  # a whole word, not part of one
        (PLAIN, [(9, 0)], "mixed_bfloat16"),
        (PLAIN, [(8, 0)], "mixed_bfloat16"),
        (PLAIN, [(7, 5)], "mixed_float16"),
        (PLAIN, [(7, 0)], "mixed_float16"),
        (AVX, [(6, 1)], "float32"),  # the GPU computes, not the CPU
        (PLAIN, [(10, 0)], "mixed_bfloat16"),
        (PLAIN, [(9, 0), (7, 0)], "mixed_float16"),  # what all of them support
        (AVX, [(8, 0), None], "float32"),
    ],
)
def test_precision_by_rule(
    monkeypatch: pytest.MonkeyPatch, flags: str, gpus: list[tuple[int, int] | None], precision: str
) -> None:
    pretend(monkeypatch, flags, gpus)
    assert hardware.resolve_auto(Config()).precision == precision


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_configured_precision_stays(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    pretend(monkeypatch, AVX, [(8, 0)])
    assert hardware.resolve_auto(Config(precision=precision)).precision == precision


def test_threads_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PLAIN, [], processors=6)
    given = Config()
    assert hardware.resolve_auto(given).threads == 6
    assert hardware.resolve_auto(Config(threads=2)).threads == 2
    assert given.threads == "auto" and given.precision == "auto"  # unchanged
    resolved = hardware.resolve_auto(given)
    assert hardware.resolve_auto(resolved) == resolved


def test_gpus_share_a_batch_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PLAIN, [(9, 0)] * 3)
    assert hardware.strategy(checked_config(["batch_size=6"])) == "mirrored"
    with pytest.raises(UserError) as raised:
        hardware.strategy(checked_config(["batch_size=8", "optimizer.accumulate=2"]))
    shared, accumulated = raised.value.faults
    assert shared.startswith("batch_size=8: 3 GPUs share each batch; a multiple of 3 expected, or fewer GPUs")
    assert accumulated.startswith("optimizer.accumulate=2: gradients are accumulated on one GPU only, and there are 3;")
    for gpus in ([], [(9, 0)]):
        pretend(monkeypatch, PLAIN, gpus)
        assert hardware.strategy(checked_config(["batch_size=1", "optimizer.accumulate=2"])) == "alone"


def test_description_names_processor_and_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, PLAIN, [(8, 0), (9, 0)])
    found = hardware.describe()
    expected = {"cpu": "a processor", "gpus": "GPU 0, GPU 1", "processors": "3", "tensorflow build": "a 1, b 2"}
    assert found.items() >= expected.items()
    assert found["threads"] == "5 within an operation, 6 between operations" and found["platform"]
    assert all(isinstance(value, str) for value in found.values())
    pretend(monkeypatch, PLAIN, [])
    assert hardware.describe()["gpus"] == "none"


# ---- in a process of its own: TensorFlow can be set up once


def run(program: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_processors_are_those_this_process_may_use() -> None:
    done = run(
        """
        import os
        from pipeline.runtime.limits import processors
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        print(processors())
        """
    )
    assert done.stdout == "1\n"


def test_tensorflow_is_quiet_and_set_up_as_configured() -> None:
    """One process for all of it, since each costs seconds."""
    done = run(
        """
        import os, sys
        from pipeline.config.schema import Config
        from pipeline.runtime.errors import UserError
        from pipeline.runtime.hardware import import_tensorflow, set_up
        from pipeline.runtime.kernels import in_use
        before = os.fstat(2)
        assert "tensorflow" not in sys.modules
        tf = import_tensorflow()
        assert os.fstat(2) == before and import_tensorflow() is tf
        set_up(Config(threads=1, precision="mixed_bfloat16"))
        import keras
        assert tf.config.threading.get_intra_op_parallelism_threads() == 1
        assert tf.config.threading.get_inter_op_parallelism_threads() == 1
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert 0 <= float(tf.random.uniform([])) < 1  # it needs a seed
        from tensorflow.python.framework import config
        assert config.is_op_determinism_enabled()
        assert not tf.config.experimental.tensor_float_32_execution_enabled()
        print(float(keras.layers.Dense(1, kernel_initializer="ones")(tf.ones((1, 3)))[0, 0]))
        set_up(Config(threads=1, precision="float32"))  # the same threads: a later run of a sweep
        assert keras.config.dtype_policy().name == "float32"
        try:
            set_up(Config(threads=2, precision="float32"))
        except UserError as error:
            print(error)
        other = {"onednn": "eigen", "eigen": "onednn"}[in_use()]
        try:
            set_up(Config(threads=1, kernels=other))
        except UserError as error:
            print(str(error).replace(other, "other")[:37])
        print("visible", file=sys.stderr)
        """
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "visible\n"
    threads, kernels = (
        "threads=2: this process already runs with 1; start a new one",
        "kernels=other: other expected, but Te",
    )
    assert done.stdout == f"3.0\n{threads}\n{kernels}\n"


def test_a_failed_import_prints_what_was_hidden(tmp_path: Path) -> None:
    package = tmp_path / "tensorflow"
    package.mkdir()
    (package / "__init__.py").write_text(
        "import os\nos.write(2, b'a library is missing\\n')\nraise ImportError('no')\n"
    )
    done = run(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        from pipeline.runtime.hardware import import_tensorflow
        import_tensorflow()
        """
    )
    assert done.returncode == 1
    assert done.stderr.startswith("a library is missing\n") and done.stderr.endswith("ImportError: no\n")
