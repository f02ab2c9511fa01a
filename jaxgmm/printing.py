"""How values print, and what notebooks show of them: by :mod:`jaxgmm.report`, which is loaded on first use."""

from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T", bound=type)


def printed(kind: T) -> T:
    """A class whose values print within a screen: what they are, and what is most worth knowing of them."""
    setattr(kind, "__repr__", _as_text)  # noqa: B010 - mypy would have these of one type alone
    setattr(kind, "_repr_html_", _as_html)  # noqa: B010
    return kind


def _as_text(value: Any) -> str:
    return str(_renderer().printed(value))


def _as_html(value: Any) -> Any:
    return _renderer().in_notebook(value)


def _renderer() -> Any:
    """By name: values are below what renders them, and should not load it before anything is printed."""
    return import_module("jaxgmm.report.values")
