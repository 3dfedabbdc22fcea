"""A look at what training will see, before anything is trained: `python -m pipeline.look`."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import import_tensorflow
from pipeline.runtime.text import plain

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.config.schema import Config
    from pipeline.data.crops import TrainingCrops
    from pipeline.data.prepare import Dataset

HELP = """\
Draws what training will see: twelve training crops with their masks, the classes, and what the crops hold of them.

  python -m pipeline.look dataset=folder dataset.root=/my/VOC
  python -m pipeline.look dataset=voc2012 image_size=256 augment=strong output=strong.png

output=…         the PNG file; by default look.png in this folder
…                every other argument is an override of the configuration, as for run.py: the crops are the very first
                 ones of a run with it

Every run has the same sheet as its artifact data/crops.png.
"""


def main(arguments: list[str]) -> int:
    """Check the dataset, draw the sheet and print the table; returns the exit status 0.

    Raises:
        UserError: overrides or data have faults.
        OSError: the file cannot be written.
    """
    parsed = parse(arguments, (), ("output",), overrides=True)
    output = Path(parsed.values.get("output", "look.png"))
    if output.suffix.lower() != ".png":
        raise UserError(f"output={output}: a file that ends in .png expected")
    from pipeline.config.overrides import checked_config
    from pipeline.evaluate.overrides import check_single

    config = checked_config(parsed.overrides, addresses=False)
    check_single(parsed.overrides)
    import_tensorflow(config.kernels)
    from pipeline.data.crops import first_crops
    from pipeline.data.prepare import prepare_dataset
    from pipeline.data.training_images import training_images
    from pipeline.evaluate.crop_sheet import crop_sheet, describe
    from pipeline.evaluate.overlay import write_png
    from pipeline.runtime.console import PreparationDisplay, text_console
    from pipeline.train.setup import training_batches

    with PreparationDisplay() as progress:
        dataset = prepare_dataset(config, progress)
    sizes = dataset.sizes("train")
    images = training_images(dataset.splits["train"], sizes, config.long_side, cache_mb=0, decoded=Path())
    crops = first_crops(training_batches(0, images, dataset, config), len(dataset.classes))
    write_png(output, crop_sheet(crops, dataset, config))
    console = text_console()
    for line in describe(crops, dataset, config):
        console.print(line, soft_wrap=True)
    console.print(_table(crops, dataset, config))
    for warning in dataset.warnings:
        console.print(f"warning: {plain(warning)}", soft_wrap=True)
    console.print(f"written to {output}", soft_wrap=True)
    return 0


def _table(crops: "TrainingCrops", dataset: "Dataset", config: "Config") -> "Table":
    """The table of the sheet, of all classes."""
    from rich.table import Table

    from pipeline.data.classes import Classes
    from pipeline.evaluate.crop_sheet import COLUMNS, class_rows

    table = Table()
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == COLUMNS[0] else "right")
    for _, cells in class_rows(crops, Classes.of(config.dataset), dataset.class_pixels("train")):
        table.add_row(*cells)
    return table


if __name__ == "__main__":
    run_tool(main, HELP)
