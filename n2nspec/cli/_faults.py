"""Exceptions that can be told though they are no diagnostics yet: a plugin's fault, a lack of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from n2nspec.diagnostics import Diagnostic, DiagnosticError

__all__ = ["as_diagnostics", "told"]


def told(error: Exception) -> Diagnostic | None:
    """The diagnostic of an exception; None when the fault is ours."""
    # imported here: `n2nspec --help` and most commands that fail need no pydantic
    from n2nspec.runtime.memory import memory_fault
    from n2nspec.spec.plugin_modules import plugin_fault

    return plugin_fault(error) or memory_fault(error)


@contextmanager
def as_diagnostics() -> Iterator[None]:
    """For commands whose report has a place for errors: what a program reads, or one spec among several.

    Raises:
        DiagnosticError: in place of an exception that can be told.
    """
    try:
        yield
    except DiagnosticError:
        raise
    except Exception as error:
        fault = told(error)
        if fault is None:
            raise
        raise DiagnosticError([fault]) from error
