"""Properties of differences: whatever is done to any network is what is reported, and nothing else."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import networkx as nx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from strategies import networks

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import ShapedGraph, check
from n2nspec.graph.diff import GraphDiff, NodeDiff, diff
from n2nspec.spec import to_document

SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def said(found: GraphDiff) -> list[tuple[Any, ...]]:
    """What is reported, without the nodes themselves."""
    return [
        (*node.change, node.before and node.before.name, node.after and node.after.name, dict(node.fields))
        for node in found.nodes
    ]


def kinds(found: GraphDiff) -> Counter[str]:
    return Counter(change for node in found.nodes for change in node.change)


def explicit(document: dict[str, Any], *, numbered: bool = False) -> dict[str, Any]:
    """The same network with every name and `from` written out, without `[require]`, which refers to names.

    `numbered`: with names as if none were given.
    """
    graph = check(copy.deepcopy(document))
    seen: Counter[str] = Counter()
    names = {graph.input_name: graph.input_name}
    for index, node in enumerate(graph.nodes):
        seen[node.layer.type] += 1
        names[node.name] = (
            f"{node.layer.type.lower()}{seen[node.layer.type]}" if numbered else f"node_{index}"
        )
    entries = [
        {
            **node.layer.model_dump(mode="json"), "name": names[node.name],
            "from": [names[name] for name in node.inputs],
            **({"share": names[node.share]} if node.share else {}),
        }
        for node in graph.nodes
    ]  # fmt: skip
    entries = [{key: value for key, value in entry.items() if value is not None} for entry in entries]
    kept = {key: value for key, value in document.items() if key != "require"}
    return {**kept, "encoder": entries, "decoder": [], "output": {"y": names[graph.output]}}


def replaced(document: dict[str, Any], old: str, new: str, *, but: str = "") -> dict[str, Any]:
    """With everybody who refers to `old` referring to `new`, except the node `but`."""
    entries = [
        entry if entry["name"] == but else {**entry, "from": [new if n == old else n for n in entry["from"]]}
        for entry in document["encoder"]
    ]
    output = {"y": new} if document["output"]["y"] == old else document["output"]
    return {**document, "encoder": entries, "output": output}


def inserted(document: dict[str, Any], place: int, entry: dict[str, Any]) -> dict[str, Any]:
    """A node after the first `place` ones, between the one before it and all that read that one."""
    source = document["encoder"][place - 1]["name"] if place else "x"
    node = {**entry, "name": "fresh", "from": [source]}
    entries = [*document["encoder"][:place], node, *document["encoder"][place:]]
    return replaced({**document, "encoder": entries}, source, "fresh", but="fresh")


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    return explicit(draw(networks(largest=8)).document)


@SLOW
@given(networks())
def test_any_graph_equals_itself(network: Any) -> None:
    found = diff(check(copy.deepcopy(network.document)), check(explicit(network.document)))
    assert found.equal
    assert found.affected == ()
    own = check(copy.deepcopy(network.document))
    assert diff(own, own).nodes == ()


@SLOW
@given(documents(), st.data())
def test_a_node_put_into_any_graph(document: dict[str, Any], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(document["encoder"])))
    kind = data.draw(st.sampled_from(["Identity", "Sigmoid", "PReLU"]))
    before, after = check(document), check(inserted(document, place, {"type": kind}))
    assert said(diff(before, after)) == [("added", None, "fresh", {})]
    assert said(diff(after, before)) == [("removed", "fresh", None, {})]


@SLOW
@given(networks(largest=8), st.data())
def test_a_node_without_a_name_put_into_any_graph(network: Any, data: st.DataObject) -> None:
    """Without the nodes that nobody uses, of which not even a reader could say which is which."""
    document = explicit(network.document)
    live = check(document).live
    document["encoder"] = [entry for entry in document["encoder"] if entry["name"] in live]
    assume(all(entry.get("share", entry["name"]) in live for entry in document["encoder"]))
    place = data.draw(st.integers(0, len(document["encoder"])))
    kind = data.draw(st.sampled_from(["Identity", "Sigmoid", "PReLU"]))
    after = explicit(inserted(document, place, {"type": kind}), numbered=True)
    found = diff(check(explicit(document, numbered=True)), check(after))
    assert kinds(found) - Counter(renamed=100) == {"added": 1}
    assert all(node.change in (("renamed",), ("added",)) for node in found.nodes)
    assert [node.after.layer.type for node in found.nodes if node.change == ("added",) and node.after] == [
        kind
    ]


@SLOW
@given(documents(), st.data())
def test_a_node_of_any_graph_renamed(document: dict[str, Any], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([entry["name"] for entry in document["encoder"]]))
    other = replaced(document, name, "fresh")
    entries = [
        {
            **entry,
            "name": "fresh" if entry["name"] == name else entry["name"],
            **({"share": "fresh"} if entry.get("share") == name else {}),
        }
        for entry in other["encoder"]
    ]
    found = diff(check(document), check({**other, "encoder": entries}))
    assert found.equal
    assert said(found) == [("renamed", name, "fresh", {})]
    assert found.weights == ("fit when renamed" if keeps_weights(found.nodes[0]) else "fit")


def keeps_weights(node: NodeDiff) -> bool:
    return bool(node.before and (node.before.parameters or node.before.buffers))


@SLOW
@given(documents(), st.data())
def test_a_field_of_any_graph_changed(document: dict[str, Any], data: st.DataObject) -> None:
    fields = [
        (index, name, not value if isinstance(value, bool) else value + 1)
        for index, entry in enumerate(document["encoder"])
        for name, value in entry.items()
        if isinstance(value, (bool, int, float))
    ]
    assume(fields)
    index, name, value = data.draw(st.sampled_from(fields))
    entries = [*document["encoder"]]
    entries[index] = {**entries[index], name: value}
    try:
        after = check({**document, "encoder": entries})
    except DiagnosticError:
        assume(False)
    found = diff(check(document), after)
    ((change, old, new, changed),) = said(found)
    assert (change, old, new) == ("changed", entries[index]["name"], entries[index]["name"])
    assert changed.keys() == {name}
    assert not found.equal


@SLOW
@given(networks(), networks(largest=4))
def test_the_way_back_is_the_mirror_image(one: Any, other: Any) -> None:
    assert_mirrored(check(one.document), check(other.document))


@SLOW
@given(documents(), st.data())
def test_the_way_back_from_a_rewired_graph(document: dict[str, Any], data: st.DataObject) -> None:
    assert_mirrored(check(document), rewired(document, data))


def assert_mirrored(first: ShapedGraph, second: ShapedGraph) -> None:
    there, back = diff(first, second), diff(second, first)
    opposite = {"added": "removed", "removed": "added"}
    names = [
        (sorted(opposite.get(c, c) for c in node.change), node.after and node.after.name,
         node.before and node.before.name, sorted((k, (b, a)) for k, (a, b) in node.fields.items()))
        for node in there.nodes
    ]  # fmt: skip
    found = [
        (sorted(node.change), node.before and node.before.name, node.after and node.after.name,
         sorted(node.fields.items()))
        for node in back.nodes
    ]  # fmt: skip
    assert sorted(names, key=repr) == sorted(found, key=repr)
    assert (there.equal, there.weights) == (back.equal, back.weights)
    assert sorted((b.name, a.name) for a, b in there.affected) == sorted(
        (a.name, b.name) for a, b in back.affected
    )


def rewired(document: dict[str, Any], data: st.DataObject) -> ShapedGraph:
    """With one input of one node read from elsewhere, where that fits."""
    entries = copy.deepcopy(document["encoder"])
    index = data.draw(st.integers(0, len(entries) - 1))
    sources = entries[index]["from"]
    earlier = ["x", *(entry["name"] for entry in entries[:index])]
    sources[data.draw(st.integers(0, len(sources) - 1))] = data.draw(st.sampled_from(earlier))
    try:
        return check({**document, "encoder": entries})
    except DiagnosticError:
        assume(False)
        raise


@SLOW
@given(networks(), networks())
def test_the_changes_make_one_graph_into_the_other(one: Any, other: Any) -> None:
    before, after = check(one.document), check(other.document)
    found = diff(before, after)
    nodes = {node.name: described(node) for node in before.nodes}
    for node in found.nodes:
        if node.before and not node.after:
            del nodes[node.before.name]
        elif node.before and node.after:
            kind, fields = nodes[node.before.name]
            kind = first_name(node.fields.get("type", (kind, kind))[1])
            own = type(node.after.layer).model_fields
            changed = {name: new for name, (_, new) in node.fields.items() if name in own and name != "type"}
            kept = {name: value for name, value in fields if name in own}
            nodes[node.before.name] = (kind, tuple(sorted({**kept, **changed}.items())))
    made = [*nodes.values(), *(described(n.after) for n in found.nodes if n.change == ("added",))]
    assert Counter(map(repr, made)) == Counter(repr(described(node)) for node in after.nodes)


def first_name(kind: str) -> str:
    return {"ConvTranspose2d": "TransposeConv2d"}.get(kind, kind)


def described(node: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    fields = type(node.layer).model_fields
    return first_name(node.layer.type), tuple(
        sorted((name, getattr(node.layer, name)) for name in fields if name != "type")
    )


def picture(graph: ShapedGraph) -> nx.DiGraph:
    """The graph as networkx compares graphs, without names."""
    found = nx.DiGraph()
    for name, token in ((graph.input_name, "input"), ("the output", "output")):
        found.add_node(name, token=token)
    for node in graph.nodes:
        found.add_node(node.name, token=repr(described(node)))
        found.add_node(("weights", node.owner), token="weights")
        found.add_edge(("weights", node.owner), node.name, arguments=())
        for source in set(node.inputs):
            places = tuple(i for i, name in enumerate(node.inputs) if name == source)
            found.add_edge(source, node.name, arguments=places)
    found.add_edge(graph.output, "the output", arguments=())
    return found


@SLOW
@given(documents(), st.data())
def test_equal_is_what_networkx_calls_isomorphic(document: dict[str, Any], data: st.DataObject) -> None:
    """Renamed at random, and with one input read from elsewhere."""
    names = [entry["name"] for entry in document["encoder"]]
    others = dict(zip(names, data.draw(st.permutations(names)), strict=True))
    entries = [
        {key: others.get(value, value) if key in ("name", "share") else value for key, value in entry.items()}
        | {"from": [others.get(name, name) for name in entry["from"]]}
        for entry in document["encoder"]
    ]
    output = {"y": others[document["output"]["y"]]}
    before = check(document)
    after = rewired({**document, "encoder": entries, "output": output}, data)
    isomorphic = nx.is_isomorphic(
        picture(before), picture(after), node_match=lambda a, b: a == b, edge_match=lambda a, b: a == b
    )
    found = diff(before, after)
    assert (found.output_equal and kinds(found).keys() <= {"renamed"}) == isomorphic


@pytest.mark.parametrize("name", ["n2n", "dncnn", "red", "unet_n2n", "unet_small"])
def test_shipped_specs_and_their_flat_forms_are_equal(name: str) -> None:
    graph = check(f"specs/{name}.toml")
    found = diff(graph, check(explicit(to_document(graph.spec))))
    assert kinds(found).keys() <= {"renamed"}
    assert found.affected == ()
    assert found.input_equal
    assert found.output_equal
