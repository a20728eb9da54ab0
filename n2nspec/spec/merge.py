"""A spec over its base: what `extends` does with the two documents.

In: the base and the extending document. Out: one document.

Tables merge key by key, and the extending file wins. Replaced as a whole are: lists; a table whose `type`
becomes another; `[input]` and `[output]`, which hold one entry; a block that is given `layers` again. The
list `plugins` grows instead: the layers of the base need what it names.

Layers of `[[encoder]]` and `[[decoder]]` are addressed by name:

    remove = ["drop1"]          # at the top: takes layers of the base out

    [[encoder]]                 # a name that the base has, no other type: fields over those of the base
    name = "conv1"
    out_channels = 32

    [[encoder]]                 # a name that the base has, another type (or block): replaces that layer
    name = "act1"
    type = "Sigmoid"

    [[encoder]]                 # before = "…" or after = "…": a new layer at that place
    after = "conv1"
    type = "ReLU"

    [[encoder]]                 # anything else: a new layer at the end
    type = "ReLU"

Several layers after the same one keep their order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from os.path import normpath
from pathlib import Path as FilePath

from n2nspec.diagnostics import Label, quote
from n2nspec.spec.trace import UNKNOWN, Problems, Traced, Where, label

__all__ = ["STAGES", "merge"]

STAGES = ("encoder", "decoder")


def merge(base: Traced, top: Traced, problems: Problems, removed: dict[str, Where]) -> Traced:
    """One document; what cannot be done is reported.

    Args:
        removed: the layers that this and earlier mergers took out, each with where it says so.
    """
    known = _Known(
        stages={stage: _named(base.part(stage)) for stage in STAGES if _is_list(base, stage)},
        own={stage: _named(top.part(stage)) for stage in STAGES if _is_list(top, stage)},
        removed=removed,
    )
    if "remove" in top.value:
        base = _removed(base, top.part("remove"), known, removed, problems)
        top = top.with_({}, without=("remove",))
    changes: dict[str, Traced] = {key: item for key, item in base.items() if key not in top.value}
    for key, item in top.items():
        before = base.get(key)
        if key in STAGES and isinstance(item.value, list):
            changes[key] = _layers(before, item, key, known, problems)
        elif before is None or key in ("input", "output"):
            changes[key] = item
        elif key == "plugins":
            changes[key] = _plugins(before, item)
        elif key == "blocks":
            changes[key] = _tables(before, item, whole="layers")
        else:
            changes[key] = _tables(before, item)
    # in the order of the base, so that a spec and its variants read alike
    order = [
        *(key for key in base.value if key in changes),
        *(key for key in changes if key not in base.value),
    ]
    return Traced({}, top.where).with_({key: changes[key] for key in order})


def _plugins(base: Traced, top: Traced) -> Traced:
    """Those of the base, then those of the file itself; the same file once.

    The layers of the base need its plugins, and a name under `plugins` starts at the folder of the file that
    it is written in, so the extending file could not even name those of a base elsewhere.
    """
    if not isinstance(base.value, list) or not isinstance(top.value, list):
        return top
    found: dict[object, Traced] = {}
    for item in [*base.entries(), *top.entries()]:
        folder = FilePath(item.where.origin.source.file).parent
        text = isinstance(item.value, str)
        found.setdefault(normpath(folder / item.value) if text else id(item), item)
    return Traced.listing(list(found.values()), top.where.origin)


def _tables(base: Traced, top: Traced, whole: str = "") -> Traced:
    """Key by key; a table of `top` that has another `type`, or the key `whole`, replaces that of the base."""
    if not isinstance(base.value, dict) or not isinstance(top.value, dict):
        return top
    if "type" in top.value and top.value["type"] != base.value.get("type"):
        return top
    changes = {}
    for key, item in top.items():
        before = base.get(key)
        replaced = before is None or (whole and isinstance(item.value, dict) and whole in item.value)
        changes[key] = item if replaced or before is None else _tables(before, item)
    kept = {key: item for key, item in base.items() if key not in changes}
    return Traced({}, top.where).with_({**kept, **changes})


def _name(item: Traced) -> str | None:
    name = item.value.get("name") if isinstance(item.value, dict) else None
    return name if isinstance(name, str) else None


def _named(layers: Traced) -> dict[str, Traced]:
    return {name: item for item in layers.entries() if (name := _name(item)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """The layers of the base and of the file over it, by stage and name; and those that `remove` took out."""

    stages: Mapping[str, Mapping[str, Traced]]
    own: Mapping[str, Mapping[str, Traced]]
    removed: Mapping[str, Where]

    def report(self, name: Traced, items: list[Traced], problems: Problems, stage: str, what: str) -> None:
        """That a name is none of these layers of a stage, so `what` is not possible."""
        if problems.partial:
            return
        quoted = quote(name.value)
        message = f"there is no layer {quoted} in the {stage} of the base, so {what}"
        labels: tuple[Label, ...] = ()
        other = next((other for other in STAGES if name.value in self.stages.get(other, ())), stage)
        if name.value in self.removed:
            message = f"the layer {quoted} of the base is removed, so {what}"
            labels = label(self.removed[name.value], "removed here")
            help = "leave it in, or name another layer"
        elif other != stage:
            labels = label(self.stages[other][name.value].part("name").where, f"it is in the {other}")
            help = f"write [[{other}]] above this layer: {quoted} is there"
        elif name.where.origin.path[-1] != "name" and name.value in self.own[stage]:
            labels = label(self.own[stage][name.value].part("name").where, "it is a new layer")
            help = "new layers keep their order: write this one below that, with the same before or after"
        else:
            help = _hint(name.value, items, problems)
        problems.add(name.where, "E127", message, help=help or "a new layer needs a type", labels=labels)


def _removed(
    base: Traced, names: Traced, layers: _Known, removed: dict[str, Where], problems: Problems
) -> Traced:
    if not isinstance(names.value, list) or not all(isinstance(name, str) for name in names.value):
        problems.wrong_type(
            names, "remove", "a list of names of layers", help='for example remove = ["relu"]'
        )
        return base
    lists = {stage: list(base.part(stage).entries()) for stage in STAGES if _is_list(base, stage)}
    known = [item for items in lists.values() for item in items]
    there = {name for items in layers.stages.values() for name in items}
    gone: set[str] = set()
    for entry in names.entries():
        name = entry.value
        if name in gone:
            again = label(removed[name], "removed here already") if name in there else ()
            message = f"the layer {quote(name)} is removed twice"
            problems.add(entry.where, "E127", message, help="name it once", labels=again)
        elif name not in there and not problems.partial:
            earlier = label(removed[name], "removed here") if name in removed else ()
            what = "is removed already" if name in removed else "is not in the base"
            message = f"the layer {quote(name)} {what}"
            problems.add(entry.where, "E127", message, help=_hint(name, known, problems), labels=earlier)
        else:
            removed[name] = entry.where
        gone.add(name)
    changes = {
        stage: Traced.listing(
            [item for item in items if _name(item) not in gone], base.part(stage).where.origin
        )
        for stage, items in lists.items()
    }
    return base.with_(changes)


def _is_list(document: Traced, key: str) -> bool:
    return isinstance(document.value.get(key), list)


def _layers(base: Traced | None, top: Traced, stage: str, known: _Known, problems: Problems) -> Traced:
    """The layers of the base with those of the extending file put in.

    Time is proportional to the number of layers: what comes around a layer is kept beside it until the end.
    A layer whose place is a mistake is put last, for the names of layers: what it reads is not known.
    """
    items = list(base.entries()) if base is not None and isinstance(base.value, list) else []
    counts = Counter(name for item in items if (name := _name(item)) is not None)
    owners = {name: index for index, item in enumerate(items) if (name := _name(item)) is not None}
    before: dict[int, list[Traced]] = {}
    after: dict[int, list[Traced]] = {}
    last: list[Traced] = []
    for entry in top.entries():
        if not isinstance(entry.value, dict):
            last.append(entry)
            continue
        name = _name(entry)
        places = [key for key in ("before", "after") if key in entry.value]
        bare = entry.with_({}, without=("before", "after"))
        astray = bare if "from" in bare.value else bare.with_({"from": Traced(UNKNOWN, entry.where)})
        if len(places) == 2:
            problems.add(
                entry.part("after").where, "E127", "a layer has either before or after", key=True,
                labels=label(entry.part("before").where, "before is given here", key=True),
                help="remove one of the two",
            )  # fmt: skip
            last.append(astray)
        elif places:
            anchor = entry.part(places[0])
            if not isinstance(anchor.value, str):
                problems.wrong_type(anchor, places[0], "the name of a layer")
                last.append(astray)
            elif name is not None and name in owners:
                message = (
                    f"{quote(name)} is in the base already, so it cannot be put {places[0]} another layer"
                )
                problems.add(anchor.where, "E127", message, key=True, labels=_at(items[owners[name]]),
                             help="give the new layer another name, and remove the old one")  # fmt: skip
            elif counts[anchor.value] > 1:
                message = f"the base has {counts[anchor.value]} layers named {quote(anchor.value)}"
                problems.add(anchor.where, "E127", message, help="give them different names there")
                last.append(astray)
            elif anchor.value in owners:
                around = before if places[0] == "before" else after
                around.setdefault(owners[anchor.value], []).append(bare)
            else:
                known.report(anchor, items, problems, stage, f"nothing can be put {places[0]} it")
                last.append(astray)
        elif name is not None and counts[name] > 1:
            message = f"the base has {counts[name]} layers named {quote(name)}"
            problems.add(entry.part("name").where, "E127", message, help="give them different names there")
        elif name is not None and name in owners:
            items[owners[name]] = _changed(items[owners[name]], entry)
        elif name is not None and not {"type", "block"} & entry.value.keys():
            known.report(entry.part("name"), items, problems, stage, "it cannot be changed")
        else:
            last.append(entry)
    merged: list[Traced] = []
    for index, item in enumerate(items):
        merged += [*before.get(index, ()), item, *after.get(index, ())]
    origin = top.where.origin if base is None else base.where.origin
    return Traced.listing([*merged, *last], origin)


def _at(item: Traced) -> tuple[Label, ...]:
    return label(item.part("name").where, "this is the layer of the base")


def _changed(base: Traced, entry: Traced) -> Traced:
    """A layer of the base with other fields, or the new one when it is of another kind."""
    for kind in ("type", "block"):
        if kind in entry.value and entry.value[kind] != base.value.get(kind):
            return entry
    changes = {
        key: _tables(base.part(key), item) if key in base.value else item for key, item in entry.items()
    }
    kept = {key: item for key, item in base.items() if key not in changes}
    return Traced({}, Where(entry.where.origin)).with_({**kept, **changes})


def _hint(name: str, items: list[Traced], problems: Problems) -> str:
    """What else may be meant; a layer without a name of its own cannot be."""
    first, dot, _ = name.partition(".")
    for item in items:
        if not isinstance(item.value, dict):
            continue
        kind = item.value.get("block", item.value.get("type")) if _name(item) is None else None
        if isinstance(kind, str) and first.rstrip("0123456789") == kind.lower():
            return f"a layer is addressed by a name of its own: give this {kind} one in the base"
        if dot and _name(item) == first:
            what = "uses a block" if "block" in item.value else "is repeated"
            return f"{first} {what}, and is addressed as a whole: {quote(first)}"
    return problems.suggest(name, [found for item in items if (found := _name(item)) is not None])
