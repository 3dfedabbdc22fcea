"""Notices files that were changed after they were checked: while a run trains, somebody may edit its data."""

from collections.abc import Sequence

from pipeline.data.check import file_hashes
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.prepare import Dataset
from pipeline.runtime.errors import RunFailed
from pipeline.runtime.text import enumerated


def require_unchanged(dataset: Dataset, splits: Sequence[str]) -> None:
    """Hash the files of these splits again, which are about to be read, or were read until now.

    Raises:
        RunFailed: some are not those that were checked, so that scores would be those of other data than recorded.
    """
    changed = []
    for split in splits:
        for example, (_, *recorded) in zip(dataset.splits[split], dataset.checked.contents[split], strict=True):
            now = file_hashes(example)
            files = (f"{IMAGES}/{example.id}{example.image.suffix}", f"{MASKS}/{example.id}{example.mask.suffix}")
            changed += [file for file, before, after in zip(files, recorded, now, strict=True) if before != after]
    if changed:
        raise RunFailed(
            f"{dataset.root}: changed or removed since the run began: {enumerated(changed)}; it would be scored on "
            "other data than it has recorded: restore the files and resume it, or begin a new run"
        )
