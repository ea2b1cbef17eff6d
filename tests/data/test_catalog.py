import subprocess
import sys
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from urfb.data.catalog import CATALOG, data_directory, dataset_info, is_chance
from urfb.errors import DataError


def test_the_splits_are_those_of_the_paper():
    sizes = {name: (info.training, info.validation, info.test) for name, info in CATALOG.items()}
    assert sizes == {
        "cifar10": (45_000, 5_000, 10_000),
        "cifar100": (45_000, 5_000, 10_000),
        "mnist": (55_000, 5_000, 10_000),
        "digits": (1_297, 250, 250),
    }


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(DataError, match=r"'CIFAR-10'.*did you mean 'cifar10'\?.*digits"):
        dataset_info("CIFAR-10")


def test_data_directory_is_explicit_then_environment_then_cache(monkeypatch):
    monkeypatch.setenv("URFB_DATA_DIR", "~/from environment")
    assert data_directory("/explicit") == Path("/explicit")
    assert data_directory(None) == Path.home() / "from environment"
    monkeypatch.delenv("URFB_DATA_DIR")
    assert data_directory(None) == user_cache_path("urfb") / "data"


def test_the_catalog_loads_no_torch():
    program = "import sys, urfb.data.catalog; sys.exit(any(name in sys.modules for name in ('torch', 'sklearn')))"
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("dataset", "test_error", "chance"),
    [
        ("cifar10", 0.9, True),
        ("cifar10", 0.95, True),
        ("cifar10", 0.892, True),
        ("cifar10", 0.89, False),
        ("cifar100", 0.988, True),
        ("cifar100", 0.986, False),
        ("digits", 0.85, True),
        ("digits", 0.8, False),
    ],
)
def test_an_error_is_chance_within_three_standard_errors(dataset, test_error, chance):
    assert is_chance(test_error, CATALOG[dataset]) == chance
