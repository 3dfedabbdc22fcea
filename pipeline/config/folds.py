"""What the keys of `dataset` say of how train is cut into folds."""

import re
import warnings

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.runtime.text import is_unicode

LONGEST_PATTERN = 200  # characters of dataset.group


def fold_faults(dataset: DatasetConfig) -> list[str]:
    """What is wrong with the folds of a cross-validation, and with the pattern of what stays together in them."""
    faults, folds, fold = [], dataset.folds, dataset.fold
    if folds is None and fold is not None:
        faults.append(f"dataset.fold={fold}: is one of several: dataset.folds=<their number> expected as well")
    elif folds is not None and folds >= 2:
        counted = ",".join(map(str, range(folds))) if folds <= 10 else f"range({folds})"
        if fold is None:
            faults.append(
                f"dataset.folds={folds}: dataset.fold, 0 to {folds - 1}, says which one is val; for all of them: "
                f"python run.py -m dataset.folds={folds} 'dataset.fold={counted}'"
            )
        elif fold >= folds:
            faults.append(f"dataset.fold={fold}: 0 to {folds - 1} expected, as dataset.folds={folds}")
    return faults + _pattern_faults(dataset.group)


def _pattern_faults(pattern: str | None) -> list[str]:
    """What is wrong with `dataset.group`. It is compiled and not used here: that may take for ever."""
    if pattern is None:
        return []
    if not is_unicode(pattern):
        return ["dataset.group: characters that are no text; a regular expression expected"]
    if len(pattern) > LONGEST_PATTERN:
        return [f"dataset.group: {len(pattern)} characters; at most {LONGEST_PATTERN} expected"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what may mean something else in later versions of Python
            groups = re.compile(pattern).groups
    except (re.error, OverflowError, RecursionError) as error:
        return [f"dataset.group={pattern}: is not a regular expression: {error}"]
    if not groups:
        return [f"dataset.group={pattern}: has no group; parentheses around what stays together expected: '^(\\w+)_'"]
    return []
