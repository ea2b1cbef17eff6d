"""Custom models, rules and data sets, which a grid file names by import path, such as 'my_models:build'."""

from __future__ import annotations

import filecmp
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import signal
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from urfb.errors import PluginError, nearest
from urfb.nn.rules import RULES, Rule

USERS_ERRORS = (Exception, SystemExit)
"""What custom code may raise: any exception, and SystemExit from sys.exit(). KeyboardInterrupt is not among them."""
NOT_A_USERS = (Path(__file__).parent, Path(sysconfig.get_path("stdlib")))
"""The folders of urfb and of Python's standard library."""


def is_import_path(text: str) -> bool:
    """Return whether a text has the form of an import path, MODULE:NAME."""
    return re.fullmatch(r"[^\W\d][\w.]*(?<!\.py):[^\W\d]\w*", text) is not None


def refuse_file(text: str) -> None:
    """Refuse the path of a file in place of an import path.

    Raises:
        PluginError: the text is such as 'my_models.py:build' or './models/my.py:build'.
    """
    if match := re.fullmatch(r"(?:\./)?((?:[^\W\d]\w*/)*[^\W\d]\w*)\.py:([^\W\d]\w*)", text):
        path = f"{match[1].replace('/', '.')}:{match[2]}"
        raise PluginError(f"an import path names a module, not a file: write '{path}'")


def add_import_folder(folder: Path) -> None:
    """Add a folder at the end of Python's module path, so that its modules hide no others."""
    if str(folder.resolve()) not in sys.path:
        sys.path.append(str(folder.resolve()))


@contextmanager
def users_code() -> Iterator[None]:
    """Send what custom code prints to stderr, and restore the working folder and signal handlers after it.

    Otherwise a relative path, such as the store's, would mean another file after `os.chdir`, and Ctrl-C might no
    longer save a checkpoint.
    """
    # O_PATH also works for a folder without read permission.
    folder = os.open(os.curdir, getattr(os, "O_PATH", os.O_RDONLY))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.fchdir(folder)
        os.close(folder)
        for number, handler in handlers.items():
            if signal.getsignal(number) is not handler:
                signal.signal(number, handler)


def described(error: BaseException) -> str:
    """Return an error in custom code as one line, with the place in a user's file where it was raised, if any."""
    place = place_of(error)
    text = error.msg if place and isinstance(error, SyntaxError) else str(error)
    line = f"{type(error).__name__}: {textwrap.shorten(text, 500, placeholder=' …')}".removesuffix(": ")
    return f"{line}, at {place}" if place else line


def place_of(error: BaseException) -> str | None:
    """Return FILE:LINE of the innermost call in a user's file, or None if there is no such call."""
    calls = [(call.f_code.co_filename, line) for call, line in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        calls.append((error.filename or "", error.lineno or 1))
    return next((f"{file}:{line}" for file, line in reversed(calls) if _is_users(Path(file))), None)


def definition_of(path: str) -> str:
    """Return FILE:LINE of the definition that an import path names, or its module's file if it has no line."""
    plugin = inspect.unwrap(load_plugin(path))
    try:
        return f"{inspect.getsourcefile(plugin)}:{inspect.getsourcelines(plugin)[1]}"
    except (TypeError, OSError):  # not a function or class
        return str(_module(path).__file__)


def refuse_hidden(path: str, folder: Path) -> None:
    """Check that no other module hides the one in `folder`, which Python searches last.

    Raises:
        PluginError: a module of the same name comes first, or is already imported.
    """
    module = path.partition(":")[0]
    stem = folder.joinpath(*module.split("."))
    file = next((file for file in (Path(f"{stem}.py"), stem / "__init__.py") if file.is_file()), None)
    top = importlib.util.find_spec(module.partition(".")[0])
    if file is None or top is None:
        return
    places = top.submodule_search_locations or ([top.origin] if top.has_location and top.origin else [])
    candidates = [Path(place).parent / file.relative_to(folder) for place in places]
    # An identical copy does no harm.
    if not any(copy.is_file() and filecmp.cmp(copy, file, shallow=False) for copy in candidates):
        where = ", ".join(places) or "Python itself"
        raise PluginError(
            f"'{path}' is found in {where}, not in {file} next to the grid file: give that module another name"
        )


def folder_of(path: str) -> Path | None:
    """Return the folder in which Python finds the module, or package, of an import path; None if it has no file.

    Raises:
        PluginError: the module cannot be imported.
    """
    module = _module(path)
    return None if module.__file__ is None else _found_in(module).resolve()


def load_plugin(path: str) -> Any:
    """Import the object that an import path names.

    Raises:
        PluginError: the module cannot be imported, or has no such name.
    """
    module, name = _module(path), path.partition(":")[2]
    if hasattr(module, name):
        return getattr(module, name)
    if module.__file__ is None and hasattr(module, "__path__"):
        modules = [info.name for info in pkgutil.iter_modules(module.__path__, f"{module.__name__}.")]
        raise PluginError(
            f"'{path}': '{module.__name__}' is a folder without __init__.py, so it has no '{name}'; "
            f"name a module in it: {', '.join(modules)}"
        )
    public = [attribute for attribute in vars(module) if not attribute.startswith("_")]
    raise PluginError(f"'{path}': {module.__file__} has no '{name}': {nearest(name, public)}")


def find_rule(name: str) -> Rule:
    """Return a rule of `RULES` by its name, or a custom rule by its import path.

    Raises:
        PluginError: the path cannot be imported, or names something else.
    """
    if not is_import_path(name):
        return RULES[name]
    rule = load_plugin(name)
    if not isinstance(rule, Rule):
        raise PluginError(f"'{name}' must be a urfb.Rule, not {type(rule).__name__}")
    return rule


def source_hash(paths: Iterable[str]) -> str:
    """Return a hash of the source of import paths: each module's file, or every file of its package.

    A model and a rule in one module have the same source, so reports can compare runs that differ only in the rule.

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
        with users_code():
            return importlib.import_module(name)
    except USERS_ERRORS as error:
        raise PluginError(f"'{path}': cannot import '{name}' ({described(error)}){_advice(name, error)}") from error


def _advice(name: str, error: BaseException) -> str:
    """Return advice for an error at the import of the module `name`; '' if the error itself says enough."""
    if isinstance(error, SystemExit):
        return "; move code that only a script should run below `if __name__ == '__main__':`"
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    if f"{name}.".startswith(f"{error.name}."):
        return "; urfb looks for modules next to the grid file and on Python's module path"
    return f"; install '{error.name}' for {sys.executable}"


def _is_users(file: Path) -> bool:
    """Return whether a source file belongs neither to urfb, nor to Python, nor to an installed package."""
    installed = {"site-packages", "dist-packages"}.intersection(file.parts)
    return file.is_file() and not installed and not any(file.is_relative_to(folder) for folder in NOT_A_USERS)


def _sources(module: ModuleType) -> list[tuple[str, bytes]]:
    """Return the name and content of each source file of a module or its package."""
    top = sys.modules[module.__name__.partition(".")[0]]
    file = module.__file__ if top.__file__ is None else top.__file__
    if file is None or not file.endswith(".py"):
        raise PluginError(f"module '{module.__name__}' has no Python source; a run's identity includes its hash")
    if not hasattr(top, "__path__"):
        return [(Path(file).name, Path(file).read_bytes())]
    # A package without __init__.py may have several folders, depending on where the command runs. So only the folder
    # with the module counts.
    folder = _found_in(module) / top.__name__ if top.__file__ is None else Path(file).parent
    return [(str(path.relative_to(folder)), path.read_bytes()) for path in sorted(folder.rglob("*.py"))]


def _found_in(module: ModuleType) -> Path:
    """Return the folder that contains a module, or its top-level package."""
    assert module.__file__ is not None
    return Path(module.__file__).parents[module.__name__.count(".") + hasattr(module, "__path__")]
