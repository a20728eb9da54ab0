"""`from` across blocks: from the names that authors write to those of flat nodes.

In: the layers of an expansion, each knowing the body it was written in. Out: flat layers, with `name` and
`from` as a spec without blocks would have them. References are followed once all layers are known, since a
name may come before what it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING

from n2nspec.diagnostics import Label, quote
from n2nspec.spec.blocks import INPUT
from n2nspec.spec.limits import measure
from n2nspec.spec.names import is_name, is_numbered
from n2nspec.spec.nearest import is_slip
from n2nspec.spec.origins import NOWHERE, Origins
from n2nspec.spec.trace import UNKNOWN, Problems, Traced, Where

if TYPE_CHECKING:
    from n2nspec.spec.blocks import Block
    from n2nspec.spec.limits import Budget

__all__ = ["Body", "Group", "Inputs", "Layer", "References", "Target"]


NAME_ONE = "name a layer or the input; without `from`, a layer reads the one before it"
READ_INSIDE = "a block reads what its use names in `from`; inside, that is called in, or in1, in2, …"
SHARED_INSIDE = "`share` inside a block names another layer of the same block"


@dataclass(slots=True, eq=False)
class Layer:
    """A layer of the flat list; `name` is None where the graph chooses it."""

    entry: Traced
    name: str | None
    reads: Inputs
    body: Body
    unknown: bool = False
    """It stands for what a mistake left out: any number of layers."""

    @property
    def result(self) -> Layer:
        return self


@dataclass(slots=True, eq=False)
class Group:
    """What a name stands for when that is several layers: the use of a block, or repetitions.

    `known` is False where a mistake in it hides some names, `counted` where numbered ones are not certain,
    `refused` says that a name in it is none: it is not known what that was meant to be.
    """

    local: dict[str, Target]
    last: Target | None
    result: Layer | None = None
    known: bool = True
    counted: bool = True
    refused: bool = False

    def names(self) -> list[str]:
        """What it has inside."""
        inner = self.last.names() if isinstance(self.last, Group) else []
        return [*filter(is_name, self.local), *inner]

    def __post_init__(self) -> None:
        if self.result is None and self.last is not None:
            self.result = self.last.result
        self.refused |= isinstance(self.last, Group) and self.last.refused


Target = Layer | Group
Source = Layer | str


@dataclass(slots=True, eq=False)
class Inputs:
    """What an entry reads: the names that it gives, seen from a body; or a node, None for the input."""

    node: Layer | None = None
    body: Body | None = None
    names: Traced | None = None
    followed: bool = False
    sources: list[Layer | str] | None = None


@dataclass(slots=True, eq=False)
class Body:
    """The inside of one use of a block, or the top of the spec: the names that `from` knows there."""

    block: Block | None = None
    inputs: Inputs | None = None
    input: str = ""
    taken: set[str] = field(default_factory=set)
    local: dict[str, Target] = field(default_factory=dict)
    owners: dict[str, Where] = field(default_factory=dict)
    broken: bool = False
    """A mistake, or what is not known, hides names."""
    odd: set[str] = field(default_factory=set)
    """Names that cannot be given, and are."""
    twice: set[str] = field(default_factory=set)
    """Names that are given again."""
    stand_ins: set[str] = field(default_factory=set)
    """Names of ours in place of those that cannot be used."""
    uncounted: set[str] = field(default_factory=set)
    """Those whose numbers a mistake hides: which of them is relu2? All when "" is in it."""
    _counts: dict[str, Iterator[int]] = field(default_factory=dict)

    def names(self) -> list[str]:
        """What its layers are called, as far as there is a name for them."""
        return [name for name in self.local if is_name(name) and name not in self.stand_ins]

    def free(self, kind: str) -> str:
        """relu1, relu2, … without the names that the author gave."""
        numbers = self._counts.setdefault(kind, count(1))
        return next(name for number in numbers if (name := f"{kind}{number}") not in self.taken)

    def stand_in(self) -> str:
        name = self.free("unnamed")
        self.stand_ins.add(name)
        return name

    def dotted(self, name: str) -> Target | None:
        """What a name means: a layer, a use, or with dots something in it."""
        first, *rest = name.split(".")
        target = self.local.get(first)
        for part in rest:
            inner: Target | None = None
            while isinstance(target, Group):
                inner = target.local.get(part)
                if inner is not None:
                    break
                target = target.last  # of repetitions, the last answers to the plain name
            target = inner
        return target

    def uncertain(self, name: str) -> bool:
        """Whether a name, known or not, may mean another layer once a mistake elsewhere is mended."""
        first, *rest = name.split(".")
        if first in self.twice or (first not in self.taken and is_numbered(first, self.uncounted)):
            return True
        target = self.local.get(first)
        for part in rest:
            while isinstance(target, Group) and part not in target.local:
                target = target.last
            if not isinstance(target, Group):
                return False
            if not target.counted and part[-1:].isdigit():
                return True
            target = target.local[part]
        return False

    def hidden(self, name: str, problems: Problems) -> bool:
        """Whether a mistake elsewhere may be the reason why a name is not known."""
        first, *rest = name.split(".")
        if self.broken or name in self.odd or self.uncertain(name):
            return True
        target = self.local.get(first)
        if target is None and self.odd:  # a name that was refused may have been meant to be this one
            among = "layers", self.block.name if self.block is not None else None
            near = problems.nearest(first, lambda: [*self.names(), self.input], among=among)
            return not is_slip(first, near)
        for part in [*rest, ""]:
            inner: Target | None = None
            while isinstance(target, Group):
                if not target.known or (not target.counted and part[-1:].isdigit()):
                    return True
                inner = target.local.get(part)
                if inner is not None:
                    break
                if part and target.refused and target.last is None:
                    near = problems.nearest(part, target.names, among=id(target))
                    return not is_slip(part, near)
                target = target.last
            target = inner
        return False


class References:
    """Follows the references of an expansion.

    Raises:
        TooLargeError: together they list too many names.
    """

    def __init__(
        self, top: Body, layers: list[Layer], problems: Problems, budget: Budget, origins: Origins = NOWHERE
    ) -> None:
        self._origins = origins
        self._top = top
        self._problems = problems
        self._budget = budget
        self._before: dict[int, Layer | None] = {}
        self._sources: dict[int, list[Source] | None] = {}
        before: Layer | None = None
        for layer in layers:
            self._before[id(layer)] = before
            before = layer
        self._automatic = self._names(layers)
        names = (layer.name for layer in layers if layer.name is not None)
        named = (name for name in names if name.partition(".")[0] not in top.stand_ins)
        self._known = dict.fromkeys([top.input, *top.local, *self._automatic.values(), *named])
        for layer in layers:
            budget.entry = layer.entry.where
            self._sources[id(layer)] = self.resolve(layer.reads)
        self._shares = {id(layer): found for layer in layers if (found := self._share(layer))}
        self._referenced = {id(owner) for _, owner in self._shares.values()} | {
            id(source)
            for layer in layers
            if not self._implied(layer)
            for source in self._sources[id(layer)] or ()
            if isinstance(source, Layer)
        }

    def written(self, layer: Layer) -> Traced:
        """The layer as a spec without blocks has it."""
        entry = layer.entry
        if not isinstance(entry.value, dict):
            return entry
        self._budget.entry = entry.where
        self._budget.values(measure(entry.value))
        changes: dict[str, Traced] = {}
        own = entry.get("name")
        name = layer.name or (self._name(layer) if id(layer) in self._referenced else None)
        if name is not None and (own is None or own.value != name):
            where = own.where if own is not None else Where(entry.where.origin.part("name"))
            changes["name"] = Traced(name, where)
        sources = self._from(layer)
        if sources is not None:
            changes["from"] = sources
        if id(layer) in self._shares:
            share, owner = self._shares[id(layer)]
            written = self._name(owner) if isinstance(owner, Layer) else owner
            changes["share"] = Traced(UNKNOWN if written is None else written, share.where)
        without = ("from",) if sources is None and "from" in entry.value else ()
        if not changes and not without:
            return entry
        flat = entry.with_(changes, without=without)
        if own is None and name is not None:  # the name first, as people write it
            return Traced({"name": name, **flat.value}, flat.where)
        return flat

    def elsewhere(self, document: Traced) -> Traced:
        """The document with the names in `[output]` and `[require]` followed."""
        changes: dict[str, Traced] = {}
        output, require = document.get("output"), document.get("require")
        if output is not None and isinstance(output.value, dict):
            found = {key: self._outside(item) for key, item in output.items()}
            changes["output"] = output.with_(found)
        same_size = require.get("same_size") if require is not None else None
        if require is not None and same_size is not None and isinstance(same_size.value, list):
            named = Traced.listing(
                [self._outside(item) for item in same_size.entries()], same_size.where.origin
            )
            changes["require"] = require.with_({"same_size": named})
        return document.with_(changes)

    def _names(self, layers: list[Layer]) -> dict[int, str]:
        """The names that the graph will choose for layers without one."""
        body = Body(taken={self._top.input, *(layer.name for layer in layers if layer.name is not None)})
        automatic: dict[int, str] = {}
        for layer in layers:
            kind = layer.entry.value.get("type") if isinstance(layer.entry.value, dict) else None
            if layer.name is None and isinstance(kind, str):
                automatic[id(layer)] = body.free(kind.lower())
        return automatic

    def _share(self, layer: Layer) -> tuple[Traced, Source | None] | None:
        """What a layer's `share` names, seen from where it was written; None for a layer without one."""
        share = layer.entry.get("share") if isinstance(layer.entry.value, dict) else None
        if share is None or not isinstance(share.value, str) or not share.value:
            return None
        found = self._one(share, layer.body, share=True)
        return share, found[0] if found else None

    def _name(self, layer: Layer) -> str | None:
        return layer.name or self._automatic.get(id(layer))

    def _implied(self, layer: Layer) -> bool:
        """Whether a layer just reads the one before it."""
        before = self._before[id(layer)]
        sources = self._sources[id(layer)]
        return layer.reads.names is None and sources == [before if before is not None else self._top.input]

    def _from(self, layer: Layer) -> Traced | None:
        """The `from` of a flat layer; None where it reads the one before."""
        reads, sources = layer.reads, self._sources[id(layer)]
        where = reads.names.where if reads.names is not None else Where(layer.entry.where.origin.part("from"))
        if sources is None:
            return Traced(UNKNOWN, where)
        if self._implied(layer):
            return None
        names = [self._name(source) if isinstance(source, Layer) else source for source in sources]
        if any(name is None for name in names):
            return Traced(UNKNOWN, where)
        given = reads.names.value if reads.names is not None else ""
        if given == names:
            assert reads.names is not None
            return reads.names
        return Traced(names[0] if len(names) == 1 and isinstance(given, str) else names, where)

    def resolve(self, reads: Inputs) -> list[Source] | None:
        """What an entry reads; None when that is not known, for a mistake that is reported."""
        if reads.names is None:
            return [reads.node if reads.node is not None else self._top.input]
        if not reads.followed:
            reads.followed = True
            reads.sources = self._follow(reads)
        return reads.sources

    def _follow(self, reads: Inputs) -> list[Source] | None:
        names, body = reads.names, reads.body
        assert names is not None
        assert body is not None
        entries = [names] if isinstance(names.value, str) else names.value
        if isinstance(entries, list) and not isinstance(names.value, str):
            entries = list(names.entries())
        if not isinstance(entries, list):
            self._problems.no_name(names, "from", "a name or a list of names", help=NAME_ONE)
            return None
        for entry in entries:
            if not isinstance(entry.value, str):
                self._problems.no_name(entry, "from", "a name", help=NAME_ONE)
                return None
            if not entry.value:
                message = 'from: expected a name that is not empty; received ""'
                self._problems.add(entry.where, "E113", message, help=NAME_ONE)
                return None
        if not entries:
            message = "from: expected at least one name; received []"
            self._problems.add(names.where, "E113", message, help=NAME_ONE)
            return None
        sources: list[Source] = []
        known = True
        for entry in entries:
            found = self._one(entry, body)
            if found is None:
                known = False
            else:
                self._budget.values(len(found))
                sources += found
        return sources if known else None

    def _one(self, name: Traced, body: Body, *, share: bool = False) -> list[Source] | None:
        if body.block is not None and not share and INPUT.fullmatch(name.value):
            return self._input(name, body)
        if body.uncertain(name.value):
            return None
        target = body.dotted(name.value)
        if target is not None:
            return [target.result] if target.result is not None else None
        if body.block is None and name.value in self._known:
            return [name.value]
        if body.hidden(name.value, self._problems):
            return None
        labels: tuple[Label, ...] = ()
        owner, _, rest = name.value.rpartition(".")
        outer = body.dotted(owner) if owner else None
        if isinstance(outer, Group):
            message = f"there is no layer {quote(rest)} in {quote(owner)}"
            help = self._problems.suggest(rest, outer.names())
        elif body.block is not None:
            message = f"there is no layer {quote(name.value)} in the block {quote(body.block.name)}"
            help = self._problems.suggest(name.value, body.names() if share else [*body.names(), "in"])
            if "mean" not in help:
                help = SHARED_INSIDE if share else READ_INSIDE
        else:
            message = f"there is no layer {'' if share else 'or input '}named {quote(name.value)}"
            labels, help = self._origins.taken_out(name.value)
            options = [known for known in self._choices if not share or known != body.input]
            help = help or self._problems.suggest(name.value, options)
        self._problems.add(name.where, "E203", message, help=help, labels=labels)
        return None

    @cached_property
    def _choices(self) -> list[str]:
        """What a `from` outside of blocks may be."""
        return [name for name in self._known if is_name(name)]

    def _input(self, name: Traced, body: Body) -> list[Source] | None:
        assert body.inputs is not None
        sources = self.resolve(body.inputs)
        number = name.value.removeprefix("in")
        if sources is None or not number:
            return sources
        if int(number) > len(sources):
            count = "1 input" if len(sources) == 1 else f"{len(sources)} inputs"
            self._problems.add(
                name.where, "E203", f"the block reads {count} here; there is no {quote(name.value)}",
                help="list more names in the `from` of the block's use",
            )  # fmt: skip
            return None
        return [sources[int(number) - 1]]

    def _outside(self, name: Traced) -> Traced:
        """A name as `[output]` and `[require]` may have it."""
        if not isinstance(name.value, str) or not name.value:
            return name
        found = self._one(name, self._top)
        if not found:
            return Traced(UNKNOWN, name.where)
        node = self._name(found[0]) if isinstance(found[0], Layer) else found[0]
        return Traced(node if node is not None else UNKNOWN, name.where)
