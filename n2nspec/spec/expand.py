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

Mistakes. What cannot be made of an entry, for a mistake that is reported, becomes one layer of a type that is
not known: it has its place and its sources, and what reads it is not judged. All else is made as usual.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from n2nspec.diagnostics import Label, describe_value, quote
from n2nspec.spec.arguments import arguments
from n2nspec.spec.blocks import SIMPLE_NAME, Block, check_inner_name
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.least import Least
from n2nspec.spec.limits import MOST_LAYERS, MOST_NESTED, Budget, TooLargeError, measure
from n2nspec.spec.merge import STAGES
from n2nspec.spec.misspelt import hides_layers
from n2nspec.spec.names import is_name
from n2nspec.spec.origins import NOWHERE, Origins
from n2nspec.spec.references import Body, Group, Inputs, Layer, References, Target
from n2nspec.spec.templates import Scope, fill
from n2nspec.spec.trace import UNKNOWN, Problems, Step, Traced, Where, label

__all__ = ["Expansion", "expand", "used"]

LONGEST_NAME = 200
REPEAT = "for example repeat = 3"
ENOUGH = 1_000
"""Copies of layers that are made when what they are copies of is wrong, or once an entry was too large."""


def expand(
    document: Traced, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems, *,
    wrong: bool = False, origins: Origins = NOWHERE,
) -> Traced | None:  # fmt: skip
    """The document with nothing but layers in it; None when it would be too large, which is reported.

    Args:
        wrong: there are mistakes in what is to be copied: after a while there is nothing more to be learnt
            from one more copy, so the rest is left out.
        origins: of the document; it knows which layers `extends` took out.
    """
    flat = document.with_({}, without=("blocks",))
    lists = {stage: document.part(stage) for stage in STAGES if isinstance(document.value.get(stage), list)}
    every_entry = [entry for entries in lists.values() for entry in entries.value]
    if not any(map(_expands, every_entry)):
        return flat
    table = document.value.get("input")
    taken = {name for entry in every_entry if (name := _name_of(entry))}
    walk = Expansion(
        blocks, scope, problems, input=next(iter(table), "") if isinstance(table, dict) else "", taken=taken,
    )  # fmt: skip
    walk.top.broken = hides_layers(document)
    if wrong or walk.is_too_large(every_entry):
        walk.most = ENOUGH - 1  # one more stands for the rest
    try:
        layers = {stage: walk.stage(entries) for stage, entries in lists.items()}
        every = [layer for items in layers.values() for layer in items]
        references = References(walk.top, every, problems, walk.budget, origins)
        changes = {
            stage: Traced.listing([references.written(layer) for layer in items], lists[stage].where.origin)
            for stage, items in layers.items()
        }
    except TooLargeError:
        return None
    return references.elsewhere(flat.with_(changes))


def used(entry: Traced, block: Block, name: str) -> tuple[Step, ...]:
    """The way of what is in a block to its use, by an entry whose nodes are called so."""
    via = entry.part("block").where.origin
    return (Step(f"block {quote(block.name)}, used here ({name})", via), *via.via)


def _given(entry: Traced, body: Body) -> Inputs | None:
    """What an entry says that it reads."""
    given = entry.get("from")
    return Inputs(body=body, names=given) if given is not None else None


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
    """

    def __init__(
        self, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems, *,
        input: str, taken: set[str],
    ) -> None:  # fmt: skip
        self.blocks = blocks
        self.globals = scope
        self.problems = problems
        self.budget = Budget(problems)
        self.least = Least(blocks)
        self._types: dict[str, bool] = {}
        """Whether a text is a layer type, of those that were asked for: it is asked for each layer."""
        self.input = input
        self.top = Body(input=input, taken=taken | {input})
        self.copies, self.most = 0, MOST_LAYERS
        """Of layers and of what is in blocks: those that are made, and those that may be."""
        self.reads = Inputs(node=None)
        self.flat: list[Layer] = []

    def is_too_large(self, entries: list[Any]) -> bool:
        """Whether more is sure to come of all entries than a spec may have."""
        return any(sum(sizes) > MOST_LAYERS for sizes in zip(*map(self.least.of, entries), strict=True))

    def stage(self, entries: Traced) -> list[Layer]:
        self.flat = []
        for index, value in enumerate(entries.value):
            entry = entries.part(index)
            self.budget.entry = entry.where
            made, spent = len(self.flat), self.budget.spent()
            try:
                self.budget.at_once(*self.least.of(value))
                self.reads = self._entry(entry, self.top, "", self.reads, ())
            except TooLargeError:
                if not _expands(value):
                    raise
                del self.flat[made:]
                self.budget.forget(spent)
                self.most = min(self.most, self.copies + ENOUGH)  # the next ones shall not take as long
                self.reads = self._instead(entry, self.top, _given(entry, self.top) or self.reads)
        return self.flat

    def _entry(self, entry: Traced, body: Body, prefix: str, reads: Inputs, stack: tuple[str, ...]) -> Inputs:
        """Adds the layers of one entry; what the next entry reads."""
        if not isinstance(entry.value, dict):
            return self._layer(entry, body, None, prefix, reads)
        reads = _given(entry, body) or reads
        copies = self._repeat(entry)
        counted = copies is not None
        copies = 1 if copies is None else copies
        block = self._block(entry, stack) if "block" in entry.value else None
        if "block" in entry.value and block is None:
            self._own_name(entry, body, plain=False)
            return self._instead(entry, body, reads)
        plain = block is None and counted and copies == 1
        name = self._own_name(entry, body, plain=plain)
        if block is None and "name" not in entry.value and not self._is_type(entry.value.get("type")):
            self._lose_count(entry, body)
        bare = entry.with_({}, without=("repeat",)) if "repeat" in entry.value else entry
        targets: dict[str, Target] = {}
        target: Target | None = None
        for number in range(1, copies + 1):
            if name is None:
                own = self._numbered(entry, body, block, prefix)
            else:
                own = name if copies == 1 else f"{name}.{number}"
            if own is not None and len(prefix) + len(own) > LONGEST_NAME:
                where = entry.part("name").where if name is not None else entry.where
                message = f"the name {quote(prefix + own)} has more than {LONGEST_NAME} characters"
                self.problems.add(where, "E118", message, help="choose shorter names, or nest fewer blocks")
                return self._instead(entry, body, reads)
            self.copies += block is not None or body.block is not None or copies > 1
            if self.copies > self.most:
                if block is not None and number == 1:
                    self._arguments(bare, block)
                return self._instead(entry, body, reads)
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
        if not counted:
            return self._instead(entry, body, reads)
        if name is not None and target is not None and name not in body.stand_ins:
            body.local.setdefault(name, target if copies == 1 else Group(local=targets, last=target))
        return reads

    def _instead(self, entry: Traced, body: Body, reads: Inputs) -> Inputs:
        """Adds what stands for an entry, or the rest of it: a layer of which only the sources are known."""
        lost = self._unknown(entry, body, reads)
        name = _name_of(entry.value)
        if name is not None and (body.block or name != self.input):
            body.local[name] = Group(local={}, last=lost, known=False)
        elif "name" not in entry.value:
            self._lose_count(entry, body)
        return Inputs(node=lost)

    def _unknown(self, entry: Traced, body: Body, reads: Inputs) -> Layer:
        before = self.flat[-1] if self.flat else None
        if before is not None and reads.node is before and before.unknown:
            return before
        kind = Traced({"type": UNKNOWN}, Where(entry.where.origin))
        layer = Layer(entry=kind, name=self.top.stand_in(), reads=reads, body=body, unknown=True)
        self.flat.append(layer)
        return layer

    def _is_type(self, kind: Any) -> bool:
        if not isinstance(kind, str):
            return False
        if kind not in self._types:
            self._types[kind] = kind in ENTRIES
        return self._types[kind]

    def _lose_count(self, entry: Traced, body: Body) -> None:
        """Notes which layers without a name may be called otherwise than it seems."""
        kind, block = entry.value.get("type"), entry.value.get("block")
        said = block if "block" in entry.value else kind
        if not isinstance(said, str) or ("block" in entry.value and "type" in entry.value):
            body.uncounted.add("")
        elif said in self.blocks and said == block:
            body.uncounted.add(said)
        elif said == block:
            body.uncounted |= {said, said.lower(), *self.blocks}
        elif self._is_type(said):
            body.uncounted.add(said.lower())
        else:
            body.uncounted |= {said, said.lower(), *map(str.lower, ENTRIES)}

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

    def _own_name(self, entry: Traced, body: Body, *, plain: bool) -> str | None:
        """The name of the layers of an entry, or one in its stead when its own cannot be used."""
        name = self._name(entry, body)
        if name is None:
            return body.stand_in() if "name" in entry.value and (body.block or not plain) else None
        where = entry.part("name").where
        before = body.owners.get(name)
        twice = before is not None and not (
            not body.block and plain and isinstance(body.local.get(name), Layer)
        )
        labels: tuple[Label, ...] = ()
        if twice and before is not None:
            message, labels = f"the name {quote(name)} is used twice", label(before, "first used here")
            body.twice.add(name)
        elif name == self.input and not body.block and not plain:
            message = f"the name {quote(name)} is that of the input"
        else:
            body.owners.setdefault(name, where)
            return name
        self.problems.add(where, "E202", message, help="give this layer another name", labels=labels)
        return body.stand_in()

    def _name(self, entry: Traced, body: Body) -> str | None:
        """The entry's own name, when it has one that can be used; what it was meant to be is not missed."""
        name = entry.get("name")
        if name is None:
            return None
        if isinstance(name.value, str):
            plain = body.block is None and not _expands(entry.value)
            usable = SIMPLE_NAME.fullmatch(name.value) if body.block is None else None
            if plain and not usable and not is_name(name.value):  # its model refuses it
                body.odd.add(name.value)
            if plain or usable or check_inner_name(name, self.problems):
                return name.value
            body.odd.add(name.value)
            return None
        if body.block or _expands(entry.value):  # of a plain layer, its model says what is wrong with it
            check_inner_name(name, self.problems)
        body.broken = True
        return None

    def _numbered(self, entry: Traced, body: Body, block: Block | None, prefix: str) -> str | None:
        """A name for an entry without one: relu1, double1; at the top, layers get theirs in the graph."""
        if block is not None:
            return body.free(block.name)
        if not body.block:
            return None
        kind = entry.value.get("type")
        return body.free(kind.lower() if isinstance(kind, str) and SIMPLE_NAME.fullmatch(kind) else "layer")

    def _block(self, entry: Traced, stack: tuple[str, ...]) -> Block | None:
        """The block that an entry uses; None when there is something wrong, which is reported."""
        name = entry.part("block")
        if name.value is UNKNOWN:
            return None
        if not isinstance(name.value, str):
            self.problems.no_name(name, "block", "the name of a block")
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
        if block is None:
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
            taken={name for layer, _ in block.layers if (name := _name_of(layer.value))},
        )
        for layer, templated in block.layers:
            inner = fill(layer, scope, self.problems) if templated else layer
            if templated:
                self.budget.values(measure(inner.value))
            reads = self._entry(inner.after(*steps), body, prefix, reads, (*stack, block.name))
        known = block.sound
        result = reads.node
        if block.output is not None and block.readable:
            found = body.local.get(block.output.value) or body.dotted(block.output.value)
            known &= found is not None
            if found is not None:
                result = found.result
            elif not body.hidden(block.output.value, self.problems):
                message = f"there is no layer {quote(block.output.value)} in the block {quote(block.name)}"
                help = self.problems.suggest(block.output.value, body.names())
                self.problems.add(block.output.where, "E203", message, help=help)
        if not known:
            result = self._unknown(Traced({}, block.where), body, Inputs(node=result))
        known = block.readable and not body.broken
        return Group(
            local=body.local, last=None, result=result, known=known, counted=not body.uncounted,
            refused=bool(body.odd),
        )  # fmt: skip

    def _arguments(self, entry: Traced, block: Block) -> Scope:
        return arguments(entry, block, self.globals, self.problems, self.budget)
