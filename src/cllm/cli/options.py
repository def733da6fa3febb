"""Command-line options made from the fields of a `Settings` class, so that each setting is declared once."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, Literal, Union, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from cllm.settings import Settings, validated


def options_of(kind: type[Settings], skip: tuple[str, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator: one click option for each field of `kind` not in `skip`, in their order.

    The command gets each value by the field's name, and None for what was not given: hand these to `settings_from`,
    so that `model_fields_set` tells what the person set. Bounds are not click's but the class's to check.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name, field in reversed(kind.model_fields.items()):
            if name not in skip:
                command = _option(name, field)(command)
        return command

    return decorate


def settings_from(kind: type[Settings], given: dict[str, Any]) -> Any:
    """`kind` from the values of its options; `given` may hold other parameters too. Raises `InvalidSettings`."""
    return validated(kind, {name: given[name] for name in kind.model_fields if given.get(name) not in (None, ())})


def _option(name: str, field: FieldInfo) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    annotation: Any = field.annotation
    multiple = False
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(a for a in get_args(annotation) if a is not type(None))
    if get_origin(annotation) is tuple:
        annotation, multiple = get_args(annotation)[0], True
    choices = [str(choice) for choice in get_args(annotation)] if get_origin(annotation) is Literal else None
    return click.option(
        f"--{name.replace('_', '-')}",
        name,
        type=click.Choice(choices) if choices else annotation,
        multiple=multiple,
        default=None,
        metavar=None if choices else _METAVARS[annotation],
        help=_help(field, multiple),
    )


_METAVARS: dict[Any, str] = {int: "N", float: "X", str: "TEXT"}


def _help(field: FieldInfo, multiple: bool) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    unit = f" {extra['unit']}" if extra.get("unit") else ""
    if multiple:
        note = "may be given several times"
    elif field.default in (None, ""):
        note = f"in{unit}" if unit else ""
    else:
        note = (
            f"default: {field.default:g}{unit}"
            if isinstance(field.default, float)
            else f"default: {field.default}{unit}"
        )
    return f"{field.description}." + (f"  [{note}]" if note else "")
