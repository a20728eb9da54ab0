"""A spec over its base: what `extends` does with the two documents.

In: the base and the extending document. Out: one document.

Tables merge key by key, and the extending file wins. Replaced as a whole are: lists; a table whose `type`
becomes another; `[input]` and `[output]`, which hold one entry; a block that is given `layers` again.

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
from typing import Any

from n2nspec.diagnostics import quote
from n2nspec.spec.trace import Problems, Traced, Where, label

__all__ = ["STAGES", "merge"]

STAGES = ("encoder", "decoder")


def merge(base: Traced, top: Traced, problems: Problems) -> Traced:
    """One document; what cannot be done is reported."""
    if "remove" in top.value:
        base = _removed(base, top.part("remove"), problems)
        top = top.with_({}, without=("remove",))
    changes: dict[str, Traced] = {key: item for key, item in base.items() if key not in top.value}
    for key, item in top.items():
        before = base.get(key)
        if key in STAGES and isinstance(item.value, list):
            changes[key] = _layers(before, item, key, problems)
        elif before is None or key in ("input", "output"):
            changes[key] = item
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


def _removed(base: Traced, names: Traced, problems: Problems) -> Traced:
    if not isinstance(names.value, list) or not all(isinstance(name, str) for name in names.value):
        problems.wrong_type(
            names, "remove", "a list of names of layers", help='for example remove = ["relu"]'
        )
        return base
    lists = {stage: list(base.part(stage).entries()) for stage in STAGES if _is_list(base, stage)}
    known = [item for items in lists.values() for item in items]
    gone: set[str] = set()
    for entry in names.entries():
        if entry.value in gone or entry.value not in {_name(item) for item in known}:
            what = "is removed twice" if entry.value in gone else "is not in the base"
            message = f"the layer {quote(entry.value)} {what}"
            problems.add(entry.where, "E127", message, help=_hint(entry.value, known, problems))
        gone.add(entry.value)
    changes = {
        stage: Traced.listing(
            [item for item in items if _name(item) not in gone], base.part(stage).where.origin
        )
        for stage, items in lists.items()
    }
    return base.with_(changes)


def _is_list(document: Traced, key: str) -> bool:
    return isinstance(document.value.get(key), list)


def _layers(base: Traced | None, top: Traced, stage: str, problems: Problems) -> Traced:
    """The layers of the base with those of the extending file put in.

    Time is proportional to the number of layers: what comes around a layer is kept beside it until the end.
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
        if len(places) == 2:
            problems.add(
                entry.part("after").where, "E127", "a layer has either before or after", key=True,
                labels=label(entry.part("before").where, "before is given here", key=True),
            )  # fmt: skip
        elif places:
            anchor = entry.part(places[0])
            if not isinstance(anchor.value, str):
                problems.wrong_type(anchor, places[0], "the name of a layer")
            elif name is not None and name in owners:
                message = (
                    f"{quote(name)} is in the base already, so it cannot be put {places[0]} another layer"
                )
                problems.add(anchor.where, "E127", message, key=True, labels=_at(items[owners[name]]),
                             help="give the new layer another name, and remove the old one")  # fmt: skip
            elif counts[anchor.value] > 1:
                message = f"the base has {counts[anchor.value]} layers named {quote(anchor.value)}"
                problems.add(anchor.where, "E127", message, help="give them different names there")
            elif anchor.value in owners:
                around = before if places[0] == "before" else after
                around.setdefault(owners[anchor.value], []).append(bare)
            else:
                message = f"there is no layer {quote(anchor.value)} in the {stage} of the base"
                problems.add(anchor.where, "E127", message, help=_hint(anchor.value, items, problems))
        elif name is not None and counts[name] > 1:
            message = f"the base has {counts[name]} layers named {quote(name)}"
            problems.add(entry.part("name").where, "E127", message, help="give them different names there")
        elif name is not None and name in owners:
            items[owners[name]] = _changed(items[owners[name]], entry)
        elif name is not None and not {"type", "block"} & entry.value.keys():
            message = f"there is no layer {quote(name)} in the {stage} of the base to change"
            problems.add(entry.part("name").where, "E127", message,
                         help=_hint(name, items, problems) or "a new layer needs a type")  # fmt: skip
        else:
            last.append(entry)
    merged: list[Traced] = []
    for index, item in enumerate(items):
        merged += [*before.get(index, ()), item, *after.get(index, ())]
    origin = top.where.origin if base is None else base.where.origin
    return Traced.listing([*merged, *last], origin)


def _at(item: Traced) -> Any:
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
    for item in items:
        kind = item.value.get("type") if isinstance(item.value, dict) and _name(item) is None else None
        if isinstance(kind, str) and name.rstrip("0123456789") == kind.lower():
            return f"a layer is addressed by a name of its own: give this {kind} one in the base"
    return problems.suggest(name, [found for item in items if (found := _name(item)) is not None])
