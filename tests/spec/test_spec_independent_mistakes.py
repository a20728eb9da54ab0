"""Mistakes of any stages, put into a sound spec at random: each is told once, where it is, in source order,
and nothing else is. So when all of them are mended, nothing is left to be told."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import check

SOUND = """\
spec_version = 1
name = "sound"
extends = "base.toml"
remove = ["gone"]

[vars]
width = 8
twice = "${2*width}"

[input]
x = ["N", 3, "H", "W"]

[defaults.Conv2d]
kernel_size = 3
padding = 1

[defaults.ReLU]

[blocks.double]
params = ["ch", { k = 3 }]
output = "second"
[[blocks.double.layers]]
name = "first"
type = "Conv2d"
out_channels = "${ch}"
kernel_size = "${k}"
padding = "${k // 2}"
[[blocks.double.layers]]
type = "ReLU"
[[blocks.double.layers]]
name = "second"
type = "Conv2d"
out_channels = "${ch}"
bias = true

[blocks.outer]
params = ["ch"]
[[blocks.outer.layers]]
name = "a"
block = "double"
ch = "${ch}"
[[blocks.outer.layers]]
name = "b"
type = "Add"
from = ["a", "a.first"]

[blocks.spare]
[[blocks.spare.layers]]
type = "Sigmoid"

[[encoder]]
name = "e1"
block = "double"
ch = "${width}"

[[encoder]]
name = "r1"
type = "ReLU"
from = "e1"

[[encoder]]
name = "e2"
block = "outer"
from = "x"
ch = "${twice}"
repeat = 2

[[encoder]]
name = "p1"
type = "MaxPool2d"
kernel_size = 2
from = "x"

[[encoder]]
name = "c1"
type = "Conv2d"
out_channels = 6
groups = 3
from = "x"

[[encoder]]
name = "c2"
type = "Conv2d"
out_channels = 4
groups = 2
from = "c1"

[[encoder]]
name = "c3"
type = "Conv2d"
out_channels = 10
groups = 1
stride = [2, 2]
padding = [1, 1]
padding_mode = "zeros"
from = "x"

[[encoder]]
block = "double"
ch = 5
k = 5
from = "x"

[[encoder]]
type = "ReLU"
repeat = 3
from = "x"

[[encoder]]
name = "before-old"
before = "old"
type = "Identity"
from = "x"

[[decoder]]
name = "add"
type = "Add"
from = ["r1", "wide"]

[[decoder]]
name = "wide"
type = "Conv2d"
out_channels = 8
from = "x"

[[decoder]]
name = "last"
type = "Sigmoid"
from = "x"

[output]
y = "last"

[require]
same_size = ["x", "c1"]
check = ["${width % 4 == 0}"]

[train]
epochs = 3
batch_size = 4
optimizer = { type = "Adam", lr = 0.1 }
loss = { type = "MSE" }
"""
BASE = """\
spec_version = 1
name = "base"

[[encoder]]
name = "old"
type = "ReLU"
from = "x"

[[encoder]]
name = "gone"
type = "ReLU"
from = "x"
"""

MISTAKES: list[tuple[str, str, str, int]] = [
    # what is in the text, once; what is put in its place; the code; the line of the error below its beginning
    ('name = "sound"', "name = 3", "E112", 0),
    ('spec_version = 1\nname = "sound"', 'spec_version = 7\nname = "sound"', "E114", 0),
    ('remove = ["gone"]', 'remove = ["gone", "nobody"]', "E127", 0),
    ("width = 8", "width = 8\nodd = true", "E112", 1),
    ("width = 8", 'width = 8\nodd = "${1 +}"', "E120", 1),
    ("width = 8", 'width = 8\nodd = "${nothing}"', "E121", 1),
    ("width = 8", "with = 8", "E121", 1),
    ("[defaults.ReLU]", "[defaults.RelU]", "E116", 0),
    ("[defaults.ReLU]", "[defaults.ReLU]\ncolour = 3", "E110", 1),
    ("bias = true", 'bias = "yes"', "E112", 0),
    ("[blocks.spare]", "[blocks.spare]\ncolour = 3", "E110", 1),
    ("[blocks.spare]", '[blocks.spare]\noutput = "nobody"', "E203", 1),
    ('type = "Sigmoid"\n\n[[encoder]]', 'type = "Sigmoyd"\n\n[[encoder]]', "E116", 0),
    ("[[blocks.spare.layers]]", '[[blocks.spare.layers]]\nfrom = "nobody"', "E203", 1),
    ("[[blocks.spare.layers]]", '[[blocks.spare.layers]]\nname = "in"', "E118", 1),
    ("ch = 5", "ch = 5\ncolour = 3", "E123", 1),
    ("ch = 5", 'ch = "${nowhere}"', "E121", 0),
    ("ch = 5", "ch = 5\nrepeat = 200000", "E125", -2),
    ("ch = 5", 'ch = 5\nname = "my use"', "E118", 1),
    ("ch = 5", "ch = 5\nname = 3", "E112", 1),
    ("ch = 5", 'ch = 5\ntype = "ReLU"', "E123", -1),
    ('params = ["ch"]', 'params = ["ch", "ch"]', "E123", 0),
    ('params = ["ch"]', 'parms = ["ch"]', "E110", 0),
    ('params = ["ch"]', "", "E121", 4),
    ('params = ["ch"]', 'params = ["channels"]', "E121", 4),
    ('params = ["ch", { k = 3 }]', "params = [{ k = 3 }]", "E121", 5),
    ('params = ["ch", { k = 3 }]', 'params = ["ch"]', "E121", 6),
    ('output = "second"', 'output = "secnd"', "E203", 0),
    ('output = "second"', "output = 2", "E112", 0),
    ('padding = "${k // 2}"', 'paddin = "${k // 2}"', "E110", 0),
    ('padding = "${k // 2}"', 'padding = "${q // 2}"', "E121", 0),
    ('padding = "${k // 2}"', "padding = -1", "E113", 0),
    ('from = ["a", "a.first"]', 'from = ["a", "a.frist"]', "E203", 0),
    ('type = "Sigmoid"\n\n[[encoder]]', 'block = "spare"\n\n[[encoder]]', "E123", 0),
    ('type = "Sigmoid"\n\n[[encoder]]', 'block = "spar"\n\n[[encoder]]', "E122", 0),
    ('from = ["r1", "wide"]', 'from = ["r1", "add"]', "E204", 0),
    ('name = "p1"', 'name = "my pool"', "E118", 0),
    ('name = "p1"', "name = 3", "E112", 0),
    ('name = "c1"', 'name = "1c"', "E118", 0),
    ('name = "r1"', 'name = ""', "E113", 0),
    ('name = "first"', 'name = "1st"', "E118", 0),
    ('name = "second"', 'name = "2nd"', "E118", 0),
    ('name = "c2"', 'name = "p1"', "E202", 0),
    ('name = "c2"', 'name = "x"', "E202", 0),
    ("ch = 5\n", "", "E123", -1),
    ('block = "double"\nch = 5\nk = 5', 'block = "treble"', "E122", 0),
    ('type = "ReLU"\nrepeat = 3', 'type = "ReLU"\nrepeat = 0', "E113", 1),
    ('type = "ReLU"\nrepeat = 3', 'type = "ReLU"\nrepeat = "three"', "E112", 1),
    ('type = "ReLU"\nrepeat = 3', 'type = "RELU"\nrepeat = 3', "E116", 0),
    ('ch = "${twice}"\nrepeat = 2', 'ch = "${twice}"\nrepeat = 2\ncolour = 3', "E123", 2),
    ('type = "MaxPool2d"', 'type = "MaxPol2d"', "E116", 0),
    ("kernel_size = 2", "kernel_sise = 2", "E110", 0),
    ("kernel_size = 2", "kernel_size = 0", "E113", 0),
    ("kernel_size = 2\n", "", "E111", -3),
    ("groups = 3", "groups = 4", "E115", 0),
    ('[[encoder]]\nname = "c1"', '[[encodr]]\nname = "c1"', "E110", 0),
    ('[[encoder]]\nname = "before-old"', '[[layers]]\nname = "before-old"', "E110", 0),
    ('[[decoder]]\nname = "wide"', '[[Decoder]]\nname = "wide"', "E110", 0),
    ("[vars]", "[vasr]", "E110", 0),
    ("[input]", "[inpt]", "E110", 0),
    ("[defaults.Conv2d]", "[default.Conv2d]", "E110", 0),
    ("[blocks.double]", "[bloks.double]", "E110", 0),
    ('[[blocks.double.layers]]\nname = "first"', '[[blocks.double.layer]]\nname = "first"', "E110", 0),
    ('[[blocks.double.layers]]\nname = "second"', '[[blcks.double.layers]]\nname = "second"', "E110", 0),
    ("[train]", "[trian]", "E110", 0),
    ('extends = "base.toml"', 'extend = "base.toml"', "E110", 0),
    ('name = "r1"', 'nam = "r1"', "E110", 0),
    ('name = "a"', 'nmae = "a"', "E123", 0),
    ('name = "b"', 'nmae = "b"', "E110", 0),
    ('block = "outer"\nfrom', 'block = "outer"\nform', "E123", 1),
    ("repeat = 3", "repeet = 3", "E110", 0),
    ('type = "Identity"', 'typ = "Identity"', "E110", 0),
    ("groups = 2", "groups = 4", "E206", 0),
    ("out_channels = 10", 'out_channels = "10"', "E112", 0),
    ("groups = 1", "groups = 7", "E115", 0),
    ("stride = [2, 2]", "stride = [2, 0]", "E113", 0),
    ("padding = [1, 1]", 'padding = "same"', "E115", 0),
    ('padding_mode = "zeros"', 'padding_mode = "zeroes"', "E114", 0),
    ('padding_mode = "zeros"', 'padding_mod = "zeros"', "E110", 0),
    ('before = "old"', 'before = "nobody"', "E127", 0),
    ('from = ["r1", "wide"]', 'from = ["r1", "nobody"]', "E203", 0),
    ('from = ["r1", "wide"]', 'from = "r1"', "E205", 0),
    ('name = "last"\ntype = "Sigmoid"', 'name = "last"\ntype = "Sigmoid"\nshare = "nobody"', "E203", 2),
    ('y = "last"', 'y = "nobody"', "E203", 0),
    ('same_size = ["x", "c1"]', 'same_size = ["x", "nobody"]', "E203", 0),
    ('same_size = ["x", "c1"]', 'same_size = ["x", "c1", "p1"]', "E207", 0),
    ("width % 4", "width % 5", "E126", 0),
    ("epochs = 3", "epochs = -3", "E113", 0),
    ('type = "Adam"', 'type = "Adm"', "E114", 0),
    ('loss = { type = "MSE" }', 'loss = { type = "MSE", size = 3 }', "E110", 0),
]
ECHOES = {
    # mistakes that make another one impossible to see: what the second is about depends on the first
    ('y = "last"', 'name = "last"\ntype = "Sigmoid"'),
    ("width = 8", "width % 4"),
    ('params = ["ch", { k = 3 }]', "ch = 5\n"),
    ('type = "MaxPool2d"', "kernel_size = 2\n"),
    ('type = "MaxPool2d"', 'same_size = ["x", "c1"]'),
    ('name = "c1"', "groups = 2"),
    ('name = "r1"', 'from = ["r1", "wide"]'),
    ('same_size = ["x", "c1"]', 'name = "c1"'),
    ('name = "first"', 'from = ["a", "a.first"]'),
    ('name = "second"', 'output = "second"'),
    ("[blocks.spare]", "[[blocks.spare.layers]]"),
    ("groups = 2", "groups = 3"),
    ("groups = 1", "out_channels = 10"),
    ("padding = [1, 1]", "stride = [2, 2]"),
    ('same_size = ["x", "c1"]', "groups = 3"),
    ('name = "c2"', 'name = "p1"'),
    ('params = ["ch"]', 'ch = "${twice}"\nrepeat = 2'),
    ('same_size = ["x", "c1"]', 'name = "p1"'),
    ('same_size = ["x", "c1"]', 'name = "c2"'),
    ('same_size = ["x", "c1"]', "kernel_size = 2"),
    ('same_size = ["x", "c1"]', "kernel_size = 2\n"),
}
NAMELESS = ("name = 3", 'name = "my use"')


def place(mistake: tuple[str, str, str, int]) -> tuple[int, int]:
    start = SOUND.index(mistake[0])
    assert SOUND.count(mistake[0]) == 1, mistake[0]
    return start, start + len(mistake[0])


def independent(mistakes: list[tuple[str, str, str, int]]) -> bool:
    spans = sorted(map(place, mistakes))
    apart = all(end < start for (_, end), (start, _) in pairwise(spans))
    olds, news = {old for old, _, _, _ in mistakes}, {new for _, new, _, _ in mistakes}
    # a layer whose name is none may be the one that others name
    refused = {'name = "p1"', 'name = "c1"', 'name = "r1"'}
    nameless = bool(refused & olds) or any(word in new for new in news - {"name = 3"} for word in NAMELESS)
    named = any('"nobody"' in new for new in news)
    return apart and not (nameless and named) and not any({one, other} <= olds for one, other in ECHOES)


def told(folder: Path, text: str) -> list[tuple[str, int]]:
    (folder / "base.toml").write_text(BASE, encoding="utf-8")
    file = folder / "spec.toml"
    file.write_text(text, encoding="utf-8")
    try:
        check(file)
    except DiagnosticError as error:
        return [(d.code, d.span.line if d.span else 0) for d in error.diagnostics]
    return []


def with_mistakes(mistakes: list[tuple[str, str, str, int]]) -> tuple[str, list[tuple[str, int]]]:
    """The text with these in it, and the codes and lines that are to be told."""
    text, expected, shift = SOUND, [], 0
    for mistake in sorted(mistakes, key=place):
        old, new, code, below = mistake
        start = place(mistake)[0] + shift
        line = text.count("\n", 0, start) + 1
        text = text[:start] + new + text[start + len(old) :]
        shift += len(new) - len(old)
        expected.append((code, line + below))
    return text, sorted(expected, key=lambda pair: pair[1])


def test_without_mistakes_there_is_nothing_to_tell(tmp_path: Path) -> None:
    assert told(tmp_path, SOUND) == []


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: f"{mistake[2]}: {mistake[1][:30]}")
def test_one_mistake_is_one_error(mistake: tuple[str, str, str, int], tmp_path: Path) -> None:
    text, expected = with_mistakes([mistake])
    assert told(tmp_path, text) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=100)
@given(mistakes=st.lists(st.sampled_from(MISTAKES), min_size=2, max_size=8, unique=True).filter(independent))
def test_each_of_several_mistakes_is_told_once(
    mistakes: list[tuple[str, str, str, int]], tmp_path: Path
) -> None:
    text, expected = with_mistakes(mistakes)
    assert told(tmp_path, text) == expected
