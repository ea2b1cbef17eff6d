"""A grid file as written: plain data from YAML, the place of each part, and the mistakes that no schema finds."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import ConstructorError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import CollectionEndEvent, CollectionStartEvent, Event
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from urfb.errors import GridError
from urfb.grid.wording import lacks_space

Place = tuple[int | str, ...]
"""The keys and positions on the path from the top of a file to one of its parts."""

MERGE, MAPPING, LIST = (f"tag:yaml.org,2002:{kind}" for kind in ("merge", "map", "seq"))
MAX_DEPTH = 20
"""The maximum depth of nested lists and mappings. A valid grid file needs at most 7."""
MAX_VALUES = 100_000
"""The maximum number of values, with aliases expanded. Ten lines of aliases can expand to more than memory holds."""

LISTS_OF_MAPPINGS = ("zip", "include", "exclude")
"""The keys of a matrix whose value is a mapping or a list of mappings."""


class SourceFile:
    """A grid file as written.

    Attributes:
        path: the path of the file.
        data: the plain data of the file, with merges (<<) and aliases expanded.
        places: the line and column of each part, counted from 0.
        mistakes: the mistakes that do not depend on the schema, each with its place.
    """

    def __init__(self, path: Path) -> None:
        """Read the file.

        Raises:
            GridError: the file cannot be read, is not YAML, has no mapping at its top level, is nested too deeply, or
                has too many values.
        """
        self.path = path
        self.places: dict[Place, tuple[int, int]] = {}
        self.mistakes: list[tuple[Place, str]] = []
        self._values = 0
        self._yaml = YAML(typ="safe", pure=True)
        root = self._compose()
        if not isinstance(root, MappingNode):
            raise GridError([f"{path}: a grid file is a mapping with a key 'experiments'; this one is empty or a list"])
        self.data: dict[str, Any] = self._plain(root, ())

    def _compose(self) -> Node | None:
        """Return the root of the file's tree of nodes; None for an empty file."""
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            self._refuse_depth(text)
            return self._yaml.compose(text)  # type: ignore[no-any-return]
        except FileNotFoundError as error:
            raise GridError([f"{self.path}: does not exist{self._similar_name()}"]) from error
        except (OSError, UnicodeDecodeError) as error:
            raise GridError([f"{self.path}: cannot be read ({error})"]) from error
        except MarkedYAMLError as error:
            raise self._not_yaml(error, text) from error
        except (YAMLError, ValueError) as error:
            raise GridError([f"{self.path}: not valid YAML: {error}"]) from error

    def _not_yaml(self, error: MarkedYAMLError, text: str) -> GridError:
        mark = error.problem_mark
        line, where = (mark.line, f"{self.path}:{mark.line + 1}:{mark.column + 1}") if mark else (0, str(self.path))
        problem = str(error.problem or error.context or "").strip().splitlines()[0]
        if "but found '<block " in problem:
            problem = "this line is indented differently from the others of its mapping or list"
        elif "'\\t'" in problem:
            problem = "indent with spaces, not tabs"
        elif problem.startswith("mapping values are not allowed"):
            # YAML reads a line such as 'epochs:5' and the key in the next line as one text.
            before = text.splitlines()[line - 1] if line else ""
            if hint := lacks_space(before):
                where, problem = f"{self.path}:{line}:{len(before) - len(before.lstrip()) + 1}", hint
            else:
                problem += "; check the indentation, and put a text with ': ' in quotes"
        return GridError([f"{where}: not valid YAML: {problem}"])

    def _similar_name(self) -> str:
        """Return '; did you mean …?' with the file of the most similar name in the folder, or '' without one."""
        files = {file.stem: file for pattern in ("*.yml", "*.yaml") for file in self.path.parent.glob(pattern)}
        similar = difflib.get_close_matches(self.path.stem, files, n=1)
        return f"; did you mean '{files[similar[0]]}'?" if similar else ""

    def _refuse_depth(self, text: str) -> None:
        """Refuse a text that is nested too deeply. Reading YAML events, unlike nodes, needs no recursion."""
        depth = 0
        for event in YAML(typ="safe", pure=True).parse(text):
            depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise self._unbounded(event, f"lists and mappings are nested more than {MAX_DEPTH} deep")

    def _unbounded(self, part: Event | Node, problem: str) -> GridError:
        mark = part.start_mark
        return GridError([f"{self.path}:{mark.line + 1}:{mark.column + 1}: {problem}; a grid file needs far less"])

    def _count(self, node: Node) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._unbounded(node, f"with its aliases expanded, the file has more than {MAX_VALUES:,} values")

    def _plain(self, node: Node, place: Place) -> Any:
        """Return a node as plain Python data, and record the place of each key and item."""
        self._count(node)
        if len(place) > MAX_DEPTH:
            raise self._unbounded(node, "an alias is inside the part that it repeats")
        if isinstance(node, ScalarNode):
            value = self._scalar(node, place)
            if value is None:
                self.mistakes.append((place, self._no_value(place[-1] if place else "")))
            return value
        if isinstance(node, MappingNode) and node.tag == MAPPING:
            if place[-2:-1] == ("matrix",) and place[-1] in LISTS_OF_MAPPINGS:
                return [self._mapping(node, (*place, 0))]  # a single mapping needs no list
            return self._mapping(node, place)
        if isinstance(node, SequenceNode) and node.tag == LIST:
            for index, item in enumerate(node.value):
                self._keep_place((*place, index), item)
            return [self._plain(item, (*place, index)) for index, item in enumerate(node.value)]
        self.mistakes.append((place, f"the tag {node.tag} has no meaning here; remove it"))
        return None

    def _no_value(self, key: int | str) -> str:
        if hint := lacks_space(key):
            return hint
        problem = "no value is given: add one, or remove the key"
        if isinstance(key, str) and not re.fullmatch(r"[\w.-]+", key):
            problem += "; put a text with a comma in quotes"
        return problem

    def _scalar(self, node: ScalarNode, place: Place) -> Any:
        try:
            return self._yaml.constructor.construct_object(node)
        except ConstructorError:
            self.mistakes.append((place, f"the tag of '{node.value}' has no meaning here; remove it"))
        except ValueError as error:  # a number or date that Python cannot represent
            self.mistakes.append((place, f"'{node.value[:40]}' cannot be read ({error})"))
        return ""

    def _mapping(self, node: MappingNode, place: Place) -> dict[str, Any]:
        values: dict[str, Node] = {}
        for key, value in self._pairs(node, place, (node,)):
            name = self._scalar(key, place)
            if not isinstance(name, str):
                self.mistakes.append((place, f"the key {name!r} is not text; put it in quotes"))
            elif name not in values:
                values[name] = value
                self._keep_place((*place, name), key)
        return {name: self._plain(value, (*place, name)) for name, value in values.items()}

    def _pairs(self, node: MappingNode, place: Place, merging: tuple[Node, ...]) -> Iterator[tuple[ScalarNode, Node]]:
        """Yield the keys and values of a mapping, then those that it merges. The first of equal keys counts."""
        lines: dict[str, int] = {}
        merged: list[Node] = []
        for key, value in node.value:
            self._count(key)
            if key.tag == MERGE:
                merged += value.value if isinstance(value, SequenceNode) else [value]
                continue
            if not isinstance(key, ScalarNode):
                self.mistakes.append((place, "a key must be text, but this one is a list or a mapping"))
                continue
            if key.value in lines:
                self._keep_place((*place, key.value), key)
                problem = f"this key is already on line {lines[key.value]}; remove one of the two"
                self.mistakes.append(((*place, key.value), problem))
            lines[key.value] = key.start_mark.line + 1
            yield key, value
        for other in merged:
            if isinstance(other, MappingNode) and other not in merging:
                yield from self._pairs(other, place, (*merging, other))
            else:
                self.mistakes.append((place, "a merge (<<) takes a mapping, such as *base, or a list of mappings"))

    def _keep_place(self, place: Place, node: Node) -> None:
        self.places[place] = (node.start_mark.line, node.start_mark.column)

    def problem(self, place: Place, message: str) -> str:
        """Return a message with the file, line and column of `place`, or of the nearest part above it in the file."""
        present = place
        while present and present not in self.places:
            present = present[:-1]
        where = str(self.path)
        if present:
            line, column = self.places[present]
            where += f":{line + 1}:{column + 1}"
        path = ".".join(str(step) for step in present)
        return f"{where}: {path}: {message}" if path else f"{where}: {message}"
