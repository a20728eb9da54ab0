"""Buffers of the optimised engine: nothing overlaps, borders stay zero, and a step allocates nothing."""

from __future__ import annotations

from math import ceil
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import conv, graph_of, model_of, pictures, spec_graph
from torch.profiler import ProfilerActivity, profile

from n2nspec.layers._base import Mode
from n2nspec.oracle.limits import silent_profiler
from n2nspec.runtime import Model
from n2nspec.runtime.optimized import engine as engines
from n2nspec.runtime.optimized import tiling
from n2nspec.runtime.optimized.buffers import ALIGNMENT, Buffers, Picture, Scratch, place
from n2nspec.runtime.optimized.engine import KEPT, OptimizedEngine
from n2nspec.runtime.optimized.instance import Instance

CPU = torch.device("cpu")
MANY = settings(max_examples=200, deadline=None, derandomize=True)
TIMES = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)


@MANY
@given(st.lists(st.tuples(st.integers(1, 500), TIMES), max_size=25))
def test_what_is_alive_together_never_overlaps(wanted: list[tuple[int, list[int]]]) -> None:
    requests = [Scratch((size,), first, last, torch.float32) for size, (first, last) in wanted]
    total = place(requests)
    spans = [(r, r.offset, r.offset + r.nbytes) for r in requests]
    for i, (one, begin, end) in enumerate(spans):
        assert begin % ALIGNMENT == 0
        assert 0 <= begin < end <= total
        for other, other_begin, other_end in spans[:i]:
            if one.first <= other.last and other.first <= one.last:
                assert end <= other_begin or other_end <= begin
    at_once = [sum(r.nbytes for r in requests if r.first <= t <= r.last) for t in range(13)]
    assert max(at_once) <= total <= sum(r.nbytes for r in requests)


def test_what_is_not_alive_together_shares_memory() -> None:
    requests = [Scratch((1000,), t, t, torch.float64) for t in range(5)]
    assert place(requests) == requests[0].nbytes
    assert place([]) == 0


PADS = st.tuples(*[st.integers(0, 2)] * 4)


@MANY
@given(
    st.lists(st.tuples(st.sampled_from([(1, 2, 3, 4), (2, 3, 2, 2)]), PADS, TIMES), min_size=1, max_size=12)
)
def test_pictures_keep_what_was_written_while_they_are_needed(
    wanted: list[tuple[tuple[int, ...], tuple[int, int, int, int], list[int]]],
) -> None:
    """Each is filled with a number of its own when it is first needed, and still holds it at the end."""
    buffers = Buffers(torch.float64, CPU)
    found = [buffers.picture(shape, pads, first, last) for shape, pads, (first, last) in wanted]
    buffers.scratch((100,), 0, 12)
    buffers.allocate()
    storages = {p.padded.untyped_storage().data_ptr(): p.padded.untyped_storage().nbytes() for p in found}
    assert sum(storages.values()) <= buffers.bytes
    for time in range(13):
        for number, picture in enumerate(found):
            if picture.first == time:
                picture.inside.fill_(number + 1)
        for number, picture in enumerate(found):
            if picture.first <= time <= picture.last:
                n, c, h, w = picture.shape
                assert picture.nchw.shape == (n, c, h, w)
                assert (picture.nchw == number + 1).all()
                if not picture.contiguous:  # all the rest is zero
                    assert picture.padded.sum() == (number + 1) * n * c * h * w


def test_windows_overlap_where_pixels_are_shared() -> None:
    buffers = Buffers(torch.float64, CPU)
    picture = buffers.picture((1, 2, 3, 3), (1, 1, 1, 1), 0, 0)
    buffers.allocate()
    picture.nchw.copy_(torch.arange(18.0).view(1, 2, 3, 3))
    windows = picture.windows((-1, -1), (2, 2), (2, 2), (2, 2), (1, 1))
    assert windows.shape == (1, 2, 2, 2, 2, 2)
    assert windows[0, 0, 0, :, :, 0].tolist() == [[0, 0], [0, 0]]
    assert windows[0, 1, 1, :, :, 0].tolist() == [[4, 5], [7, 8]]
    assert windows[0, 1, 1, :, :, 1].tolist() == [[13, 14], [16, 17]]
    picture.nchw.zero_()
    assert not windows.any(), "a view"


def instances(model: Model) -> list[Instance]:
    """Those that wait to be used again."""
    assert isinstance(model._engine, OptimizedEngine)
    return [instance for pool in model._engine._free.values() for instance in pool]


LAYERS = {
    "n2n": None,
    "unet_small": None,
    "sigmoids": [conv(out_channels=3), {"type": "Sigmoid"}, conv(out_channels=3, dilation=2, padding=2),
                 {"type": "Sigmoid"}, {"type": "NearestUpsampling", "scale_factor": 2}, conv(out_channels=3),
                 {"type": "Sigmoid"}, {"type": "MaxPool2d", "kernel_size": 2}],
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_borders_are_zero_after_steps(name: str) -> None:
    layers = LAYERS[name]
    graph = spec_graph(name) if layers is None else graph_of(layers)
    model = model_of(graph, "optimized")
    channels = graph.input_shape[1]
    x = pictures((2, int(channels), 16, 16))  # type: ignore[call-overload]
    for seed in range(3):
        target = pictures(tuple(model.forward(x).shape), seed)
        model.backward(target)
        model.step(x, target)
    looked_at = 0
    for instance in instances(model):
        values = instance.values
        for picture in (*values.pictures.values(), *values.gradient_pictures.values()):
            if not picture.contiguous:
                looked_at += 1
                outside = picture.padded.clone()
                above, _, left, _ = picture.pads
                _, c, h, w = picture.shape
                outside[:, above : above + h, left : left + w, :c] = 0
                assert not outside.any()
    assert looked_at > 3


ALLOWED = 4096
"""Bytes that a step may allocate: the loss, and what a bias or a sum over channels takes."""


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_step_allocates_nothing_after_the_first(dtype: torch.dtype) -> None:
    """Forward, loss and backward of Figure 1; one batch of its pictures is 393,216 bytes in float32."""
    model = model_of(spec_graph("n2n"), "optimized", dtype)
    x, target = (pictures((32, 3, 32, 32), seed, dtype).sigmoid() for seed in (0, 1))
    mode, loss = Mode(True, model._generator), model.spec.train.loss

    def step() -> None:
        model._engine.step(model._tensors, x, target, loss, mode, model._grads.by_node)

    assert allocated(step) > 100 * ALLOWED, "the first step makes the buffers"
    assert allocated(step) <= ALLOWED
    model.step(x, target)
    # two temporaries of the optimiser, each as large as all parameters
    parameters = sum(tensor.nbytes for tensor in model.parameters().values())
    model.step(x, target)  # moves away from what was handed out
    assert allocated(lambda: model.step(x, target)) <= 2 * parameters + ALLOWED


def allocated(function: object) -> int:
    """Bytes that an operation, or something inside it, took from the allocator."""
    assert callable(function)
    with silent_profiler(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        function()
    return sum(max(event.self_cpu_memory_usage, 0) for event in found.events())


def test_instances_serve_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """One each for steps, forward with backward, and inference, and for every shape; few are kept."""
    made: list[Instance] = []

    class Counted(Instance):
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]
            made.append(self)

    monkeypatch.setattr(engines, "Instance", Counted)
    model = model_of(graph_of([conv("a"), {"type": "ReLU"}]), "optimized")
    x, small = pictures((3, 2, 8, 8)), pictures((2, 2, 8, 8))
    for _ in range(3):
        model.step(x, x)
        model.backward(model.forward(x))
        model.eval().forward(x)
        model.train().step(small, small)
    assert len(made) == 4
    for size in range(3, 20):
        model.eval().forward(pictures((1, 2, size, size)))
    assert len(instances(model)) <= KEPT

    made.clear()
    bare = model_of(graph_of([{"type": "Tanh"}]), "optimized")
    for _ in range(3):
        bare.step(x, x)
    assert len(made) == 1, "a network without parameters has nothing to go back for"


def test_waiting_passes_have_memory_of_their_own_and_leave_one_behind() -> None:
    model = model_of(graph_of([conv("a"), {"type": "ReLU"}]), "optimized")
    x = pictures((3, 2, 8, 8))
    for _ in range(4):
        model.forward(x)
    kept = {id(entry[0]) for entry in model._stack}
    assert len(kept) == 4
    for _ in range(4):
        model.backward(x)
    assert len(instances(model)) == 1


def test_instances_that_wait_hold_no_tensors_besides_their_buffers() -> None:
    """What a layer without a kernel made, and the caller's own pictures, are let go."""
    model = model_of(graph_of([{"type": "Tanh"}, conv("a"), {"type": "Tanh"}, {"type": "ELU"}]), "optimized")
    x = pictures((3, 2, 8, 8))
    model.step(x, x)
    model.backward(model.forward(x))
    model.eval().forward(x)
    assert len(instances(model)) == 3
    for instance in instances(model):
        assert not instance.values.loose
        assert not instance.values.loose_gradients


@MANY
@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4)),
    st.tuples(*[st.integers(0, 3)] * 4),
)
def test_a_border_is_cleared_and_nothing_else(shape: tuple[int, ...], pads: tuple[int, ...]) -> None:
    n, c, h, w = shape
    above, below, left, right = pads
    picture = Picture((n, c, h, w), (above, below, left, right), 0, 0, ((0, 0),))
    picture.bind(torch.ones(picture.storage_shape))
    picture.clear_border()
    assert picture.inside.shape == (n, h, w, c)
    assert (picture.inside == 1).all()
    assert picture.padded.sum() == n * c * h * w


@MANY
@given(
    st.integers(1, 7), st.integers(1, 9), st.integers(1, 40), st.integers(1, 200),
    st.sampled_from([0.0, 0.25]),
)  # fmt: skip
def test_tiles_are_all_rows_once(n: int, height: int, row_bytes: int, size: int, slack: float) -> None:
    with patch.object(tiling, "TILE", size):
        found = tiling.tiles(n, height, row_bytes, slack=slack)
    seen = torch.zeros(n, height, dtype=torch.int64)
    order: list[tuple[int, int]] = []
    for tile in found:
        tile.of(seen).add_(1)
        order.append((tile.first, tile.top))
        assert tile.rows == tile.of(seen).numel()
        most = max(1, size // row_bytes)
        assert tile.rows <= ceil(most * (1 + slack))
        assert tile.last - tile.first == 1 or (tile.top, tile.bottom) == (0, height)
    assert (seen == 1).all()
    assert order == sorted(order)


def test_of_nothing_there_are_no_parts() -> None:
    assert tiling.evenly(0, 5) == tiling.evenly(-1, 5) == []
    assert tiling.evenly(128, 63, 1 / 4) == [(0, 64), (64, 128)]
    assert tiling.evenly(128, 63) == [(0, 43), (43, 86), (86, 128)]


def test_large_pictures_keep_their_memory_while_others_of_their_size_follow() -> None:
    model = model_of(spec_graph("unet_small"), "optimized", torch.float32, training=False)
    engine = model._engine
    assert isinstance(engine, OptimizedEngine)
    small, large, other = (torch.rand(1, 3, size, size) for size in (8, 16, 24))
    model.forward(small)
    kept = engine.bytes
    assert kept
    with patch.object(engines, "LARGE", kept):
        model.forward(large)
        assert engine.bytes == kept  # a single one is done with
        model.forward(large)
        assert engine.bytes > 2 * kept
        y = model.forward(large)
        model.forward(other)
        assert engine.bytes == kept
    assert torch.equal(model.forward(large), y)
