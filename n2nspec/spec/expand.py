"""`block = "double"` and `repeat = 3`: the flat list of layers.

In: the document with its variables put in, and the blocks. Out: the document with nothing but layers in
`[[encoder]]` and `[[decoder]]`, each knowing the block it came from and where that was used.

Names. The nodes of a use named `e1` are `e1.conv1`, `e1.relu1`, …; a use without a name is called after
its block, `double1`, `double2`, …. `repeat = 3` makes a named entry three, `e1.1`, `e1.2` and `e1.3`, each
reading the one before; an entry without a name is as if written three times.

References. From outside, `e1` is the block's result (its last layer, or its `output`) and the last of its
repetitions; `e1.conv1` is a node in it. Inside a block, `from` knows the block's own layers and `in`: all
that the block reads (its first layer reads that by itself), or one of it, `in1`, `in2`, …. Nothing else: a
block means the same wherever it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from n2nspec.diagnostics import closest, describe_value, quote
from n2nspec.spec.blocks import PLACING, SIMPLE_NAME, Block, check_inner_name
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.least import Least
from n2nspec.spec.limits import MOST_LAYERS, MOST_NESTED, Budget, TooLargeError, measure
from n2nspec.spec.merge import STAGES
from n2nspec.spec.origins import NOWHERE, Origins
from n2nspec.spec.references import Body, Group, Inputs, Layer, References, Target
from n2nspec.spec.templates import Scope, fill
from n2nspec.spec.trace import UNKNOWN, Problems, Step, Traced, label

__all__ = ["Expanded", "Expansion", "expand", "used"]

LONGEST_NAME = 200
LARGEST_ARGUMENT = 10_000
"""Values in what a parameter stands for."""
PLACED = ("type", "name", "from", "repeat")
"""What may be wrong with the use of a block, whatever the block."""
REPEAT = "for example repeat = 3"
ENOUGH = 1_000
"""Copies of layers that are made when what they are copies of is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expanded:
    """The flat document, None when it would be too large. `whole` is False where uses were left out."""

    document: Traced | None
    whole: bool = True


def expand(
    document: Traced, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems, *,
    wrong: bool = False, origins: Origins = NOWHERE,
) -> Expanded:  # fmt: skip
    """The document with nothing but layers in it.

    Args:
        wrong: there are mistakes in what is to be copied: after a while there is nothing more to be learnt
            from one more copy, so the rest is left out.
        origins: of the document; it knows which layers `extends` took out.
    """
    flat = document.with_({}, without=("blocks",))
    lists = {stage: document.part(stage) for stage in STAGES if isinstance(document.value.get(stage), list)}
    every_entry = [entry for entries in lists.values() for entry in entries.value]
    if not any(map(_expands, every_entry)):
        return Expanded(document=flat)
    table = document.value.get("input")
    taken = {name for entry in every_entry if (name := _name_of(entry))}
    walk = Expansion(
        blocks, scope, problems, input=next(iter(table), "") if isinstance(table, dict) else "", taken=taken,
        most=ENOUGH if wrong else MOST_LAYERS,
    )  # fmt: skip
    try:
        layers = {stage: walk.stage(entries) for stage, entries in lists.items()}
        every = [layer for items in layers.values() for layer in items]
        references = References(walk.top, every, problems, walk.budget, origins)
        changes = {
            stage: Traced.listing([references.written(layer) for layer in items], lists[stage].where.origin)
            for stage, items in layers.items()
        }
    except TooLargeError:
        return Expanded(document=None)
    return Expanded(document=references.elsewhere(flat.with_(changes)), whole=not walk.cut)


def used(entry: Traced, block: Block, name: str) -> tuple[Step, ...]:
    """The way of what is in a block to its use, by an entry whose nodes are called so."""
    via = entry.part("block").where.origin
    return (Step(f"block {quote(block.name)}, used here ({name})", via), *via.via)


def _is_type(kind: Any) -> bool:
    return isinstance(kind, str) and kind in ENTRIES


def _expands(entry: Any) -> bool:
    return isinstance(entry, dict) and ("block" in entry or "repeat" in entry)


def _name_of(entry: Any) -> str | None:
    name = entry.get("name") if isinstance(entry, dict) else None
    return name if isinstance(name, str) else None


class Expansion:
    """One walk over the layers, in the order of the flat list.

    Args:
        input: the name of the network's input.
        taken: the names that its layers are given.
        most: copies to make, of layers and of what is in blocks.
    """

    def __init__(
        self, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems, *,
        input: str, taken: set[str], most: int = MOST_LAYERS,
    ) -> None:  # fmt: skip
        self.blocks = blocks
        self.globals = scope
        self.problems = problems
        self.budget = Budget(problems)
        self.least = Least(blocks)
        self.input = input
        self.kinds = set(blocks)
        self.top = Body(input=input, taken=taken | {input}, kinds=self.kinds)
        self.copies, self.most = 0, most
        self.cut = False
        self.reads = Inputs(node=None)
        self.flat: list[Layer] = []

    def stage(self, entries: Traced) -> list[Layer]:
        self.flat = []
        for index, value in enumerate(entries.value):
            self.budget.at_once(*self.least.of(value), partial(entries.where.part, index))
            if self._adds_nothing(value):
                self.top.uncounted = True
                continue
            entry = entries.part(index)
            self.budget.entry = entry.where
            self.reads = self._entry(entry, self.top, "", self.reads, ())
        return self.flat

    def _adds_nothing(self, entry: Any) -> bool:
        """Whether an entry just uses a block of which, for a mistake that is reported, no copy is made."""
        if not isinstance(entry, dict) or not entry.keys().isdisjoint(PLACED):
            return False
        name = entry.get("block")
        if not isinstance(name, str) or name not in self.blocks:
            return False
        block = self.blocks[name]
        return self.cut or block is None or not block.sound

    def _entry(self, entry: Traced, body: Body, prefix: str, reads: Inputs, stack: tuple[str, ...]) -> Inputs:
        """Adds the layers of one entry; what the next entry reads."""
        if not isinstance(entry.value, dict):
            return self._layer(entry, body, None, prefix, reads)
        copies = self._repeat(entry)
        name = self._name(entry, body)
        body.broken |= name is None and "name" in entry.value
        given = entry.get("from")
        if given is not None:
            reads = Inputs(body=body, names=given)
        block = self._block(entry, stack) if "block" in entry.value else None
        if "block" in entry.value and block is None:
            if name is None:
                self._lose_count(entry.value["block"], body)
            else:
                body.local.setdefault(name, Group(local={}, last=None, known=False))
            return reads
        bare = entry.with_({}, without=("repeat",)) if "repeat" in entry.value else entry
        counted = copies is not None
        copies = 1 if copies is None else copies
        if name is None:
            kind = entry.value.get("type")
            if not counted or (block is None and not _is_type(kind)):
                self._lose_count(kind, body)
        targets: dict[str, Target] = {}
        target: Target | None = None
        for number in range(1, copies + 1):
            self.copies += block is not None or body.block is not None or copies > 1
            if self.copies > self.most:
                self.cut = body.broken = True
                break
            if name is None:
                own = self._numbered(entry, body, block, prefix)
            else:
                own = name if copies == 1 else f"{name}.{number}"
            if own is not None and len(prefix) + len(own) > LONGEST_NAME:
                where = entry.part("name").where if name is not None else entry.where
                message = f"the name {quote(prefix + own)} has more than {LONGEST_NAME} characters"
                self.problems.add(where, "E118", message, help="choose shorter names, or nest fewer blocks")
                body.broken = True
                return reads
            if block is not None:
                assert own is not None
                target = self._use(bare, block, f"{prefix}{own}.", prefix + own, reads, stack)
            else:
                self._layer(bare, body, own, prefix, reads)
                target = self.flat[-1]
            if name is None:
                if own is not None:
                    body.local[own] = target
            else:
                targets[str(number)] = target
            reads = Inputs(node=target.result)
        if name is not None and target is not None:
            if copies > 1 or not counted:
                target = Group(local=targets if counted else {}, last=target, known=counted)
            self._declare(entry, name, body, target)
        return reads

    def _lose_count(self, kind: Any, body: Body) -> None:
        """Notes that it is not known which layers without a name are called how."""
        body.uncounted = True
        self.kinds |= {kind, kind.lower()} if isinstance(kind, str) else {""}

    def _layer(self, entry: Traced, body: Body, name: str | None, prefix: str, reads: Inputs) -> Inputs:
        self.budget.layer()
        layer = Layer(entry=entry, name=prefix + name if name is not None else None, reads=reads, body=body)
        self.flat.append(layer)
        return Inputs(node=layer)

    def _repeat(self, entry: Traced) -> int | None:
        """How many of an entry; None when that is not known."""
        repeat = entry.get("repeat")
        if repeat is None:
            return 1
        if repeat.value is UNKNOWN:
            return None
        value = repeat.value
        if isinstance(value, bool) or not isinstance(value, int):
            self.problems.wrong_type(repeat, "repeat", "an integer", help=REPEAT)
            return None
        if value < 1:
            message = f"repeat: expected 1 or more; received {describe_value(value)}"
            self.problems.add(repeat.where, "E113", message, help=REPEAT)
            return None
        if value > MOST_LAYERS:
            received = describe_value(value)
            self.problems.add(
                repeat.where, "E125", f"repeat: expected {MOST_LAYERS:,} or less; received {received}"
            )
            raise TooLargeError
        return value

    def _name(self, entry: Traced, body: Body) -> str | None:
        """The entry's own name, when it has one that can be used."""
        name = entry.get("name")
        if name is None:
            return None
        if body.block:
            return name.value if check_inner_name(name, self.problems) else None
        if isinstance(name.value, str) and (SIMPLE_NAME.fullmatch(name.value) or not _expands(entry.value)):
            return name.value
        if _expands(entry.value):
            check_inner_name(name, self.problems)
        return None  # of a plain layer: the model of the layer says what is wrong with it

    def _numbered(self, entry: Traced, body: Body, block: Block | None, prefix: str) -> str | None:
        """A name for an entry without one: relu1, double1; at the top, layers get theirs in the graph."""
        if block is not None:
            return body.free(block.name)
        if not body.block:
            return None
        kind = entry.value.get("type")
        return body.free(kind.lower() if isinstance(kind, str) and SIMPLE_NAME.fullmatch(kind) else "layer")

    def _declare(self, entry: Traced, name: str, body: Body, target: Target) -> None:
        where = entry.part("name").where
        before = body.owners.get(name)
        plain = body.block is None and isinstance(target, Layer)
        if before is not None and not (plain and isinstance(body.local[name], Layer)):
            self.problems.add(
                where, "E202", f"the name {quote(name)} is used twice", help="give this layer another name",
                labels=label(before, "first used here"),
            )  # fmt: skip
            return
        if before is None:  # two plain layers of one name are the graph's matter
            body.local[name] = target
            body.owners[name] = where
        if isinstance(target, Group) and name == self.input and not body.block:
            message = f"the name {quote(name)} is that of the input"
            self.problems.add(where, "E202", message, help="give this layer another name")

    def _block(self, entry: Traced, stack: tuple[str, ...]) -> Block | None:
        """The block that an entry uses; None when there is something wrong, which is reported."""
        name = entry.part("block")
        if name.value is UNKNOWN:
            return None
        if not isinstance(name.value, str):
            self.problems.wrong_type(name, "block", "the name of a block")
            return None
        if "type" in entry.value:
            self.problems.add(
                name.where, "E123", "a layer has either a type or a block", key=True,
                labels=label(entry.part("type").where, "the type is given here", key=True),
                help="remove one of the two",
            )  # fmt: skip
            return None
        if name.value not in self.blocks:
            help = self.problems.suggest(name.value, self.blocks) or f"define it: [blocks.{name.value}]"
            self.problems.add(name.where, "E122", f"there is no block {quote(name.value)}", help=help)
            return None
        block = self.blocks[name.value]
        if block is None or not block.sound:
            return None
        if name.value in stack:
            circle = stack[stack.index(name.value) :]
            member = self.blocks[min(circle)]
            assert member is not None
            if self.problems.is_new(member.where, "circle"):  # one mistake, wherever one comes into it
                self.problems.add(
                    name.where, "E123",
                    f"the block {quote(name.value)} contains itself: {' → '.join([*circle, name.value])}",
                    help="a block cannot use itself; repeat = … makes several in a row",
                )  # fmt: skip
            return None
        if len(stack) >= MOST_NESTED:
            message = f"blocks are nested more than {MOST_NESTED} levels deep"
            self.problems.add(name.where, "E125", message, help="nest fewer blocks")
            raise TooLargeError
        return block

    def _use(
        self, entry: Traced, block: Block, prefix: str, name: str, reads: Inputs, stack: tuple[str, ...]
    ) -> Group:
        """Adds the layers of a block, with the entry's values for its parameters."""
        self.budget.use()
        scope = self._arguments(entry, block)
        return self._inside(block, scope, used(entry, block, name), prefix, reads, stack)

    def _inside(
        self, block: Block, scope: Scope, steps: tuple[Step, ...], prefix: str, reads: Inputs,
        stack: tuple[str, ...],
    ) -> Group:  # fmt: skip
        """Adds the layers of a block."""
        body = Body(
            block=block,
            inputs=reads,
            kinds=self.kinds,
            taken={name for layer, _ in block.layers if (name := _name_of(layer.value))},
        )
        for layer, templated in block.layers:
            inner = fill(layer, scope, self.problems) if templated else layer
            if templated:
                self.budget.values(measure(inner.value))
            reads = self._entry(inner.after(*steps), body, prefix, reads, (*stack, block.name))
        result = reads.node
        if block.output is not None:
            found = body.local.get(block.output.value) or body.dotted(block.output.value)
            if found is not None:
                result = found.result
            elif not body.hidden(block.output.value):
                message = f"there is no layer {quote(block.output.value)} in the block {quote(block.name)}"
                self.problems.add(
                    block.output.where,
                    "E203",
                    message,
                    help=self.problems.suggest(block.output.value, body.local),
                )
        return Group(
            local=body.local, last=None, result=result, known=not body.broken, counted=not body.uncounted
        )

    def _arguments(self, entry: Traced, block: Block) -> Scope:
        """The variables and the block's parameters."""
        values = dict(self.globals.values)
        declared = f"params of [blocks.{block.name}]"
        meant: set[str | None] = set()
        for key in entry.value:
            if key not in PLACING and key not in block.params:
                message = f"the block {quote(block.name)} has no parameter {quote(key)}"
                help = self.problems.suggest(key, block.params) or "it has none"
                meant.add(closest(key, block.params))
                if key == "params":
                    help = "values for its params stand beside `block`, such as ch = 16"
                    meant.update(block.params)
                self.problems.add(
                    entry.part(key).where, "E123", message, key=True, help=help,
                    labels=label(block.where, "the block is defined here"),
                )  # fmt: skip
        for name, default in block.params.items():
            if name in entry.value:
                value = entry.part(name)
                if value.value is None:
                    self.problems.wrong_type(value, name, "a value", help="leave it out for its default")
                    value = Traced(UNKNOWN, value.where)
            elif default is not None:
                value = fill(default, Scope(values=values, declared="[vars]"), self.problems)
            else:
                value = Traced(UNKNOWN, entry.where)
                if name not in meant:
                    message = f"the block {quote(block.name)} needs {quote(name)}"
                    self.problems.add(
                        entry.part("block").where, "E123", message, help=f"add {name} = …",
                        labels=label(block.declared[name], f"{name} has no default"),
                    )  # fmt: skip
            size = measure(value.value)
            if size > LARGEST_ARGUMENT:
                message = f"{name} grows to more than {LARGEST_ARGUMENT:,} values"
                self.problems.add(value.where, "E125", message)
                raise TooLargeError
            self.budget.values(size)
            values[name] = value
        return Scope(values=values, declared=declared)
