"""The kernels of a stored run are those of its rerun, whatever the environment says by then."""

import shutil
from pathlib import Path

import pytest

from pipeline.runtime.kernels import VALUES
from pipeline.tracking.provenance import read_provenance
from tests.end_to_end.commands import RUN, Finished, fresh_python

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"


def test_a_rerun_has_the_kernels_of_its_original(finished: Finished, tmp_path: Path) -> None:
    """In a process that has not imported TensorFlow yet."""
    kernels = finished.run.data.params["kernels"]
    if kernels not in VALUES:
        pytest.skip("on this processor TensorFlow chooses")
    assert read_provenance(finished.artifact("environment")).variables[VARIABLE] == VALUES[kernels]
    other = "0" if VALUES[kernels] == "1" else "1"
    shutil.copy(finished.cwd / "mlruns/mlflow.db", tmp_path)  # others count the runs of this one
    store = (f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", "tracking.experiment=kernels")
    elsewhere = (*store, f"dataset.root={finished.cwd}/VOC")
    rerun = fresh_python(RUN, f"rerun={finished.id}", *elsewhere, cwd=tmp_path, **{VARIABLE: other})
    assert rerun.status == 0, rerun.stderr
    assert rerun.stderr == f"note: {VARIABLE}={other} is not used, since the run has kernels={kernels}\n"
    assert f"rerun of {finished.id}: bit-identical" in rerun.stdout
    assert VARIABLE not in rerun.stdout  # and so it is no difference between the two
