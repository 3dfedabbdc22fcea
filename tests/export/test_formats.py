"""What a file says of itself: the run's classes, whatever it is compared on."""

from dataclasses import replace

from pipeline.config.overrides import checked_config
from tests.export.networks import CLASSES, TINY, export_of


def test_the_metadata_name_the_classes_of_the_run() -> None:
    """Though other data have other names for them, another background and other colours."""
    export = export_of("onnx", "dataset.background=ground", 'dataset.colours=["#000000","#010203","#040506"]')
    there = checked_config(
        [*TINY[:-1], "dataset.root=elsewhere", "dataset.classes=[soil,bush,tree]", "dataset.background=tree"]
    )
    found = replace(export, config=replace(export.config, dataset=there.dataset)).metadata()
    assert (found["classes"], found["background"]) == (CLASSES, "ground")
    assert found["colours"] == ["#000000", "#010203", "#040506"]
