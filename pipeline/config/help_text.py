"""The text of `run.py --help`, written from the schema and the files of conf/, so that it is never out of date."""

import textwrap

from omegaconf import OmegaConf

from pipeline.config.hydra_files import compose_overrides, groups
from pipeline.config.keys import allowed, as_typed, leaves
from pipeline.config.schema import Config

HELP = """\
Trains a U-Net for semantic segmentation on images in PASCAL VOC layout, scores it on the test split and records
everything in MLflow.

Train:
  python run.py                                        the default job: generated shapes, minutes on two cores
  python run.py dataset=voc2012 model.width=64         PASCAL VOC 2012, downloaded on first use
  python run.py dataset=folder dataset.root=/my/VOC 'dataset.classes=[background,cat,dog]'
                                                       your own images
  python run.py --cfg job                              only print the composed configuration

Sweep (repeat the command to continue a sweep):
  python run.py -m model.depth=2,3,4 seed=0,1,2        one run for each combination
  python run.py -m sweep=optuna hydra.sweeper.n_trials=30 'optimizer.learning_rate=tag(log,interval(1e-4,1e-2))'
                                                       search until 30 trials are completed or pruned in total;
                                                       values: interval(a,b), range(a,b,step) or a,b,c

Repeat and resume:
  python run.py rerun=<run id>                         repeat a run and compare the results bit by bit; further
                                                       keys change it; rerun_strict=true: exit status 3 if they differ
  python run.py resume=<run id>                        continue an interrupted run; with epochs=N (and steps=N, if it
                                                       has steps), train longer, in a new run that starts from the
                                                       last checkpoint
  python run.py resume=auto ...                        continue an interrupted run with the same fingerprint, or return
                                                       the score of a finished one
                                                       A run can also be a registered model: models:/<name>@<alias>
  python -m pipeline.register run=<id> name=… alias=…  register a run's model
  python -m pipeline.sync                              send what MLflow missed while it did not answer

Look at the runs:
  mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db       then open the address that a run or sweep prints
  python -m pipeline.runs where="best/val_mean_iou > 0.5"        a list in the terminal; --help says more

Choose a file of a group with group=name, and change any key with key=value. The values below are those of the default
job; add --cfg job to a command to see its own.

{groups}

{keys}

Completion of keys in the shell:  eval "$(python run.py -sc install=bash)"      (or zsh, fish)
Hydra's own flags:  python run.py --hydra-help
"""
COLUMN = 38  # where the explanations start
WIDTH = 118


def help_text() -> str:
    """Every group with its choices, and every key: its value in the default job, its meaning and its allowed values."""
    return HELP.format(groups="\n".join(_group_lines()), keys="\n".join(_key_lines()).strip("\n"))


def _group_lines() -> list[str]:
    return [
        textwrap.fill(" | ".join(choices), WIDTH, initial_indent=f"  {group + '=':<14}", subsequent_indent=" " * 16)
        for group, choices in groups().items()
    ]


def _key_lines() -> list[str]:
    defaults = compose_overrides([])
    lines, section = [], None
    for name, item, _ in leaves(Config):
        own_section = name.partition(".")[0] if "." in name else "the run"
        if own_section != section:
            section = own_section
            lines.append(f"\n{section}:")
        label = f"  {name}={as_typed(OmegaConf.select(defaults, name))}"
        limits = allowed(item.metadata)
        about = item.metadata["description"] + (f" ({limits})" if limits else "")
        indent = " " * COLUMN
        wrapped = textwrap.fill(about, WIDTH, initial_indent=indent, subsequent_indent=indent)
        # A long key or value gets a line of its own.
        lines.append(f"{label}{wrapped[len(label) :]}" if len(label) < COLUMN else f"{label}\n{wrapped}")
    return lines
