"""`python -m pipeline.look`: the first training crops of a dataset, before anything is trained."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.look import main
from pipeline.runtime.errors import UserError
from tests.data.folders import Folder


def test_the_sheet_and_the_table_are_those_of_a_dataset(
    voc_folder: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"dataset.root={voc_folder()}", f"data_dir={tmp_path}", "dataset.classes=[background,cat,dog]"]
    options = [
        "dataset=folder",
        "dataset.splits={val: val, test: test}",
        "image_size=16",
        "batch_size=2",
        f"output={tmp_path}/new/look.png",
    ]
    assert main([*given, *options, "epochs=3"]) == 0
    shown = capsys.readouterr().out
    assert "4 train, 2 val, 2 test images" in shown and "the first 12 of 12 crops" in shown
    assert [word in shown for word in ("background", "cat", "dog")] == [True] * 3
    assert np.asarray(Image.open(tmp_path / "new" / "look.png")).std() > 20


@pytest.mark.parametrize(
    ("argument", "fault"),
    [
        ("output=look.jpg", "output=look.jpg: a file that ends in .png expected"),
        ("batch_sise=2", "did you mean 'batch_size'?"),
        ("epochs=1,2", "epochs=1,2: one value expected"),
        ("epochs", "epochs: key=value expected"),
        ("augment.scale=[1", "augment.scale=[1: a list is written without spaces"),
    ],
)
def test_what_cannot_be_drawn_is_refused(argument: str, fault: str) -> None:
    with pytest.raises(UserError) as error:
        main([argument])
    assert fault in str(error.value)
