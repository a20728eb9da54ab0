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

from n2nspec.diagnostics import describe_value, quote
from n2nspec.spec.blocks import PLACING, SIMPLE_NAME, Block, check_inner_name
from n2nspec.spec.least import Least
from n2nspec.spec.limits import MOST_LAYERS, MOST_NESTED, Budget, TooLargeError, measure
from n2nspec.spec.merge import STAGES
from n2nspec.spec.references import Body, Group, Inputs, Layer, References, Target
from n2nspec.spec.templates import Scope, fill
from n2nspec.spec.trace import UNKNOWN, Problems, Step, Traced, label

__all__ = ["expand"]

LONGEST_NAME = 200
LARGEST_ARGUMENT = 10_000
"""Values in what a parameter stands for."""


def expand(
    document: Traced, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems
) -> Traced | None:
    """The flat document; None when it would be too large, which is reported."""
    flat = document.with_({}, without=("blocks",))
    lists = {
        stage: list(document.part(stage).entries())
        for stage in STAGES
        if isinstance(document.value.get(stage), list)
    }
    if not any(_expands(entry) for entries in lists.values() for entry in entries):
        return flat
    walk = _Expansion(blocks, scope, problems, document)
    try:
        layers = {stage: walk.stage(entries) for stage, entries in lists.items()}
        every = [layer for items in layers.values() for layer in items]
        references = References(walk.top, every, problems, walk.budget)
        changes = {
            stage: Traced.listing(
                [references.written(layer) for layer in items], document.part(stage).where.origin
            )
            for stage, items in layers.items()
        }
    except TooLargeError:
        return None
    return references.elsewhere(flat.with_(changes))


def _expands(entry: Traced) -> bool:
    return isinstance(entry.value, dict) and ("block" in entry.value or "repeat" in entry.value)


class _Expansion:
    """One walk over the layers, in the order of the flat list."""

    def __init__(
        self, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems, document: Traced
    ) -> None:
        self.blocks = blocks
        self.globals = scope
        self.problems = problems
        self.budget = Budget(problems)
        self.least = Least(blocks)
        table = document.value.get("input")
        self.input = next(iter(table), "") if isinstance(table, dict) else ""
        taken = {self.input} | {
            entry["name"]
            for stage in STAGES
            if isinstance(document.value.get(stage), list)
            for entry in document.value[stage]
            if isinstance(entry, dict) and isinstance(entry.get("name"), str)
        }
        self.top = Body(input=self.input, taken=taken)
        self.reads = Inputs(node=None)
        self.flat: list[Layer] = []

    def stage(self, entries: list[Traced]) -> list[Layer]:
        self.flat = []
        for entry in entries:
            self.budget.entry = entry.where
            self.budget.at_once(*self.least.of(entry.value))
            self.reads = self._entry(entry, self.top, "", self.reads, ())
        return self.flat

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
            body.broken = True
            if name is not None:
                body.local.setdefault(name, Group(local={}, last=None, known=False))
            return reads
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
            self._declare(entry, name, body, target if copies == 1 else Group(local=targets, last=target))
        return reads

    def _layer(self, entry: Traced, body: Body, name: str | None, prefix: str, reads: Inputs) -> Inputs:
        self.budget.layer()
        layer = Layer(entry=entry, name=prefix + name if name is not None else None, reads=reads)
        self.flat.append(layer)
        return Inputs(node=layer)

    def _repeat(self, entry: Traced) -> int:
        repeat = entry.get("repeat")
        if repeat is None or repeat.value is UNKNOWN:
            return 1
        value = repeat.value
        if isinstance(value, bool) or not isinstance(value, int):
            self.problems.wrong_type(repeat, "repeat", "an integer")
            return 1
        if value < 1:
            self.problems.add(repeat.where, "E113", f"repeat: expected 1 or more; received {value}")
            return 1
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
        if isinstance(name.value, str) and (SIMPLE_NAME.fullmatch(name.value) or not _expands(entry)):
            return name.value
        if _expands(entry):
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
        if block is None:
            return None
        if name.value in stack:
            circle = " → ".join([*stack[stack.index(name.value) :], name.value])
            self.problems.add(
                name.where, "E123", f"the block {quote(name.value)} contains itself: {circle}",
                help="a block cannot use itself; repeat = … makes several in a row",
            )  # fmt: skip
            return None
        if len(stack) >= MOST_NESTED:
            self.problems.add(name.where, "E125", f"blocks are nested more than {MOST_NESTED} levels deep")
            raise TooLargeError
        return block

    def _use(
        self, entry: Traced, block: Block, prefix: str, name: str, reads: Inputs, stack: tuple[str, ...]
    ) -> Group:
        """Adds the layers of a block, with the entry's values for its parameters."""
        self.budget.use()
        scope = self._arguments(entry, block)
        via = entry.part("block").where.origin
        steps = (Step(f"block {quote(block.name)}, used here ({name})", via), *via.via)
        body = Body(
            block=block,
            inputs=reads,
            taken={
                layer.value["name"]
                for layer, _ in block.layers
                if isinstance(layer.value, dict) and isinstance(layer.value.get("name"), str)
            },
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
            elif not body.broken:
                message = f"there is no layer {quote(block.output.value)} in the block {quote(block.name)}"
                self.problems.add(
                    block.output.where,
                    "E203",
                    message,
                    help=self.problems.suggest(block.output.value, body.local),
                )
        return Group(local=body.local, last=None, result=result, known=not body.broken)

    def _arguments(self, entry: Traced, block: Block) -> Scope:
        """The variables and the block's parameters."""
        values = dict(self.globals.values)
        declared = f"params of [blocks.{block.name}]"
        for key in entry.value:
            if key not in PLACING and key not in block.params:
                message = f"the block {quote(block.name)} has no parameter {quote(key)}"
                self.problems.add(
                    entry.part(key).where, "E123", message, key=True,
                    help=self.problems.suggest(key, block.params) or "it has none",
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
                self.problems.add(
                    entry.part("block").where, "E123", f"the block {quote(block.name)} needs {quote(name)}",
                    help=f"add {name} = …", labels=label(block.declared[name], f"{name} has no default"),
                )  # fmt: skip
                value = Traced(UNKNOWN, entry.where)
            size = measure(value.value)
            if size > LARGEST_ARGUMENT:
                message = f"{name} grows to more than {LARGEST_ARGUMENT:,} values"
                self.problems.add(value.where, "E125", message)
                raise TooLargeError
            self.budget.values(size)
            values[name] = value
        return Scope(values=values, declared=declared)
