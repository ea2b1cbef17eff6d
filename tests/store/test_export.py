from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from tests.helpers import tiny_run
from tests.store.recorded import finish
from urfb import open_store
from urfb.errors import InputError, SelectionError
from urfb.store import Store, open_for_writing
from urfb.store.export import export

READ = {
    "parquet": pd.read_parquet,
    "csv": partial(pd.read_csv, dtype={"python_version": str, "torch_version": str}),
}
ROWS = {"runs": 3, "epochs": 4, "alignment": 6}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    path = tmp_path / "urfb.sqlite"
    writable = open_for_writing(str(path))
    runs = [tiny_run(rule=rule, seed=seed) for rule, seed in (("urfb", 0), ("bp", 0), ("bp", 1))]
    writable.register(runs)
    for run in runs[:2]:
        finish(writable, run, error=1 / 3)
    return open_store(str(path))


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_a_folder_gets_all_three_tables(store: Store, tmp_path: Path, file_format: str) -> None:
    folder = tmp_path / "new" / "exported"
    exported = export(store, folder, file_format)
    assert {file.path.name: file.rows for file in exported} == {f"{name}.{file_format}": ROWS[name] for name in ROWS}
    assert {path.name for path in folder.iterdir()} == {file.path.name for file in exported}  # no partial files
    for file in exported:
        expected = getattr(store, file.path.stem)()
        written = READ[file_format](file.path).astype(object).where(expected.notna(), None)
        plain = expected.astype(object).where(expected.notna(), None)
        pd.testing.assert_frame_equal(written, plain, rtol=1e-12)


@pytest.mark.parametrize(("installed", "file_format"), [(True, "parquet"), (False, "csv")])
def test_a_folder_gets_csv_files_without_pyarrow(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, installed: bool, file_format: str
) -> None:
    monkeypatch.setattr("urfb.store.export.find_spec", lambda name: object() if installed else None)
    assert {file.path.suffix for file in export(store, tmp_path / "exported")} == {f".{file_format}"}
    if not installed:
        with pytest.raises(InputError, match=r"pip install 'urfb\[parquet\]', or choose --format csv"):
            export(store, tmp_path / "exported", "parquet")


def test_a_parquet_file_keeps_column_types(store: Store, tmp_path: Path) -> None:
    export(store, tmp_path / "runs.parquet")
    runs = pd.read_parquet(tmp_path / "runs.parquet")
    assert runs["test_epoch"].dtype == "Int64"
    assert runs["dense_output"].dtype == bool


@pytest.mark.parametrize("name", ["epochs.csv", "epochs.parquet"])
def test_a_file_gets_the_table_and_the_format_of_its_name(store: Store, tmp_path: Path, name: str) -> None:
    (file,) = export(store, tmp_path / name)
    assert (file.path, file.rows) == (tmp_path / name, 4)
    assert len(READ[file.path.suffix[1:]](file.path)) == 4


def test_conditions_choose_runs_for_every_table(store: Store, tmp_path: Path) -> None:
    rows = {file.path.stem: file.rows for file in export(store, tmp_path, "csv", ["rule=bp", "state=done"])}
    assert rows == {"runs": 1, "epochs": 2, "alignment": 3}
    rows = {file.path.stem: file.rows for file in export(store, tmp_path, "csv", ["rule=frfb"])}
    assert rows == {"runs": 0, "epochs": 0, "alignment": 0}


@pytest.mark.parametrize(
    ("to", "file_format", "conditions", "message"),
    [
        ("numbers.csv", None, (), r"name the file after a table \(runs, epochs, alignment, "),
        ("runs.xlsx", None, (), "such as epochs.parquet or epochs.csv"),
        ("runs.csv", "parquet", (), "contradict each other"),
        ("folder", "xml", (), "--format xml: allowed are parquet, csv"),
        ("folder", None, ("rul=bp",), "did you mean 'rule'"),
    ],
)
def test_an_invalid_request_is_refused_and_writes_nothing(
    store: Store, tmp_path: Path, to: str, file_format: str | None, conditions: tuple[str, ...], message: str
) -> None:
    before = set(tmp_path.iterdir())
    with pytest.raises(SelectionError, match=message):
        export(store, tmp_path / to, file_format, conditions)
    assert set(tmp_path.iterdir()) == before


def test_an_unwritable_file_is_named_and_old_files_stay(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"file.*: cannot be written"):
        export(store, tmp_path / "file" / "exported", "csv")
    folder = tmp_path / "exported"
    partial_file = f".alignment.csv.{os.getpid()}.partial"
    (folder / partial_file).mkdir(parents=True)  # the last of the three cannot be written
    (folder / "runs.csv").write_text("old")
    with pytest.raises(InputError, match=r"alignment.csv.*: cannot be written"):
        export(store, folder, "csv")
    assert (folder / "runs.csv").read_text() == "old"
    assert {path.name for path in folder.iterdir()} == {"runs.csv", partial_file}
