"""A user's own models, rules and data sets, named in a grid by import path: 'my_models:build', 'my_rules:noisy'."""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from urfb.errors import PluginError, nearest
from urfb.nn.rules import RULES, Rule


def is_import_path(text: str) -> bool:
    """Whether a text is written as an import path, MODULE:NAME."""
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d]\w*", text) is not None


def add_import_folder(folder: Path) -> None:
    """Find modules in `folder`, too: after all other folders, so that none of Python's own is hidden."""
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


def folder_of(path: str) -> Path | None:
    """Return the folder in which the module, or the package, of an import path is found; None where it has no file.

    Raises:
        PluginError: the module cannot be imported.
    """
    top = sys.modules[_module(path).__name__.partition(".")[0]]
    if top.__file__ is None:
        return None
    return Path(top.__file__).resolve().parents[1 if hasattr(top, "__path__") else 0]


def load_plugin(path: str) -> Any:
    """Return what an import path names.

    Raises:
        PluginError: the module cannot be imported, or has no such name.
    """
    module, name = _module(path), path.partition(":")[2]
    if not hasattr(module, name):
        public = [attribute for attribute in vars(module) if not attribute.startswith("_")]
        raise PluginError(f"'{path}': {module.__file__} has no '{name}': {nearest(name, public)}")
    return getattr(module, name)


def find_rule(name: str) -> Rule:
    """Return a rule of the table, or a user's own by its import path.

    Raises:
        PluginError: the path cannot be imported, or names something else.
    """
    if not is_import_path(name):
        return RULES[name]
    rule = load_plugin(name)
    if not isinstance(rule, Rule):
        raise PluginError(f"'{name}' is {type(rule).__name__}, where a urfb.Rule is expected")
    return rule


def source_hash(paths: Iterable[str]) -> str:
    """Return a hash of the source that import paths name: the module's file, or every file of its package.

    A model and a rule in one module have one source, so that reports may compare runs that differ in the rule alone.

    Raises:
        PluginError: a module cannot be imported, or has no source.
    """
    digest = hashlib.sha256()
    for module in sorted({path.partition(":")[0] for path in paths}):
        for name, text in _sources(_module(f"{module}:")):
            digest.update(repr((name, text)).encode())
    return digest.hexdigest()[:16]


def _module(path: str) -> ModuleType:
    name = path.partition(":")[0]
    try:
        return importlib.import_module(name)
    except Exception as error:  # a user's module may raise anything
        hint = "; a module is looked for beside the grid file and where Python finds its own"
        problem = f"{type(error).__name__}: {error}"
        raise PluginError(f"'{path}': cannot import '{name}' ({problem}){hint}") from error


def _sources(module: ModuleType) -> list[tuple[str, bytes]]:
    """Return the name and the text of each file that a module's code is in."""
    top = sys.modules[module.__name__.partition(".")[0]]
    if top.__file__ is None or not top.__file__.endswith(".py"):
        raise PluginError(f"module '{module.__name__}' has no Python source, which a run's identity is made of")
    file = Path(top.__file__)
    if not hasattr(top, "__path__"):
        return [(file.name, file.read_bytes())]
    return [(str(path.relative_to(file.parent)), path.read_bytes()) for path in sorted(file.parent.rglob("*.py"))]
