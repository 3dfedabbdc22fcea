"""What is drawn of an image's prediction, for the files of labelling tools."""

from dataclasses import dataclass

from pipeline.predict.regions import Region


@dataclass(frozen=True)
class Drawn:
    """An image as viewers display it, and the regions of its prediction in the order of painting."""

    name: str
    width: int
    height: int
    regions: list[Region]
