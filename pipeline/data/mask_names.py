"""Names by which people and tools tell masks from images, of folders and of files next to each other; and splits."""

import functools
import re
from collections.abc import Collection

IMAGE_WORDS = {
    "image", "images", "img", "imgs", "jpegimages", "photo", "photos", "picture", "pictures", "input", "inputs",
    "rgb", "raw",
}  # fmt: skip
MASK_WORDS = {
    "mask", "masks", "label", "labels", "annotation", "annotations", "annot", "annots", "anno", "annos",
    "segmentation", "segmentations", "seg", "segs", "semantic", "gt", "groundtruth", "truth", "target", "targets",
    "manual1", "segmentationclass", "segmentationclasspng",
}  # fmt: skip
NAME_WORDS = MASK_WORDS | {"l", "m", "p", "lbl", "msk"}  # of files, next to images: CamVid has _L, others _m
OTHER_WORDS = {  # folders of tools with neither
    "segmentationobject", "segmentationclassvisualization", "overlays", "overlay", "visualization", "preview",
    "previews", "instances", "skeletons",
}  # fmt: skip
SPLITS = {  # names of folders and lists
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
SEPARATED = r"[_\-. ]+"
WORD_AT_END = re.compile(rf"(.+?){SEPARATED}([^_\-. ]+)")
WORD_AT_START = re.compile(rf"([^_\-. ]+){SEPARATED}(.+)")
# trainannot, as SegNet's CamVid has it
GLUED = re.compile(r"(train|val|valid|validation|test)(annot|annotations?|masks?|labels?|gt|images?|imgs?)")


@functools.lru_cache  # a source has few folders, but many files in each
def role_of_folder(name: str) -> tuple[str, str]:
    """image, mask, other, or "" for a folder that says nothing; and what its name says besides, such as `train`."""
    lower = name.lower()
    words = [word for word in re.split(SEPARATED, lower) if word]
    if match := GLUED.fullmatch(lower):
        words = [match[1], match[2]]
    if lower in OTHER_WORDS or OTHER_WORDS & set(words):
        return "other", ""
    for role, known in (("mask", MASK_WORDS), ("image", IMAGE_WORDS)):
        if known & set(words):
            return role, "_".join(word for word in words if word not in known)
    return "", ""


def without_word(stem: str, words: Collection[str]) -> str | None:
    """A name without one of these words at its end or its start; None if it has none there."""
    if (match := WORD_AT_END.fullmatch(stem)) and match[2].lower() in words:
        return match[1]
    if (match := WORD_AT_START.fullmatch(stem)) and match[1].lower() in words:
        return match[2]
    return None
