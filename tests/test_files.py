"""Files that are written completely or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from urfb.errors import InputError
from urfb.files import atomic_write, write_file


def test_a_file_appears_only_when_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("half")
        assert partial.parent == path.parent  # a file can be renamed only within a file system
        assert not path.exists()
    assert [file.read_text() for file in path.parent.iterdir()] == ["half"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failed_write_keeps_the_old_file(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file.txt": "old"}


def test_a_write_error_names_the_path_and_the_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write .*below: .*another path with --json"):
        write_file(tmp_path / "file" / "below", b"", "--json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*folder: .* with --out"):
        write_file(tmp_path / "folder", b"")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}
