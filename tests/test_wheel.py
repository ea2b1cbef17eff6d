"""The package as users install it: its contents, and that it works without the checkout."""

from __future__ import annotations

import email
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import urfb
from tests.helpers import grid_file

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tracked() -> list[str]:
    """The files that git tracks, and the new ones that it does not ignore."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a checkout")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    return [name for name in names if name and (ROOT / name).exists()]


@pytest.fixture(scope="module")
def distributions(tracked: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, built only from tracked files, and the wheel, built from the sdist."""
    pytest.importorskip("build")
    source, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    # Builds the wheel from the sdist, with the installed setuptools, so nothing is downloaded.
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", made, source]
    outside = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    built = subprocess.run(command, capture_output=True, text=True, check=False, cwd=made, env=outside)
    assert built.returncode == 0, built.stdout + built.stderr
    return made


@pytest.fixture(scope="module")
def wheel(distributions: Path) -> Path:
    (file,) = distributions.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


class Installed:
    """An environment with urfb from the wheel, and all other packages from the running environment."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder / "home"
        self.folder.mkdir()
        self.environment = folder / "environment"
        venv.create(self.environment)
        self.programs = self.environment / "bin"
        # .pth files in these folders have no effect, so an editable install of the checkout is not followed.
        (site,) = self.environment.glob("lib/python*/site-packages")
        shared = [path for path in sys.path if Path(path).name == "site-packages"]
        (site / "shared.pth").write_text("\n".join(shared) + "\n")
        install = [
            sys.executable,
            "-m",
            "pip",
            "--python",
            self.programs / "python",
            "install",
            "--no-deps",
            "--no-index",
        ]
        subprocess.run([*install, wheel], check=True, capture_output=True)

    def run(self, *command: object, expected: int = 0) -> str:
        """Run a program of the environment, outside the checkout, and return its output."""
        program, *arguments = command
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "URFB"))}
        ended = subprocess.run(
            [self.programs / str(program), *map(str, arguments)],
            cwd=self.folder, env=outside, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ended.returncode == expected, ended.stdout + ended.stderr
        return ended.stdout


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("installed"))


def test_the_wheel_has_every_file_of_the_package_and_nothing_else(wheel: Path, tracked: list[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == {name for name in tracked if name.startswith("urfb/")}


def test_the_sdist_has_what_describes_the_package_and_no_tests(distributions: Path) -> None:
    (file,) = distributions.glob("*.tar.gz")
    with tarfile.open(file) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "experiments.yaml"} <= names
    assert not {name for name in names if name.startswith(("tests", "results", "docs"))}


def test_the_metadata_match_the_tests_and_the_readme_renders(distributions: Path, metadata: Message) -> None:
    pytest.importorskip("twine")
    assert metadata["Version"] == urfb.__version__
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.10"
    versions = [
        name.rpartition(" ")[2] for name in metadata.get_all("Classifier", []) if re.search(r":: 3\.\d+$", name)
    ]
    assert versions[0] == metadata["Requires-Python"].removeprefix(">=")
    needs = map(Requirement, metadata.get_all("Requires-Dist", []))
    unbounded = [
        need.name for need in needs if need.name != "urfb" and all(bound.operator != ">=" for bound in need.specifier)
    ]
    assert unbounded == [], "each dependency needs its oldest version that works"
    files = [str(file) for file in distributions.iterdir()]
    checked = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout


def test_every_import_is_a_declared_dependency(metadata: Message) -> None:
    imported = set()
    for file in (ROOT / "urfb").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", file.read_text(encoding="utf-8"), re.MULTILINE))
    providers = importlib.metadata.packages_distributions()
    needed = {provider.lower() for name in imported & set(providers) for provider in providers[name]}
    needed -= {"urfb", "pydantic_core"}  # pydantic requires the version of pydantic_core that it needs
    declared = {re.match(r"[\w.-]+", need)[0].lower() for need in metadata.get_all("Requires-Dist", [])}  # type: ignore[index]
    assert needed - declared == set()


def test_the_installed_package_is_the_wheels(installed: Installed) -> None:
    place = installed.run("python", "-c", "import urfb; print(urfb.__file__)")
    assert Path(place.strip()).is_relative_to(installed.environment)
    assert installed.run("urfb", "--version").startswith(f"urfb {urfb.__version__}, ")
    assert installed.run("python", "-m", "urfb", "--version") == installed.run("urfb", "--version")
    assert installed.run("python", "-m", "urfb", "--help").startswith("Usage: urfb ")


def test_a_pytorch_without_cuda_that_is_installed_is_kept(wheel: Path, tmp_path: Path) -> None:
    environment = Installed(wheel, tmp_path)
    (site,) = environment.environment.glob("lib/python*/site-packages")
    version = importlib.metadata.version("torch").partition("+")[0]
    for build, kept in ((f"{version}+cpu", True), ("2.0.0+cpu", False)):
        described = site / f"torch-{build}.dist-info"
        described.mkdir()
        (described / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {build}\n")
        command = [sys.executable, "-m", "pip", "--python", environment.programs / "python", "install", "--dry-run"]
        resolved = subprocess.run([*command, "--no-index", "--report", "-", "--quiet", wheel], capture_output=True)
        assert (resolved.returncode == 0) == kept, resolved.stderr
        if kept:
            assert json.loads(resolved.stdout)["install"] == []
        shutil.rmtree(described)


def test_a_grid_is_trained_by_a_worker_and_reported(installed: Installed) -> None:
    grid = grid_file(installed.folder, seeds=1)
    assert "2 runs: 2 new" in installed.run("urfb", "grid", "run", grid, "--jobs", "1")
    drawn = installed.run("urfb", "report", "figures", "4", "--experiment", "tiny", "--grid", grid)
    assert "figures/tiny-figure04.png" in drawn
    installed.run("urfb", "report", "page", "--experiment", "tiny", "--grid", grid)
    results = installed.folder / "results"
    assert (results / "figures" / "tiny-figure04.png").stat().st_size > 1000
    (page,) = results.glob("*.html")
    assert "<style" in page.read_text(encoding="utf-8")
    counted = installed.run(
        "urfb", "results", "query", "SELECT state, count(*) FROM runs GROUP BY 1", "--format", "csv"
    )
    assert counted.splitlines()[1:] == ["done,2"]
    assert "quick_check" in installed.run("urfb", "doctor")


def test_a_store_of_an_older_version_is_upgraded(installed: Installed) -> None:
    old = ROOT / "tests" / "store" / "schema1.sqlite"
    shutil.copy(old, installed.folder / "old.sqlite")
    assert "upgraded" in installed.run("urfb", "results", "upgrade", "--store", "old.sqlite")
    assert "cifar10" in installed.run("urfb", "results", "runs", "--store", "old.sqlite")
