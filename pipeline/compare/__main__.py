"""Runs side by side, in a table and in a page with their predictions: `python -m pipeline.compare`."""

import sys

from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.text import plain

HELP = """\
Compares runs: scores, curves, the influence of each parameter, and the same images predicted by every run, in one page.

  python -m pipeline.compare <run id of a sweep>                its child runs; the result is stored with the sweep, too
  python -m pipeline.compare <run id> <run id> ...              these runs, by run id, run_key or models:/<name>@<alias>
                                                                (a sweep among them: its child runs)
  python -m pipeline.compare <experiment>                       every run of an experiment
  python -m pipeline.compare <experiment> --csv > runs.csv      only prints the table, as CSV for other programs

output=…         folder for comparison.html (one file, works offline), runs.csv and PNGs; default: comparison
data_root=…      folder of the dataset (JPEGImages/, SegmentationClass/, ImageSets/), if it was moved since the runs
register=true    puts the best run's model into MLflow's registry, with the alias `best`
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder

The best run is the finished one with the highest validation mean IoU; test scores decide nothing.
"""
KEYS = ("output", "data_root", "register", "tracking.uri")


def main(arguments: list[str]) -> int:
    """Compare, print and write; returns the exit status 0.

    Raises:
        UserError: arguments are wrong, there is nothing to compare, or MLflow does not answer.
    """
    as_csv = "--csv" in arguments
    arguments = [argument for argument in arguments if argument != "--csv"]
    # Runs and experiments are given without a key. An experiment with `=` in its name can be given by its runs.
    parsed = parse(arguments, optional=KEYS, booleans=("register",), names=True)
    given, names = parsed.values, parsed.names
    faults = [] if names else ["the id of a sweep's run, ids of several runs, or the name of an experiment expected"]
    if as_csv and (useless := sorted(set(given) - {"tracking.uri"})):
        faults.append(f"--csv only prints the table; remove {', '.join(useless)}")
    if faults:
        raise UserError(*faults)
    from pipeline.compare.build import compare, table
    from pipeline.compare.text import summary

    uri = given.get("tracking.uri")
    if as_csv:
        lines = table(names, uri)
        # A file keeps every name as it is; on a terminal, control characters would have an effect.
        sys.stdout.write("\n".join(map(plain, lines.split("\n"))) if sys.stdout.isatty() else lines)
        return 0
    data_root = typed_path("data_root", given["data_root"]) if "data_root" in given else None
    output = typed_path("output", given.get("output", "comparison"))
    comparison = compare(names, uri, output, data_root, register=parsed.is_true("register"))
    print(summary(comparison.analysis))
    print(f"\nopen it: {(output / 'comparison.html').resolve()}")
    if comparison.registered is not None:
        print(f"registered: {comparison.registered}")
    return 0


if __name__ == "__main__":
    run_tool(main, HELP)
