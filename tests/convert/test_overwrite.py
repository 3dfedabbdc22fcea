"""overwrite=true replaces what an earlier call wrote, and nothing else."""

from pathlib import Path

import pytest

from pipeline.convert.__main__ import main
from pipeline.runtime.errors import UserError
from tests.convert.sources import converted, write_pairs


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("overwrite", ["false", "true"])
def test_a_source_inside_the_output_is_refused(tmp_path: Path, overwrite: str) -> None:
    output = converted(write_pairs(tmp_path / "s"))
    write_pairs(output / "raw", 6)
    (tmp_path / "link").symlink_to(output / "raw")
    before = everything(output)
    for source in (output / "raw", tmp_path / "link", output / "raw/images/a0.jpg"):
        with pytest.raises(UserError, match=r"lies in output=.*; give another output, or move the source out of it"):
            main([f"source={source}", f"output={output}", f"overwrite={overwrite}"])
    with pytest.raises(UserError, match="is the source"):
        main([f"source={output / 'raw/..'}", f"output={output}", f"overwrite={overwrite}"])
    assert everything(output) == before
