"""Files that are changed after they were checked are named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.changes import require_unchanged
from pipeline.data.prepare import Dataset, prepare_dataset
from pipeline.runtime.errors import RunFailed
from tests.data.folders import folder_config


@pytest.fixture
def dataset(voc_folder: Callable[..., Path]) -> Dataset:
    return prepare_dataset(folder_config(voc_folder()))


def test_files_as_they_were_checked_are_accepted(dataset: Dataset) -> None:
    require_unchanged(dataset, [*dataset.splits])


def test_changed_and_removed_files_are_named(dataset: Dataset) -> None:
    mask, image = dataset.splits["test"][0].mask, dataset.splits["test"][1].image
    mask.write_bytes(mask.read_bytes() + b"x")
    image.unlink()
    require_unchanged(dataset, ["train", "val"])
    with pytest.raises(RunFailed) as raised:
        require_unchanged(dataset, ["test"])
    assert "changed or removed since the run began: SegmentationClass/test_0.png, JPEGImages/test_1.jpg;" in str(
        raised.value
    )
