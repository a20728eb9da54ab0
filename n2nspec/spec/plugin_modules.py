"""Python files run as plugins, and what to say when their code raises.

In: the bytes of a file. Out: a module; or, from an exception that went through such a module, a diagnostic
with its line.
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
import traceback
from importlib.abc import InspectLoader
from pathlib import Path as FilePath
from types import CodeType, ModuleType

from n2nspec.diagnostics import Diagnostic, Span, quote

__all__ = ["line_span", "plugin_fault", "run_plugin"]


class _Bytes(InspectLoader):
    """Runs the bytes that were read: no second look at the file, no `__pycache__` beside a user's spec."""

    def __init__(self, content: bytes, path: FilePath) -> None:
        self.path = path
        self._content = content

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self._content, str(self.path))

    def get_source(self, fullname: str) -> str:
        return importlib.util.decode_source(self._content)


def run_plugin(content: bytes, path: FilePath) -> ModuleType:
    """The module of a plugin. Equal files are one module, so a spec that is read twice gives equal specs.

    Raises:
        Exception: whatever its code raises.
    """
    name = f"{path.stem}_{hashlib.sha256(content).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    loader = _Bytes(content, path)
    found = importlib.util.spec_from_loader(name, loader, origin=str(path))
    assert found is not None
    module = importlib.util.module_from_spec(found)
    module.__file__ = str(path)
    sys.modules[name] = module  # before it runs: pydantic looks annotations up there
    try:
        loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def plugin_fault(error: BaseException, path: FilePath | None = None) -> Diagnostic | None:
    """What to say when the code of a plugin raised: the error, and the innermost line of a plugin's file.

    Args:
        path: of the plugin that was being run, when one was; its syntax may be at fault.

    Returns:
        None when no plugin had a part in it.
    """
    line = None
    for frame, number in traceback.walk_tb(error.__traceback__):
        loader = frame.f_globals.get("__loader__")
        if isinstance(loader, _Bytes):
            path, line = loader.path, number
    if path is None:
        return None
    text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == str(path):
        line, text = error.lineno, f"{type(error).__name__}: {error.msg}"
    return Diagnostic(
        code="E133",
        message=f"the plugin {quote(path.name)} raised {text}",
        file=str(path),
        span=line_span(path, line) if line else None,
        help=f"this is the plugin's own code: try it alone, with python {path}",
    )


def line_span(path: FilePath, number: int) -> Span:
    """A whole line of a Python file, from 1."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ValueError):
        lines = []
    text = lines[number - 1] if number <= len(lines) else ""
    start = len(text) - len(text.lstrip()) + 1
    end = max(len(text.rstrip()), start) + 1
    return Span(file=str(path), line=number, column=start, end_line=number, end_column=end, text=text)
