"""Mermaid and DOT files: every layer and edge, in the words of their languages."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from strategies import Network, networks

from n2nspec import load
from n2nspec.graph import ShapedGraph, analyse, size_values
from n2nspec.graph.drawing import FORMATS, MARK, draw

SLOW = settings(
    deadline=None, max_examples=60, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
SPECS = sorted(path for path in Path("specs").glob("*.*") if "schema" not in path.name)

TEXT = r'"(?:[^"\\\n]|\\.)*"'
ATTRIBUTES = rf"\[\w+=(?:{TEXT}|\w+)(?:, \w+=(?:{TEXT}|\w+))*\]"
DOT = [
    rf"// .*|digraph {TEXT} {{|(?:graph|node|edge) {ATTRIBUTES};|subgraph cluster_\d+ {{|label={TEXT};|}}",
    rf"({TEXT}) {ATTRIBUTES};",
    rf"({TEXT}) -> ({TEXT})(?: {ATTRIBUTES})?;",
]  # fmt: skip
LABEL = r'"[^"<>]*(?:<br>[^"<>]*)*"'
MERMAID = [
    rf"%% .*|flowchart LR|subgraph s\d+\[{LABEL}\]|end|classDef \w+ [\w:#,.-]+( \d)?",
    rf"(n\d+)(?:\[{LABEL}\]|\(\[{LABEL}\]\)):::\w+",
    r"(n\d+) -\.?->(?:\|\d+\|)? (n\d+)",
]


def read(text: str, grammar: list[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Nodes and edges; each line has to be a sentence of the grammar."""
    nodes, edges = [], []
    for line in text.splitlines():
        found = [re.fullmatch(rule, line.strip()) for rule in grammar]
        assert any(found), line
        if found[1]:
            nodes.append(found[1][1])
        if found[2]:
            edges.append((found[2][1], found[2][2]))
    return nodes, edges


def assert_whole(graph: ShapedGraph) -> None:
    expected = [(source, node.name) for node in graph.nodes for source in node.inputs]
    dot = draw(graph, ".dot")
    assert dot.count("{") == dot.count("}")
    nodes, edges = read(dot, DOT)
    assert sorted(nodes) == sorted(f'"{name}"' for name in graph.shapes)
    assert edges == [(f'"{source}"', f'"{target}"') for source, target in expected]

    front, _, mermaid = draw(graph, ".mmd").removeprefix("---\n").partition("\n---\n")
    assert front == f'title: "{graph.spec.name}"'
    assert len(re.findall("^ *subgraph", mermaid, re.MULTILINE)) == len(
        re.findall("^ *end$", mermaid, re.MULTILINE)
    )
    nodes, edges = read(mermaid, MERMAID)
    number = {name: f"n{index}" for index, name in enumerate(graph.shapes)}
    assert sorted(nodes) == sorted(number.values())
    assert edges == [(number[source], number[target]) for source, target in expected]


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_spec(path: Path) -> None:
    assert_whole(analyse(load(path)))


@SLOW
@given(networks())
def test_random_networks(found: Network) -> None:
    assert_whole(analyse(load(found.document)))


def test_the_graph_of_a_unet() -> None:
    graph = analyse(load("specs/unet_small.toml"))
    dot, mermaid = draw(graph, ".dot"), draw(graph, ".mmd")
    assert '    "d2.concat" [label="d2.concat\\nConcat\\n96 × H/2 × W/2", ' in dot
    assert '  "e2.leakyrelu2" -> "d2.concat" [label="2"];' in dot
    assert 'label="d2";' in dot
    assert 'subgraph s4["d2"]' in mermaid
    assert '["d2.concat<br>Concat<br>96 × H/2 × W/2"]:::skip' in mermaid
    assert '(["x<br>input<br>3 × H × W"]):::input' in mermaid
    numbers = draw(graph, ".dot", size_values(graph, (32, 64), 1))
    assert "96 × 16 × 32" in numbers


def test_unused_layers_and_shared_weights() -> None:
    conv = {"type": "Conv2d", "out_channels": 3, "kernel_size": 1}
    shared = {**conv, "name": "b", "from": "end", "share": "end"}
    layers = [{**conv, "name": "end"}, {**conv, "name": "unused"}, shared]
    graph = analyse(
        load({"spec_version": 1, "name": "null", "input": {"x": ["N", 3, 8, 8]}, "encoder": layers})
    )
    assert_whole(graph)
    assert '"end" -> "unused" [style=dashed];' in draw(graph, ".dot")
    mermaid = draw(graph, ".mmd")
    assert "n1 -.-> n2" in mermaid
    assert '"b<br>Conv2d 1×1<br>3 × 8 × 8<br>shares end"' in mermaid


def test_every_drawing_says_what_made_it() -> None:
    graph = analyse(load("specs/n2n.toml"))
    for suffix in FORMATS:
        assert MARK in draw(graph, suffix)[:1000]
    with pytest.raises(ValueError, match=r"expected one of \.svg, \.mmd, \.dot; received '\.png'"):
        draw(graph, ".png")


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_graphviz_reads_it(path: Path) -> None:
    text = draw(analyse(load(path)), ".dot")
    done = subprocess.run(["dot", "-Tcanon"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
