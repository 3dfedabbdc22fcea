"""The answer at the end of a sweep: its trials compared, in a page and in the sweep's own run."""

from pathlib import Path

from pipeline.runtime.errors import UserError
from pipeline.sweep.state import SWEEPS, sweep_lock


def answer(name: str, key: str, uri: str | None) -> str:
    """Compare a sweep's trials, keep the page and the images with its own run, and tell what was found.

    Args:
        name: of the sweep.
        key: run_key of its own run.
        uri: MLflow's address, as it was configured.
    """
    # Not before the trials are over: it takes seconds.
    from pipeline.compare.build import compare
    from pipeline.compare.text import findings

    output = SWEEPS / name / "comparison"
    try:
        with sweep_lock(name):  # several processes of one search may end at once
            compared = compare([key], uri, output)
    except UserError as error:
        return f"note: the trials are not compared: {'; '.join(map(str, error.faults))}"
    page = Path(output / "comparison.html").resolve()
    return "\n\n".join([*findings(compared.analysis), f"compared: {page}"])
