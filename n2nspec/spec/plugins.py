"""Layers of the user's own: the Python files that a spec names, and installed packages that offer layers.

In: a document with `plugins = ["my_layers.py"]`, and whether its code may run. Out: layer types by name, the
files they came from, and what is wrong with them.

A plugin is written as a layer file of this package is: a `LayerSpec` with its `CASES`, and perhaps a `Layer`.
It is code, so a file runs only when whoever started the program said so; one that came with a spec or a model
from somebody else stays unread. A package is trusted as it was installed on purpose: it names its module
under the entry point group `n2nspec.layers`, and is asked when a spec has a type that nobody else knows.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath
from typing import Any

from n2nspec.diagnostics import Diagnostic, Label, Span, listing, quote
from n2nspec.layers import LayerSpec
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.layer_classes import Found, Offered, layer_classes
from n2nspec.spec.origins import Origins
from n2nspec.spec.plugin_modules import plugin_fault, run_plugin
from n2nspec.spec.source import LARGEST_FILE

__all__ = ["GROUP", "PluginFile", "Plugins", "installed_layers", "open_plugins"]

GROUP = "n2nspec.layers"
NO_LAYERS = {"spec_version", "name", "description", "plugins", "input", "output", "vars", "train", "data"}
"""Keys of a spec below which no layer stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginFile:
    """A plugin as it was run. `name` is its path from the spec's folder, with `/` between the parts; that of
    a base in a folder elsewhere is its path from there."""

    name: str
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugins:
    """What the plugins of one spec bring.

    Attributes:
        layers: layer types by the name used in a spec, aliases included.
        files: those that were run, in order.
        problems: what is wrong with them.
        missing: a layer type may be unknown only because a plugin did not run.
    """

    layers: Mapping[str, type[LayerSpec]] = field(default_factory=dict)
    files: tuple[PluginFile, ...] = ()
    problems: tuple[Diagnostic, ...] = ()
    missing: bool = False

    def beside(self, others: Iterable[Diagnostic]) -> list[Diagnostic]:
        """These problems, which stand at the top of a spec, and others; one mistake is not told twice."""
        told = {problem.path for problem in self.problems}
        echoes = {"E116"} if self.missing else set()
        return [*self.problems, *(d for d in others if d.code not in echoes and d.path not in told)]


def open_plugins(
    document: Mapping[str, Any], origins: Origins, *, allowed: bool, folder: FilePath | None = None
) -> Plugins:
    """The layers that a document's plugins add to the built-in ones.

    Args:
        document: of the spec; what is no list of names under `plugins` is left to its validation.
        allowed: whether files may be run. Without leave they are not even looked for.
        folder: where the files of a spec without a file of its own are; the current folder when absent.
    """
    named = document.get("plugins", [])
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        return Plugins(missing=True)
    if named and not allowed:
        return Plugins(problems=(_refusal(named, origins),), missing=True)
    layers: dict[str, Offered] = {}
    files: list[PluginFile] = []
    problems: list[Diagnostic] = []
    for index, name in enumerate(named):
        span = origins.locate(("plugins", index))
        start = _folder(span, origins, folder)
        found = _from_file(name, start, layers)
        for read in found.files:
            file = replace(read, name=_from_top(read.name, start, origins, folder))
            if any(other.name == file.name and other.content != file.content for other in files):
                message = f"another plugin is called {quote(file.name)}, too"
                found = _wrong("E136", message, "give one of the two files another name")
            else:
                files.append(file)
        problems += (_placed(problem, span, index, origins) for problem in found.problems)
        layers |= found.layers
    missing = bool(problems)
    unknown = _types(document) - ENTRIES.keys() - layers.keys()
    if unknown and not missing:
        packages, faults = installed_layers()
        layers = {**packages, **layers}  # the spec says which file it means, so its own come first
        problems += faults if unknown - packages.keys() else ()
    return Plugins(
        layers={name: offered.layer for name, offered in layers.items()},
        files=tuple(files),
        problems=tuple(problems),
        missing=missing,
    )


def installed_layers() -> tuple[dict[str, Offered], list[Diagnostic]]:
    """The layers of installed packages, and what is wrong with those that cannot be used."""
    # imported here: reading what is installed takes longer than checking a spec, and few specs need it
    from importlib.metadata import entry_points

    layers: dict[str, Offered] = {}
    problems: list[Diagnostic] = []
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.value, point.name)):
        source = f"the installed plugin {quote(point.value)}"
        try:
            offered = point.load()
        except (Exception, SystemExit) as error:
            problems.append(
                Diagnostic(
                    code="E133",
                    message=f"{source} raised {type(error).__name__}: {error}",
                    help="repair the package, or uninstall it",
                )
            )
            continue
        found = layer_classes(offered, source, layers)
        layers |= found.layers
        problems += found.problems
    return layers, problems


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded(Found):
    files: tuple[PluginFile, ...] = ()


def _from_file(name: str, folder: FilePath, known: Mapping[str, Offered]) -> _Loaded:
    source = f"the plugin {quote(name)}"
    relative = os.path.normpath(name) if name else name
    path = folder / relative
    if os.path.isabs(name) or relative.split(os.sep)[0] == os.pardir or not _inside(path, folder):
        return _wrong("E132", f"{source} lies outside the spec's folder", "put the file beside the spec")
    if path.suffix != ".py":
        return _wrong("E105", f"a plugin ends in .py; received {quote(name)}", "name a Python file")
    try:
        if not path.is_file():
            return _wrong("E131", f"there is no plugin {path}", "plugins are looked for in the spec's folder")
        with path.open("rb") as stream:
            content = stream.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return _wrong("E131", f"cannot read {source}: {reason}", "check its name and who may read it")
    if len(content) > LARGEST_FILE:
        return _wrong("E131", f"{source} is larger than {LARGEST_FILE // 2**20} MiB", "")
    try:
        module = run_plugin(content, path)
    except (Exception, SystemExit) as error:
        fault = plugin_fault(error, path)
        assert fault is not None
        return _Loaded(problems=(fault,))
    found = layer_classes(module, source, known)
    file = PluginFile(name=FilePath(relative).as_posix(), content=content)
    return _Loaded(layers=found.layers, problems=found.problems, files=(file,))


def _inside(path: FilePath, folder: FilePath) -> bool:
    """Whether a path stays in the folder when links are followed."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):
        return True  # a NUL, a circle of links: reading it says so


def _wrong(code: str, message: str, help: str) -> _Loaded:
    return _Loaded(problems=(Diagnostic(code=code, message=message, help=help),))


def _folder(span: Span | None, origins: Origins, folder: FilePath | None) -> FilePath:
    """Where a name under `plugins` starts: the folder of the file that it is written in."""
    file = span.file if span is not None and span.in_file else origins.file
    return FilePath(file).parent if file else folder or FilePath()


def _from_top(name: str, start: FilePath, origins: Origins, folder: FilePath | None) -> str:
    """The path of a plugin, which is below `start`, from the folder of the spec that was asked for."""
    path = os.path.relpath(start / name, _folder(None, origins, folder))
    return name if path.split(os.sep)[0] == os.pardir else FilePath(path).as_posix()


def _refusal(named: list[str], origins: Origins) -> Diagnostic:
    return Diagnostic(
        code="E130",
        message=f"the spec wants to run code of its own: {listing(named)}",
        file=origins.file,
        span=origins.locate(("plugins",)),
        path="plugins",
        help="if you trust it, add --allow-plugins, or allow_plugins=True in Python",
    )


def _placed(problem: Diagnostic, span: Span | None, index: int, origins: Origins) -> Diagnostic:
    """The diagnostic with the place in the spec: its own, or a second one beside that in the plugin."""
    path = f"plugins[{index}]"
    if problem.span is None:
        return replace(problem, file=origins.file, span=span, path=path)
    labels = (*problem.labels, *([Label(span=span, text="the plugin is named here")] if span else ()))
    return replace(problem, path=path, labels=labels)


def _types(document: Mapping[str, Any]) -> set[str]:
    """Every word that may be a layer type: under `type` wherever layers stand, and the keys of `defaults`."""
    found: set[str] = set()
    waiting = [value for key, value in document.items() if key not in NO_LAYERS]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            kind = value.get("type")
            found |= {kind} if isinstance(kind, str) else set()
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    defaults = document.get("defaults")
    return found | ({*defaults} if isinstance(defaults, Mapping) else set())
