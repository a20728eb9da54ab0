"""How many pictures each process, and each pass through the network, is given."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from programs import conv, graph_of, spec_graph

from n2nspec.compiler import division
from n2nspec.compiler.division import GROUP_MACS, divisible, groups, shares, smaller_groups
from n2nspec.compiler.program import program

PICTURE = (3, 32, 32)


@given(st.integers(1, 2000), st.integers(1, 9))
def test_all_pictures_once_and_nearly_alike(pictures: int, processes: int) -> None:
    graph = spec_graph("n2n")
    for sizes in (shares(graph, (pictures, *PICTURE), processes), groups(graph, (pictures, *PICTURE))):
        assert sum(sizes) == pictures
        assert 0 <= max(sizes) - min(sizes) <= 1
        assert list(sizes) == sorted(sizes, reverse=True)


@given(st.integers(1, 2000))
def test_groups_are_neither_small_nor_large(pictures: int) -> None:
    graph = spec_graph("n2n")
    each = program(graph, (1, *PICTURE)).macs
    sizes = groups(graph, (pictures, *PICTURE))
    if len(sizes) > 1:
        assert (min(sizes) + 1) * each > GROUP_MACS
    assert (max(sizes) - 1) * each < 2 * GROUP_MACS


def test_groups_of_one_size_where_there_can_be() -> None:
    graph = spec_graph("n2n")
    assert groups(graph, (256, *PICTURE)) == (32,) * 8
    assert groups(graph, (105, *PICTURE)) == (35,) * 3
    assert groups(graph, (69, *PICTURE)) == (35, 34)
    assert groups(graph, (1, *PICTURE)) == (1,)
    assert groups(graph, (3, 3, 256, 256)) == (1, 1, 1)


def test_work_is_divided_where_that_pays() -> None:
    graph = spec_graph("n2n")
    assert shares(graph, (64, *PICTURE), 3) == (22, 21, 21)
    assert shares(graph, (17, *PICTURE), 3) == (9, 8)
    assert shares(graph, (2, *PICTURE), 3) == (2,)
    assert shares(graph, (1, 3, 1024, 1024), 3) == (1,)
    assert shares(graph, (2, 3, 1024, 1024), 3) == (1, 1)


@pytest.mark.parametrize("sizes", [(8,), (5, 5), (3, 2, 2), (1, 1)])
def test_smaller_groups_end_at_single_pictures(sizes: tuple[int, ...]) -> None:
    pictures = sum(sizes)
    while len(sizes) < pictures:
        smaller = smaller_groups(sizes)
        assert sum(smaller) == pictures
        assert len(sizes) < len(smaller) <= 2 * len(sizes)
        sizes = smaller
    assert sizes == smaller_groups(sizes) == (1,) * pictures


@pytest.mark.parametrize(
    ("name", "may"), [("n2n", True), ("unet_n2n", True), ("red", True), ("dncnn", False)]
)
def test_layers_that_look_at_the_whole_batch_keep_it_in_one(
    name: str, may: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(division, "GROUP_MACS", 1)
    graph = spec_graph(name)
    assert divisible(graph) is may
    assert groups(graph, (4, 3, 32, 32)) == ((1, 1, 1, 1) if may else (4,))


def test_pictures_that_are_joined_along_the_batch_stay_together() -> None:
    graph = graph_of([conv("a"), {"type": "Concat", "dim": 0, "from": ["a", "x"]}])
    assert not divisible(graph)
    assert shares(graph, (64, 2, 512, 512), 2) == groups(graph, (64, 2, 512, 512)) == (64,)
