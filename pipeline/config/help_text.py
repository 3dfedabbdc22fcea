"""The text of `run.py --help`, written from the schema and the files of conf/, so that it cannot be out of date."""

import textwrap

from omegaconf import OmegaConf

from pipeline.config.hydra_files import compose_overrides, groups
from pipeline.config.keys import allowed, as_typed, leaves
from pipeline.config.schema import Config

HELP = """\
Trains a U-Net on images in PASCAL VOC layout, scores it on the test split and keeps everything in MLflow.

  python run.py                                        the default job on generated shapes, minutes on two cores
  python run.py dataset=voc2012 model.width=64         PASCAL VOC 2012, downloaded on first use
  python run.py dataset=folder dataset.root=/my/VOC 'dataset.classes=[background,cat,dog]'
  python run.py -m model.depth=2,3,4 seed=0,1,2        a sweep, one run for each combination; typed again, it goes on
  python run.py -m sweep=optuna hydra.sweeper.n_trials=30 'optimizer.learning_rate=tag(log,interval(1e-4,1e-2))'
                                                       a search until 30 trials are completed or pruned in all;
                                                       also interval(a,b), range(a,b,step) and a,b,c
  python run.py --cfg job                              shows the composed configuration, runs nothing
  python run.py rerun=<run id>                         repeats a tracked run and says whether it gave the same bits;
                                                       further keys change it; rerun_strict=true: exit status 3 if not
  python run.py resume=<run id>                        continues an interrupted run; with epochs=N, a longer new one
  python run.py resume=auto ...                        takes the score of, or continues, a run of the same fingerprint
  python -m pipeline.sync                              sends what MLflow missed while it did not answer

Then:  mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db     and open the address that a run prints at its end.

Choose a group's file with group=name, and change any key with key=value. The values below are the default job's; what
others come to is shown by --cfg job beside them.

{groups}

{keys}

Completion of keys in the shell:  eval "$(python run.py -sc install=bash)"      (or zsh, fish)
Hydra's own flags:  python run.py --hydra-help
"""
COLUMN = 38  # where the explanations start
WIDTH = 118


def help_text() -> str:
    """Every group and key: its value in the default job, what it means and what it may be."""
    defaults = compose_overrides([])
    lines = []
    section = None
    for name, item, _ in leaves(Config):
        group = name.partition(".")[0] if "." in name else "the run"
        if group != section:
            section = group
            lines.append(f"\n{group}:")
        label = f"  {name}={as_typed(OmegaConf.select(defaults, name))}"
        limits = allowed(item.metadata)
        about = item.metadata["description"] + (f" ({limits})" if limits else "")
        indent = " " * COLUMN
        wrapped = textwrap.fill(about, WIDTH, initial_indent=indent, subsequent_indent=indent)
        # A long key or value takes a line of its own.
        lines.append(f"{label}{wrapped[len(label) :]}" if len(label) < COLUMN else f"{label}\n{wrapped}")
    listed = "\n".join(
        textwrap.fill(" | ".join(choices), WIDTH, initial_indent=f"  {group + '=':<14}", subsequent_indent=" " * 16)
        for group, choices in groups().items()
    )
    return HELP.format(groups=listed, keys="\n".join(lines).strip("\n"))
