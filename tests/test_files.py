"""Files that are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from urfb.errors import InputError
from urfb.files import atomic_write, write_file


def test_a_file_is_seen_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as partial:
        partial.write_text("half")
        assert partial.parent == path.parent  # so it can be renamed to it
        assert not path.exists()
    assert [file.read_text() for file in path.parent.iterdir()] == ["half"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_was_there_stays_where_writing_fails(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("of before")

    def fail() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"file.txt": "of before"}


def test_a_place_that_cannot_be_written_is_named_with_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot write .*below: .*written to with --json"):
        write_file(tmp_path / "file" / "below", b"", "--json")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*folder: .* with --out"):
        write_file(tmp_path / "folder", b"")
    assert {file.name for file in tmp_path.iterdir()} == {"file", "folder"}
