"""The layer classes of a plugin: found, and checked before anything relies on them.

In: a module, or a class, that somebody else wrote. Out: its layer types by name, and a diagnostic for each
thing that a layer of this package has and this one lacks.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from types import ModuleType

from n2nspec.diagnostics import Diagnostic, Label, Span, listing, quote
from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers.registry import type_names
from n2nspec.spec.blocks import PLACING
from n2nspec.spec.plugin_modules import line_span

__all__ = ["Found", "Offered", "layer_classes"]

RESERVED = {*PLACING, "share", "before", "after"}
"""Keys that every entry of a spec may have; a field of that name could never be set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """A layer type and who brings it, in words."""

    layer: type[LayerSpec]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The layer types of a plugin by name, and what is wrong with it."""

    layers: Mapping[str, Offered] = field(default_factory=dict)
    problems: tuple[Diagnostic, ...] = ()


def layer_classes(offered: object, source: str, known: Mapping[str, Offered]) -> Found:
    """The layer types that a module (or one class) offers.

    Args:
        source: the plugin in words, for messages.
        known: types of other plugins, whose names are taken as those of the built-in ones are.
    """
    layers: dict[str, Offered] = {}
    problems: list[Diagnostic] = []
    for name, value in _public(offered):
        if value is None:
            message = f"{source} names {quote(name)} in __all__, but has no such thing"
            problems.append(Diagnostic(code="E134", message=message, help="define it, or leave it out"))
        elif isinstance(value, type) and issubclass(value, LayerSpec) and not _ours(value):
            faults = [*_faults(value, source), *_clashes(value, source, {**known, **layers})]
            problems += faults
            if not faults:
                layers |= dict.fromkeys(type_names(value, LayerSpec), Offered(layer=value, source=source))
    if not layers and not problems:
        help = "define a subclass of n2nspec.layers.LayerSpec in it, and name it in __all__"
        problems.append(Diagnostic(code="E134", message=f"{source} brings no layer", help=help))
    return Found(layers=layers, problems=tuple(problems))


def _public(offered: object) -> Iterator[tuple[str, object]]:
    """Name and value of everything that is meant for others; None for a name that leads nowhere."""
    if not isinstance(offered, ModuleType):
        yield getattr(offered, "__name__", ""), offered
        return
    names = getattr(offered, "__all__", [name for name in vars(offered) if not name.startswith("_")])
    for name in names:
        yield name, getattr(offered, name, None)


def _ours(layer: type[LayerSpec]) -> bool:
    """A class of this package that a plugin imports."""
    return layer in LAYERS.values() or layer.__module__.startswith("n2nspec.layers.")


def _faults(layer: type[LayerSpec], source: str) -> Iterator[Diagnostic]:
    """What the class lacks."""
    what = f"{layer.__name__} of {source}"
    names = type_names(layer, LayerSpec)
    example = names[0] if names else layer.__name__.removesuffix("Spec")
    odd = [str(name) for name in names if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name))]
    if not names or layer.model_fields["type"].default not in names:
        message = f"{what} does not say what a spec calls it"
        yield _problem("E135", layer, message, f'write type: Literal["{example}"] = "{example}"')
    elif odd:
        message = f"{what} has a type that is no plain name: {listing(odd)}"
        yield _problem("E135", layer, message, "use letters, digits and _")
    taken = [key for key, info in layer.model_fields.items() if (info.alias or key) in RESERVED]
    if taken:
        message = f"{what} has a field {quote(taken[0])}, a key that every layer of a spec has already"
        yield _problem("E135", layer, message, "give the field another name")
    for name in ("forward", "backward"):
        if getattr(layer, name) is getattr(LayerSpec, name):
            yield _problem("E135", layer, f"{what} has no {name}", f"define {name}, as built-in layers do")
    if not layer.CASES:
        message = f"{what} has no CASES"
        help = "give at least one Case: fields and input shapes with which it can be tried"
        yield _problem("E135", layer, message, help)


def _clashes(layer: type[LayerSpec], source: str, known: Mapping[str, Offered]) -> Iterator[Diagnostic]:
    """Types that somebody else brings already. The same class a second time is no clash."""
    for name in type_names(layer, LayerSpec):
        other = known.get(name)
        if name in LAYERS:
            message = f"{quote(name)} of {source} is a built-in layer"
            labels: tuple[Label, ...] = ()
        elif other is not None and other.layer is not layer:
            message = f"{quote(name)} of {source} is also a layer of {other.source}"
            labels = _labels(other.layer, "the other one")
        else:
            continue
        yield _problem("E136", layer, message, "give the type another name", labels)


def _problem(
    code: str, layer: type[LayerSpec], message: str, help: str, labels: tuple[Label, ...] = ()
) -> Diagnostic:
    span = _span(layer)
    return Diagnostic(
        code=code, message=message, file=span.file if span else "", span=span, help=help, labels=labels
    )


def _labels(layer: type[LayerSpec], text: str) -> tuple[Label, ...]:
    span = _span(layer)
    return (Label(span=span, text=text),) if span else ()


def _span(layer: type[LayerSpec]) -> Span | None:
    """The first line of a class."""
    try:
        file, (_, line) = inspect.getsourcefile(layer), inspect.findsource(layer)
    except (OSError, TypeError):
        return None
    return line_span(FilePath(file), line + 1) if file else None
