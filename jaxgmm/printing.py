"""How values print, and what notebooks show of them: by :mod:`jaxgmm.report`, which is loaded on first use."""

import inspect
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


class _Name(str):
    """A name that prints without quotes."""

    __repr__ = str.__str__


def printed(kind: T) -> T:
    """A class whose values print within a screen: what they are, and what is most worth knowing of them."""
    setattr(kind, "__repr__", _as_text)  # noqa: B010 - mypy would have these of one type alone
    setattr(kind, "_repr_html_", _as_html)  # noqa: B010
    setattr(kind, "__signature__", _with_names(inspect.signature(kind)))  # noqa: B010
    return kind


def _with_names(signature: inspect.Signature) -> inspect.Signature:
    """A signature whose defaults that are functions print as their names."""
    named = {
        name: parameter.replace(default=_Name(parameter.default.__name__))
        for name, parameter in signature.parameters.items()
        if inspect.isfunction(parameter.default)
    }
    return signature.replace(parameters=list({**signature.parameters, **named}.values()))


def _as_text(value: Any) -> str:
    return str(_renderer().printed(value))


def _as_html(value: Any) -> Any:
    return _renderer().in_notebook(value)


def _renderer() -> Any:
    """By name: values are below what renders them, and should not load it before anything is printed."""
    return import_module("jaxgmm.report.values")
