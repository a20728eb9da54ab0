"""Parameter types and options that several commands share."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from n2nspec.diagnostics import fail
from n2nspec.spec import read_overrides

__all__ = [
    "ALLOW_PLUGINS",
    "DEVICE",
    "DETERMINISTIC",
    "FORMAT",
    "MEMORY_LIMIT",
    "PATH",
    "PROCESSES",
    "SET",
    "SIZE",
    "SPEC",
    "WORDS",
    "Place",
    "format_option",
    "overrides",
    "spec_files",
]

Command = TypeVar("Command", bound=Callable[..., Any])


class _Size(click.ParamType[tuple[int, int]]):
    """HEIGHTxWIDTH → (height, width)."""

    name = "HEIGHTxWIDTH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,6})[x×](\d{1,6})", str(value))
        if not found or "0" in {found[1].lstrip("0") or "0", found[2].lstrip("0") or "0"}:
            self.fail(f"expected HEIGHTxWIDTH in pixels, such as 32x32; received {value!r}", param, ctx)
        from n2nspec.graph import GivenSize  # here: most commands need no graph

        return GivenSize.of((int(found[1]), int(found[2])), str(value))


SIZE = _Size()


class _Bytes(click.ParamType[int]):
    """An amount of memory → bytes."""

    name = "BYTES"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from n2nspec.runtime.memory import parse_bytes  # here: most commands need no engine

        try:
            return parse_bytes(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Place(click.Path):
    """A path that says something: the empty one would silently be the current folder."""

    def convert(
        self,
        value: str | os.PathLike[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str | bytes | os.PathLike[str]:
        if not os.fspath(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = Place(path_type=Path)
WORDS = Place()
"""A path that stays as it was written, for messages and for `builtin:photos`."""


def format_option(*forms: str) -> Callable[[Command], Command]:
    """`--format`, with the first as its default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(forms),
        default=forms[0],
        show_default=True,
        help="Output format.",
    )


FORMAT = format_option("text", "json")


def spec_files(specs: tuple[str, ...]) -> list[str]:
    """The specs named, or every spec in ./specs.

    Raises:
        DiagnosticError: none was named and there is none.
    """
    if specs:
        return list(specs)
    found = sorted(
        str(file)
        for file in Path("specs").glob("*")
        if file.suffix in (".toml", ".json") and not file.name.endswith(".schema.json")
    )
    if not found:
        raise fail("E101", "no spec was named, and there is none in ./specs", file="specs",
                   help="name one, such as `n2nspec compile path/to/spec.toml --check`")  # fmt: skip
    return found


ALLOW_PLUGINS = click.option(
    "--allow-plugins", is_flag=True, help="Run the Python files that a spec names under `plugins`."
)
SPEC = click.option(
    "--spec", metavar="SPEC", type=WORDS, default=None, help="A spec, whose plugins are taken in."
)
SET = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Override a value of the spec."
)
MEMORY_LIMIT = click.option(
    "--memory-limit", type=_Bytes(), default=None,
    help="The most that a training step may take, such as 200MiB: fewer pictures at once, values made again.",
)  # fmt: skip
PROCESSES = click.option(
    "--processes", type=click.IntRange(1, 4096), default=None,
    help="Processes among which a batch is divided on the CPU, except by reference; one a core by default.",
)  # fmt: skip
DETERMINISTIC = click.option(
    "--deterministic", is_flag=True, help="Choose nothing by measuring: the same rounding in every run."
)
DEVICE = click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:1 …")


def overrides(settings: tuple[str, ...]) -> dict[str, Any]:
    """What `--set KEY=VALUE` says, by key; of a key given twice the last counts."""
    return read_overrides(settings)
