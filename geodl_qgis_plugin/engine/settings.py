"""
Settings of a job: frozen dataclasses, checked once, saved with the result.

The names are those of the algorithm's parameters in lower case. A field may carry limits in its metadata, made with `option`.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

from .errors import SettingsError

S = TypeVar("S")


def option(
    default: Any = dataclasses.MISSING,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """Make a field with limits: the smallest and largest number, or the words that may stand there."""
    limits = {"at_least": at_least, "at_most": at_most, "choices": choices}
    if isinstance(default, (list, dict)):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=limits)
    return dataclasses.field(default=default, metadata=limits)


def read_settings(kind: type[S], values: Mapping[str, Any]) -> S:
    """
    Make settings of ``kind`` from plain values.

    Raises
    ------
    SettingsError
        If a name is unknown, a needed one is missing, or a value has the wrong type or lies outside its limits.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SettingsError(f"The setting {unknown[0]!r} is unknown. Known settings are {', '.join(fields)}.")
    hints = typing.get_type_hints(kind)
    given = {}
    for name, field in fields.items():
        if name in values:
            given[name] = _checked(name, values[name], hints[name], field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise SettingsError(f"{name.upper()} is missing. Give a value for it.")
    return kind(**given)


def as_dict(settings: Any) -> dict[str, Any]:
    """Return the settings as plain values, as they are saved with a result."""
    return dataclasses.asdict(settings)


def _checked(name: str, value: Any, hint: Any, limits: Mapping[str, Any]) -> Any:
    value = _converted(name, value, hint)
    low, high, choices = limits.get("at_least"), limits.get("at_most"), limits.get("choices")
    if value is None:
        return value
    if choices and value not in choices:
        raise SettingsError(f"{name.upper()} is {value!r}, but must be one of {', '.join(choices)}.")
    for number in value if isinstance(value, list) else [value]:
        if low is not None and number < low:
            raise SettingsError(f"{name.upper()} is {number:g}, but must be {low:g} or more.")
        if high is not None and number > high:
            raise SettingsError(f"{name.upper()} is {number:g}, but must be {high:g} or less.")
    return value


def _converted(name: str, value: Any, hint: Any) -> Any:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (part for part in typing.get_args(hint) if part is not type(None))
        return _converted(name, value, hint)
    if origin is list:
        if not isinstance(value, (list, tuple)):
            raise SettingsError(f"{name.upper()} is {value!r}, but must be a list.")
        (inner,) = typing.get_args(hint)
        return [_converted(name, part, inner) for part in value]
    if hint is Any or origin is dict or hint is dict:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
        raise SettingsError(f"{name.upper()} is {value!r}, but must be {words.get(hint, hint)}.")
    return value
