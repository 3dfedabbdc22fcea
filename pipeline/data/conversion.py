"""What `python -m pipeline.convert` mends of a folder that cannot be trained on as it is, and the command to type."""

from collections.abc import Sequence
from pathlib import Path

import yaml

from pipeline.config.classes import VOC_NAMES
from pipeline.data.palette import VOID
from pipeline.data.recognise import convert_command

MENDS = "; a conversion "  # in a fault, begins what the command makes of such a file or line
VOID_MEANT = f", a conversion writes {VOID} as "  # followed by the index of a class
NO_INDICES = " of indices expected"  # in a fault of a mask with colours, or with more bits than eight


def ways_to_convert(root: Path, classes: Sequence[str], faults: Sequence[str]) -> list[str]:
    """The command that writes a new folder without these faults, as a line; no line if it mends none of them.

    Args:
        root: a folder in VOC layout.
        classes: those of the run. PASCAL VOC's, which a run has by default, say nothing of the folder.
    """
    if not any(sign in fault for fault in faults for sign in (MENDS, VOID_MEANT, NO_INDICES)):
        return []
    named = classes_argument(classes)
    meant = [fault.partition(VOID_MEANT)[2].partition(",")[0] for fault in faults if VOID_MEANT in fault]
    if named and meant:
        named.append(f"values={flow({**dict(enumerate(classes)), VOID: classes[int(meant[0])]})}")
    return [
        "a conversion writes a new folder of all images and of the lists called train, val and test, and leaves this "
        f"one as it is; type: {convert_command(root, *named)}"
    ]


def classes_argument(classes: Sequence[str]) -> list[str]:
    """The argument that names the classes of a run; none for PASCAL VOC's, which a run has by default."""
    return [] if tuple(classes) == VOC_NAMES else [f"classes={flow(list(classes))}"]


def flow(value: object) -> str:
    """YAML on one line, which quotes a name that is read as something else, such as no."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=2**20).strip()
