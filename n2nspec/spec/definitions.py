"""What is wrong with `[blocks]`, `[defaults]` and repeated layers by themselves, used or not.

In: a document with its variables put in. Out: the mistakes that no use of a block and no other field of a
layer could make right: whatever does not depend on a parameter. The layers that are judged here are those of
a document of their own, in which each definition stands once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from n2nspec.diagnostics import Diagnostic, quote
from n2nspec.spec.arguments import inside
from n2nspec.spec.blocks import Block
from n2nspec.spec.defaults import put_in_defaults
from n2nspec.spec.entries import ENTRIES
from n2nspec.spec.expand import Expansion, used
from n2nspec.spec.least import Least
from n2nspec.spec.limits import MOST_LAYERS, TooLargeError
from n2nspec.spec.merge import STAGES
from n2nspec.spec.models import Spec
from n2nspec.spec.origins import Origins
from n2nspec.spec.problems import problems as translated
from n2nspec.spec.references import Group, Inputs, References
from n2nspec.spec.source import Source
from n2nspec.spec.tame import tame
from n2nspec.spec.templates import Scope, fill
from n2nspec.spec.trace import UNKNOWN, Problems, Step, Traced

__all__ = ["Definitions"]

MANY = 100
"""Copies that a definition makes of a layer; the names of more are not known."""
PLACING = ("name", "from", "share", "repeat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Definitions:
    """The definitions of a document whose variables are put in."""

    document: Traced
    blocks: Mapping[str, Block | None]
    scope: Scope
    sources: tuple[Source, ...]

    def mistakes(self, earlier: Problems) -> list[Diagnostic]:
        """Those that `earlier` has not met, in source order; what stages find is added to it."""
        layers = [*self._in_blocks(earlier), *self._repeated()]
        defaults = self.document.get("defaults")
        table = Traced.listing(layers, self.document.where.origin)
        whole = Traced({}, self.document.where).with_({"encoder": table})
        if defaults is not None:
            # what is wrong with the table itself is told where it is put into the flat document
            filled = put_in_defaults(whole.with_({"defaults": defaults}), Problems())
            whole = filled if filled is not None else whole
            every = [*whole.part("encoder").entries(), *_in_defaults(defaults)]
            whole = whole.with_({"encoder": Traced.listing(every, self.document.where.origin)})
        if not whole.value["encoder"]:
            return []
        if earlier.partial:
            from n2nspec.spec.partial import completed  # imported here: only a mistake needs it

            whole = completed(whole)
        document = {**whole.value, "spec_version": 1, "name": "definitions", "input": {"x": [1]}}
        error: ValidationError | None = None
        try:
            Spec.model_validate(tame(document))
        except ValidationError as caught:
            error = caught
        return translated(error, document, Origins(where=whole.where, sources=self.sources), earlier)

    def _in_blocks(self, problems: Problems) -> Iterator[Traced]:
        walk = _Inside(self.blocks, self.scope, problems)
        known = len(problems.found)
        for block in filter(None, self.blocks.values()):
            before = len(problems.found)
            walk.judge(block)
            if not any(found.code == "E125" for found, _ in problems.found[before:]):
                _refuse_if_large(block, walk.least, problems)
        try:
            references = References(walk.top, walk.flat, problems, walk.budget)
            for reads in walk.uses:
                references.resolve(reads)
        except TooLargeError:
            pass
        if any(found.code == "E125" for found, _ in problems.found[:known]):
            # what is too large where it is used is so in each block on the way
            new = [pair for pair in problems.found[known:] if pair[0].code != "E125"]
            problems.found[known:] = new
        for layer in walk.flat:
            yield _bare(layer.entry)

    def _repeated(self) -> Iterator[Traced]:
        for stage in STAGES:
            entries = self.document.get(stage)
            if entries is not None and isinstance(entries.value, list):
                for index, entry in enumerate(entries.value):
                    if isinstance(entry, dict) and "repeat" in entry and "type" in entry:
                        yield _bare(entries.part(index))


def _refuse_if_large(block: Block, least: Least, problems: Problems) -> None:
    """Reports that no use of a block is small enough, unless a block inside is to blame."""
    inner = [layer.value.get("block") for layer, _ in block.layers if isinstance(layer.value, dict)]
    sizes = [max(least.of({"block": name})) for name in (*inner, block.name) if isinstance(name, str)]
    if sizes.pop() > MOST_LAYERS >= max(sizes, default=0):
        message = f"the block {quote(block.name)} grows to more than {MOST_LAYERS:,} layers"
        problems.add(block.where, "E125", message, key=True, help="lower `repeat`, or nest fewer blocks")


def _bare(entry: Traced) -> Traced:
    """A layer without what places it, which is judged by itself."""
    return entry.with_({}, without=PLACING) if isinstance(entry.value, dict) else entry


def _in_defaults(table: Traced) -> Iterator[Traced]:
    """For each default a layer with it, and nothing else that is known: a layer may say otherwise."""
    for kind, item in table.items() if isinstance(table.value, dict) else ():
        if kind in ENTRIES and isinstance(item.value, dict):
            fields = {info.alias or name for name, info in ENTRIES[kind].layer_type.model_fields.items()}
            unknown = dict.fromkeys(fields, Traced(UNKNOWN, item.where))
            said = Traced(kind, item.where)
            for key, value in item.items():
                if key in fields - {"type"}:
                    yield Traced({}, item.where).with_({**unknown, key: value, "type": said})


class _Inside(Expansion):
    """Walks through each block, with nothing known of what it reads."""

    def __init__(self, blocks: Mapping[str, Block | None], scope: Scope, problems: Problems) -> None:
        super().__init__(blocks, scope, problems, input="in", taken=set())
        self.uses: list[Inputs] = []
        self._groups: dict[tuple[str, str], Group] = {}

    def judge(self, block: Block) -> None:
        """Walks through a block with parameters that may be anything."""
        values = dict(self.globals.values)
        for name, default in block.params.items():
            if default is not None:
                fill(default, Scope(values=values, open=self.globals.open), self.problems)
            values[name] = Traced(UNKNOWN, block.declared[name])
        self._group(block, inside(block, values, self.globals), (), ())

    def _group(self, block: Block, scope: Scope, steps: tuple[Step, ...], stack: tuple[str, ...]) -> Group:
        """What a block is for another one that uses it with such values; worked out once for each."""
        key = block.name, repr([scope.values[name].value for name in block.params])
        if key not in self._groups:
            reads = Inputs(names=Traced(UNKNOWN, block.where), followed=True)
            self.budget.entry = block.where
            try:
                self._groups[key] = self._inside(block, scope, steps, "", reads, stack)
            except TooLargeError:
                self._groups[key] = Group(local={}, last=None, known=False)
        return self._groups[key]

    def _use(
        self, entry: Traced, block: Block, prefix: str, name: str, reads: Inputs, stack: tuple[str, ...]
    ) -> Group:
        self.uses.append(reads)
        return self._group(block, self._arguments(entry, block), used(entry, block, name), stack)

    def _repeat(self, entry: Traced) -> int | None:
        copies = super()._repeat(entry)
        return copies if copies is None or copies <= MANY else None
