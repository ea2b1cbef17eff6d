"""Pydantic's mistakes in plain words."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import ErrorDetails

WORDS = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing_size": "is too large",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "literal_error": "must be {expected}",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "extra_forbidden": "unknown key",
}
"""Plain words for pydantic's types of errors. They name the values of the error's context, such as the limit."""


def in_plain_words(detail: ErrorDetails) -> str:
    """Return what is wrong with a value, such as 'must be at most 1'."""
    words = WORDS.get(detail["type"])
    if words is None:
        return detail["msg"]
    context = detail.get("ctx", {}).items()
    return words.format(**{name: f"{value:g}" if isinstance(value, float) else value for name, value in context})


def lacks_space(text: Any) -> str:
    """Return a hint for a text such as 'epochs:5', which lacks the space between key and value; otherwise ''."""
    match = re.match(r"\s*([^\W\d]\w*):(?!//)([^\s:,}]+)", text) if isinstance(text, str) else None
    return f"write a space after the colon: '{match[1]}: {match[2]}'" if match else ""
