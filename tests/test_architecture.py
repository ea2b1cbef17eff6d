"""The rules for the code: packages import only those before them in docs/architecture.md, and code stays short."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
MODULES = sorted((ROOT / "urfb").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
LINES_OF_A_MODULE, LINES_OF_A_FUNCTION, LETTERS_OF_A_TEST = 450, 60, 70


def order() -> list[str]:
    """Return the packages and top-level modules in the order in which each may import only those before it.

    `urfb/__init__.py`, which users import, and `__main__.py` come last and may import everything.
    """
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^    (errors < .*(?:\n     *< .*)*)$", text, re.MULTILINE)
    return [*re.split(r"\s*<\s*", line), "__init__", "__main__"]


def part(path: str) -> str:
    """Return the package or top-level module that a file belongs to."""
    return Path(path).relative_to("urfb").parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield a module's imports from urfb: line, module, and name or ''.

    Imports inside functions and for type checkers count, because they are dependencies, too.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names if alias.name.split(".")[0] == "urfb")
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: write absolute imports, from urfb"
            if (node.module or "").split(".")[0] == "urfb":
                yield from ((node.lineno, str(node.module), alias.name) for alias in node.names)


def imported_part(module: str, name: str) -> str | None:
    """Return the package or top-level module that an import needs; None for urfb itself, imported for its version."""
    if (module, name) in (("urfb", ""), ("urfb", "__version__")):
        return None
    return f"{module}.{name}".split(".")[1]


def test_every_package_has_a_place_in_the_order() -> None:
    assert sorted(order()) == sorted({part(path) for path in TREES})


def test_no_package_imports_one_above_it() -> None:
    place = {name: number for number, name in enumerate(order())}
    upward = [
        f"{path}:{line} imports {imported}, which is above {part(path)}"
        for path, tree in TREES.items()
        for line, module, name in imports(tree)
        if (imported := imported_part(module, name)) is not None and place.get(imported, len(place)) > place[part(path)]
    ]
    assert upward == [], "\n".join(upward)


def test_no_module_imports_a_private_name() -> None:
    private = [
        f"{path}:{line} imports {module}.{name}"
        for path, tree in TREES.items()
        for line, module, name in imports(tree)
        if any(word.startswith("_") and not word.endswith("__") for word in (*module.split("."), name))
    ]
    assert private == []


def test_no_module_uses_a_private_attribute_of_another() -> None:
    used = []
    for path, tree in TREES.items():
        nodes = list(ast.walk(tree))
        attributes = [node for node in nodes if isinstance(node, ast.Attribute) and not is_of_a_library(node)]
        defined = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        defined |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
        defined |= {node.attr for node in attributes if isinstance(node.ctx, ast.Store)}
        used += [
            f"{path}:{node.lineno} uses .{node.attr}"
            for node in attributes
            if node.attr.startswith("_") and not node.attr.endswith("__") and node.attr not in defined
        ]
    assert used == []


def is_of_a_library(node: ast.Attribute) -> bool:
    """Return whether an attribute is a method of named tuples, or has no public name in Python or PyTorch."""
    return node.attr in ("_asdict", "_fields", "_replace", "_schema") or ast.unparse(node.value) in ("os", "torch")


def test_modules_are_short() -> None:
    lengths = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n") for path in MODULES}
    assert {path: length for path, length in lengths.items() if length > LINES_OF_A_MODULE} == {}


def test_functions_are_short() -> None:
    lengths = {
        f"{path}::{node.name}": node.end_lineno - node.lineno + 1
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None
    }
    assert {name: lines for name, lines in lengths.items() if lines > LINES_OF_A_FUNCTION} == {}


def test_names_of_tests_are_short() -> None:
    names = [name for path in TESTS for name in re.findall(r"^ *def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)]
    assert [name for name in names if len(name) >= LETTERS_OF_A_TEST] == []
