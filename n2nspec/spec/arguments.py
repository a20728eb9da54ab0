"""The values that a use of a block gives to its parameters.

In: the use, the block, the variables in reach. Out: the scope in which the layers of the block are filled.
"""

from __future__ import annotations

from collections.abc import Mapping

from n2nspec.diagnostics import closest, quote
from n2nspec.spec.blocks import PLACING, Block
from n2nspec.spec.limits import Budget, TooLargeError, measure
from n2nspec.spec.templates import Scope, fill, mentioned
from n2nspec.spec.trace import UNKNOWN, Problems, Traced, label

__all__ = ["arguments", "inside"]

LARGEST = 10_000
"""Values in what a parameter stands for."""


def arguments(entry: Traced, block: Block, variables: Scope, problems: Problems, budget: Budget) -> Scope:
    """The variables and the block's parameters; UNKNOWN what a mistake, which is reported, leaves open."""
    values = dict(variables.values)
    meant: set[str | None] = set()
    for key in entry.value if block.params_known else ():
        if key not in PLACING and key not in block.params and key != "type":
            if _undeclared(key, block, variables):
                # where it is used in the block that is told; another that is declared may be this one
                meant |= block.params.keys() - set(mentioned([layer.value for layer, _ in block.layers]))
                continue
            message = f"the block {quote(block.name)} has no parameter {quote(key)}"
            help = problems.suggest(key, block.params) or "it has none"
            meant.add(closest(key, block.params))
            if key == "params":
                help = "values for its params stand beside `block`, such as ch = 16"
                meant.update(block.params)
            problems.add(
                entry.part(key).where, "E123", message, key=True, help=help,
                labels=label(block.where, "the block is defined here"),
            )  # fmt: skip
    for name, default in block.params.items():
        if name in entry.value:
            value = entry.part(name)
            if value.value is None:
                problems.wrong_type(value, name, "a value", help="leave it out for its default")
                value = Traced(UNKNOWN, value.where)
        elif default is not None and name not in meant:
            value = fill(default, Scope(values=variables.values, open=variables.open), problems)
        else:
            value = Traced(UNKNOWN, entry.where)
            in_base = problems.partial and "name" in entry.value
            if default is None and name not in meant and block.params_known and not in_base:
                problems.add(
                    entry.part("block").where, "E123", f"the block {quote(block.name)} needs {quote(name)}",
                    help=f"add {name} = …", labels=label(block.declared[name], f"{name} has no default"),
                )  # fmt: skip
        size = measure(value.value)
        if size > LARGEST:
            problems.add(value.where, "E125", f"{name} grows to more than {LARGEST:,} values")
            raise TooLargeError
        budget.values(size)
        values[name] = value
    return inside(block, values, variables)


def inside(block: Block, values: Mapping[str, Traced], variables: Scope) -> Scope:
    """What the layers of a block know: these values, of variables and of its parameters."""
    return Scope(
        values=values, block=block.name, params=block.params,
        open=variables.open or not block.params_known,
    )  # fmt: skip


def _undeclared(name: str, block: Block, variables: Scope) -> bool:
    """Whether the layers of a block use a name, although nothing declares it."""
    if variables.open or name in variables.values:
        return False
    return any(templated and name in mentioned(layer.value) for layer, templated in block.layers)
