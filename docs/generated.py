"""The reference pages' text, from the code: settings, commands, rules, tables, the Python API.

`cog -r -P -I docs README.md docs/*.md docs/*/*.md` updates the pages, and a test checks that they are current.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from functools import cache
from tempfile import TemporaryDirectory
from typing import Any, get_args

import griffe
import typer
from griffe2md import ConfigDict, render_object_docs
from pydantic import BaseModel

from urfb.cli import app
from urfb.data.catalog import CATALOG
from urfb.grid import schema
from urfb.grid.expand import resolve
from urfb.grid.settings import CONVENTIONS, SETTINGS, OneOf, Setting
from urfb.nn import notation
from urfb.nn.networks import AUTHOR_CODE, NETWORKS
from urfb.nn.rules import RULES
from urfb.store import open_for_writing
from urfb.store import tables as store
from urfb.theory.spec import SimulationSpec


def show(text: str) -> None:
    """Print a part of a page; Markdown needs an empty line above and below it."""
    print(f"\n{text}\n")


def table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = ["| " + " | ".join(map(_cell, line)) + " |" for line in (headers, *rows)]
    return "\n".join([lines[0], "|" + "---|" * (lines[0].count(" | ") + 1), *lines[1:]])


def _cell(text: str) -> str:
    """Return a text in one line with its bars escaped, in code as HTML, because GitHub and MkDocs differ there."""
    text = re.sub(r"`([^`]*\|[^`]*)`", lambda match: f"<code>{html.escape(match[1])}</code>", " ".join(text.split()))
    return text.replace("|", "&#124;")


def code(value: object) -> str:
    """Return a value in code, as YAML writes it; '' for None."""
    if value is None:
        return ""
    text = str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"`{text}`"


# The command line


def commands() -> str:
    """Return every command with its help."""
    command = typer.main.get_command(app)
    return "\n\n".join(_command(command, typer.Context(command), "urfb"))


def _command(command: Any, context: typer.Context, name: str) -> Iterator[str]:
    """Return the help of a command and of its subcommands."""
    children = getattr(command, "commands", {})
    if name != "urfb":
        yield f"{'##' if name.count(' ') == 1 else '###'} {name}"
    for paragraph in (command.help or "").split("\n\n"):
        example = re.fullmatch(r"(?:\x08\n)?Examples?:\s+(.*)", paragraph.strip(), re.DOTALL)
        if example:
            lines = "\n".join(line.strip() for line in example[1].splitlines())
            yield f"```sh\n{lines}\n```"
        else:
            yield html.escape(" ".join(paragraph.replace("\x08", "").split()), quote=False)
    yield f"```text\n{name} {' '.join(command.collect_usage_pieces(context))}\n```"
    documented = [
        (parameter, record)
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) is not None
    ]
    rows = [
        (f"`{re.sub(' <.*' if parameter.param_type_name == 'argument' else ' range(?=>)', '', name)}`", text)
        for parameter, (name, text) in documented
        if parameter.name != "help"
    ]
    if rows:
        yield table(
            ("argument or option", "description"), [(name, html.escape(text, quote=False)) for name, text in rows]
        )
    for word, child in children.items():
        yield from _command(child, context, f"{name} {word}")


# Grid files


def grid_keys() -> str:
    """Return the keys of each part of a grid file."""
    parts: dict[str, type[BaseModel]] = {
        "the file": schema.GridFile,
        "an experiment": schema.Experiment,
        "a matrix": schema.Matrix,
    }
    rows = [
        (f"`{name}`", part, " ".join((field.description or "").split()))
        for part, model in parts.items()
        for name, field in model.model_fields.items()
        if name not in SETTINGS
    ]
    return table(("key", "part of", "description"), rows)


def settings() -> str:
    """Return the settings of a run: description, allowed values and default."""
    return table(
        ("setting", "description", "allowed values", "default"),
        (
            (f"`{name}`", setting.doc, _allowed(setting), _default(name))
            for name, setting in SETTINGS.items()
            if setting.use.in_grid_file
        ),
    )


def _allowed(setting: Setting) -> str:
    """Return the values that a setting's type allows."""
    kind, checks = setting.kind, get_args(setting.use.grid_type or setting.type)[1:]
    words = [check.func for check in checks if isinstance(getattr(check, "func", None), OneOf)]
    if words and words[0].words is RULES:
        return "a [rule](rules.md) or an import path"
    if words:
        return ", ".join(map(code, words[0].words)) + (" or an import path" if words[0].or_import_path else "")
    limits = [limit for check in checks for limit in getattr(check, "metadata", [check])]
    signs = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "{} at most"}
    bounds = [
        text.format(f"{value:g}")
        for limit in limits
        for name, text in signs.items()
        if (value := getattr(limit, name, None)) is not None and value < 2**31  # the limit of a database column
    ]
    if kind is bool:
        return "`true`, `false`"
    return ", ".join([{int: "integer", float: "number", str: "text"}[kind], *bounds])


def _default(name: str) -> str:
    """Return the default that `resolve` gives a setting, with the data sets where it differs."""
    if name in ("network", "dataset", "rule"):
        return "required"
    values: dict[Any, list[str]] = {}
    for dataset in CATALOG:
        required = {"network": "Conv 2 3x3; Conv 2 3x3; Output", "dataset": dataset, "rule": "urfb"}
        plain = resolve(required, {})
        staged = resolve(required | {"pretraining_epochs": 1, "untied": "all"}, {})
        value = getattr(plain, name)
        values.setdefault(getattr(staged, name) if value is None else value, []).append(dataset)
    if values.keys() == {None}:
        return "the rule's" if name in ("epsilon", "decay") else ""
    usual = max(values, key=lambda value: len(values[value]))
    exceptions = [f"{code(value)} for {', '.join(names)}" for value, names in values.items() if value != usual]
    return "; ".join([code(usual), *exceptions])


def conventions() -> str:
    """Return the settings of each convention."""
    fields = list(next(iter(CONVENTIONS.values())))
    return table(
        ("convention", *(f"`{field}`" for field in fields)),
        ((code(name), *(code(values[field]) for field in fields)) for name, values in CONVENTIONS.items()),
    )


# The tables of rules, networks and data sets


def rules() -> str:
    """Return the table of rules."""
    rows = (
        (
            code(name),
            rule.description,
            {"drawn": "drawn", "copied": "Wᵗ", "uniform": "one magnitude", None: "no R"}[rule.start],
            f"{rule.epsilon:g}" if rule.start and "epsilon" not in rule.required else "",
            ", ".join(f"`{setting}`" for setting in rule.required)
            + "".join(f" (`{setting}`)" for setting in rule.optional),
        )
        for name, rule in RULES.items()
    )
    return table(("rule", "description", "R starts as", "ε", "required (and optional) settings"), rows)


def networks() -> str:
    """Return the table of the paper's networks."""
    texts = {name: {"": text} for name, text in NETWORKS.items()}
    for name, text in AUTHOR_CODE.items():
        texts[name]["under `author-code`: "] = text
    return table(
        ("network", "text"),
        (
            (code(name), "<br>".join(f"{prefix}`{text}`" for prefix, text in variants.items()))
            for name, variants in texts.items()
        ),
    )


def layers() -> str:
    """Return the statements of the paper's notation, from the docstring of its module."""
    lines = re.findall(r"^    (\S.*?)  +(.*(?:\n {20}.*)*)", notation.__doc__ or "", re.MULTILINE)
    return table(("statement", "description"), ((f"`{statement}`", text) for statement, text in lines))


def datasets() -> str:
    """Return the table of data sets."""
    rows = (
        (
            code(name),
            re.sub(r"(https?://\S+)", r"<\1>", info.source),
            "×".join(map(str, info.shape)),
            str(info.classes),
            f"{info.training:,} / {info.validation:,} / {info.test:,}",
            str(info.batch_size),
        )
        for name, info in CATALOG.items()
    )
    return table(("data set", "description", "shape", "classes", "training / validation / test", "batch size"), rows)


# The store


def simulation_settings() -> str:
    """Return the settings of a simulation of section 5, from the docstring of their class."""
    docs: dict[str, str] = {}
    attribute = r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {8}.*)*)"
    for names, text in re.findall(attribute, inspect.getdoc(SimulationSpec) or "", re.MULTILINE):
        docs |= dict.fromkeys(names.split(", "), text)
    rows = ((f"`{field.name}`", docs[field.name], code(field.default)) for field in fields(SimulationSpec))
    return table(("setting", "description", "default"), rows)


SHARED_ROWS = {
    "run": (store.SPEC_COLUMNS, "the [settings](grid-file.md#settings) of the run, resolved"),
    "simulation": (store.SIMULATION_COLUMNS, "the [settings](#settings-of-a-simulation) of the simulation"),
}
"""For each table, the columns that share one row of its documentation and of its views', and the text of that row."""


def _columns(table_name: str, columns: list[tuple[str, str, str]]) -> str:
    """Return a table of columns (name, type, doc), with the settings that have no doc in one row."""
    names, description = SHARED_ROWS.get(table_name, ((), ""))
    settings = [f"`{name}`" for name, _, doc in columns if name in names and not doc]
    rows = [(f"`{name}`", kind, doc) for name, kind, doc in columns if f"`{name}`" not in settings]
    if settings:
        rows.insert(1, ("…", "", f"{description}: {', '.join(settings)}"))
    return table(("column", "type", "description"), rows)


def views() -> str:
    """Return the columns of each view, read from an empty store, with the docs of the tables' columns."""
    parts = []
    with TemporaryDirectory() as folder:
        empty = open_for_writing(f"{folder}/empty.sqlite")
        for view in store.VIEWS:
            described = store.view_columns(view)
            columns = [(name, TYPES[kind], described[name].doc or "") for name, kind in empty.columns(view).items()]
            table_name = "run" if "run" in empty.columns(view) else "simulation"
            parts.append(f"### {view}\n\n{_columns(table_name, columns)}")
        empty.close()
    return "\n\n".join(parts)


def tables() -> str:
    """Return the columns of each table."""
    parts = []
    for store_table in store.metadata.sorted_tables:
        columns = []
        for column in store_table.columns:
            links = "".join(f"`{key.target_fullname}`" for key in column.foreign_keys)
            key = "primary key" if column.primary_key and column.name == "id" else ""
            columns.append((column.name, TYPES[column.type.python_type], column.doc or links or key))
        heading = f"### Table {store_table.name}"
        parts.append(f"{heading}\n\n{_columns(store_table.name, columns)}")
    return "\n\n".join(parts)


TYPES = {int: "integer", float: "number", str: "text", bool: "true or false", bytes: "bytes"}


# The Python API

PYTHON = ConfigDict(
    docstring_section_style="list",
    line_length=100,
    members=False,
    show_signature_annotations=True,
)


@cache
def _package() -> griffe.Object:
    package = griffe.load("urfb", docstring_parser="google")
    assert isinstance(package, griffe.Object)
    return package


def python(*names: str) -> str:
    """Return the signature and documentation of each object, such as `open_store` or `store.Store.runs`."""
    return "\n\n".join(f"### urfb.{name}\n\n{_documented(_package()[name])}" for name in names)


def _documented(thing: griffe.Object | griffe.Alias) -> str:
    """Return the signature and documentation of an object, without the heading, which has the private path."""
    text = render_object_docs(thing.final_target if isinstance(thing, griffe.Alias) else thing, PYTHON)
    text = re.sub(r"\[([^\[\]]+)\]\(#[^)]*\)", r"\1", text)  # links to objects that are on no page
    return text.partition("\n")[2].strip()


def errors() -> str:
    """Return the tree of exceptions."""
    return str(_package()["errors"].docstring.value)
