"""Which files are predicted, and what is refused before anything is."""

from pathlib import Path

import pytest

from pipeline.predict.find_images import ENDS, find_images, find_masks
from pipeline.runtime.errors import UserError


def test_a_folder_without_images_says_what_it_has(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no .jpg, .jpeg, .png file, but nothing at all; the folder that directly"):
        find_images(tmp_path, tmp_path)
    for name in ("a", "b.jpg", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(UserError, match=r"file, but 3 folders; the folder that directly holds the images expected"):
        find_images(tmp_path, tmp_path)
    (tmp_path / "x.png").touch()
    (tmp_path / "x.jpg").touch()
    with pytest.raises(UserError, match=r"several images would be written to x.png, x_overlay.png; rename all but one"):
        find_images(tmp_path, tmp_path / "out")


def test_further_results_may_collide_as_well(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "a_confidence.jpg").touch()
    assert len(find_images(tmp_path, tmp_path / "out")[0]) == 2
    with pytest.raises(UserError, match=r"several images would be written to a_confidence.png"):
        find_images(tmp_path, tmp_path / "out", (*ENDS, "_confidence.png"))


def test_a_name_that_no_table_can_hold_is_refused(tmp_path: Path) -> None:
    """Bytes of another encoding, as an archive from another system leaves them."""
    try:
        (tmp_path / "caf\udce9.jpg").touch()
    except OSError:
        pytest.skip("this file system has no such names")
    with pytest.raises(UserError, match=r"the name 'caf.udce9.jpg' is not UTF-8; rename the file"):
        find_images(tmp_path, tmp_path / "out")


def test_masks_are_found_by_the_names_of_their_images(tmp_path: Path) -> None:
    images = [tmp_path / "images" / name for name in ("a.jpg", "b.png", "c.d.jpg")]
    masks, output = tmp_path / "masks", tmp_path / "out"
    with pytest.raises(UserError, match="masks: not found; a folder of index masks named as the images expected"):
        find_masks(masks, images, output)
    masks.mkdir()
    with pytest.raises(UserError, match=r"masks: has no mask of any image; a.png expected for a.jpg"):
        find_masks(masks, images, output)
    (masks / "b.png").touch()
    (masks / "c.d.png").touch()
    assert find_masks(masks, images, output) == {images[1]: masks / "b.png", images[2]: masks / "c.d.png"}
    with pytest.raises(UserError, match="is the folder of the given masks; choose another folder"):
        find_masks(masks, images, masks)
    with pytest.raises(UserError, match=r"b.png: is a file; a folder of index masks"):
        find_masks(masks / "b.png", images, output)
