"""Whatever the text, loading ends in a spec or in diagnostics that can be shown."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import CODES, DiagnosticError, render_all, to_json
from n2nspec.spec import Spec, load, parse_overrides, to_document

N2N = Path(__file__).parents[2] / "specs" / "n2n.toml"
TEXT = N2N.read_text(encoding="utf-8")
DOCUMENT = tomllib.loads(TEXT)

UNTIMED = settings(deadline=None)  # other work on the machine is no failure
SAME_FOLDER = settings(UNTIMED, suppress_health_check=[HealthCheck.function_scoped_fixture])

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.sampled_from(["Conv2d", "ReLU", "x", "sigmoid", "Adam", "", "\ud800", 2**70, -1, 0, 1]),
)  # fmt: skip
words = st.one_of(
    st.text(max_size=5),
    st.sampled_from(
        ["type", "name", "from", "encoder", "Conv2d", "kernel_size", "train", "lr", "noise", "__class__"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def outcome(source: Any, overrides: Any = None) -> None:
    """Loads; ends in a spec that survives the round trip, or in diagnostics that can be shown."""
    try:
        spec = load(source, overrides)
    except DiagnosticError as error:
        showable(error, source)
    else:
        assert isinstance(spec, Spec)
        assert load(to_document(spec)) == spec


def showable(error: DiagnosticError, source: Any) -> None:
    """Codes that exist, text without half characters, places inside the file and in its order."""
    assert error.diagnostics
    assert json.dumps([to_json(diagnostic) for diagnostic in error.diagnostics])
    assert {diagnostic.code for diagnostic in error.diagnostics} <= CODES.keys()
    assert render_all(error.diagnostics).encode()
    assert all(1 <= d.span.column <= d.span.end_column or d.span.line != d.span.end_line
               for d in error.diagnostics if d.span is not None)  # fmt: skip
    lines = [d.span.line for d in error.diagnostics if d.span is not None and d.span.file == str(source)]
    assert lines == sorted(lines)
    if isinstance(source, Path) and lines:
        assert lines[0] >= 1
        assert lines[-1] <= source.read_bytes().count(b"\n") + 1


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The document of `n2n.toml` with a few values replaced, removed or added."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        node: Any = document
        while True:
            if isinstance(node, list):
                if not node:
                    break
                key: Any = draw(st.integers(0, len(node) - 1))
            else:
                key = draw(st.sampled_from(sorted(node)) | words) if node else draw(words)
            inner = node[key] if isinstance(node, list) else node.get(key)
            if isinstance(inner, (dict, list)) and draw(st.integers(0, 3)):
                node = inner
                continue
            if draw(st.booleans()):
                node[key] = draw(values)
            elif isinstance(node, list):
                node.append(draw(values))
            else:
                node.pop(key, None)
            break
    return document


@UNTIMED
@given(mutated())
def test_mutated_documents(document: dict[str, Any]) -> None:
    outcome(document)


@SAME_FOLDER
@given(document=mutated())
def test_mutated_json(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    outcome(file)


def without_null(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_null(item) for key, item in value.items() if item is not None}
    return [without_null(item) for item in value if item is not None] if isinstance(value, list) else value


@SAME_FOLDER
@given(document=mutated())
def test_mutated_toml(document: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    text = tomli_w.dumps(without_null(document))
    file.write_bytes(text.encode("utf-8", "surrogatepass"))  # then it is not UTF-8
    outcome(file)


@SAME_FOLDER
@given(
    start=st.integers(0, len(TEXT)),
    length=st.integers(0, 40),
    insertion=st.text(max_size=4)
    | st.sampled_from(["[", "]", '"', "'''", "=", ".", "\n", "{", "\r", "#", "a.b", "[["]),
)
def test_damaged_text(start: int, length: int, insertion: str, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    damaged = TEXT[:start] + insertion + TEXT[start + length :]
    file.write_bytes(damaged.encode("utf-8", "surrogatepass"))
    outcome(file)


@SAME_FOLDER
@given(data=st.binary(max_size=60), suffix=st.sampled_from([".toml", ".json"]))
def test_random_bytes(data: bytes, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(data)
    outcome(file)


@SAME_FOLDER
@given(
    text=st.text(st.sampled_from("ab1.=\"'[]{},:#\n \t\\é日-+_e"), max_size=40),
    suffix=st.sampled_from([".toml", ".json"]),
)
def test_random_text(text: str, suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"a{suffix}"
    file.write_bytes(text.encode())
    outcome(file)


@UNTIMED
@given(
    st.dictionaries(
        st.lists(words | st.sampled_from(["0", "conv1", "optimizer", "output"]), max_size=4).map(".".join),
        values,
        max_size=3,
    )
)
def test_overrides(overrides: dict[str, Any]) -> None:
    outcome(N2N, overrides)


@UNTIMED
@given(st.text(max_size=30))
def test_parse_overrides(text: str) -> None:
    try:
        overrides = parse_overrides([text])
    except DiagnosticError as error:
        showable(error, None)
    else:
        outcome(N2N, overrides)


@UNTIMED
@given(
    st.sampled_from(
        ["train.optimizer", "encoder.0", "encoder.conv1.padding", "input.x", "a", "train.epochs"]
    ),
    st.lists(
        st.sampled_from(
            ["{", "}", "[", "]", "type", '"Adam"', "lr", "=", ",", "1", "-1", " ", "\n", '"', "#"]
        ),
        max_size=12,
    ).map("".join),
)
def test_settings(key: str, value: str) -> None:
    outcome(N2N, parse_overrides([f"{key}={value}"]))
