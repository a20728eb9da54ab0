"""The predicted peaks against torch's allocator: training steps and forward passes, warm, as they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from allocations import allocated

import n2nspec
from n2nspec.graph import analyse, cost, standing_bytes
from n2nspec.oracle import footprint
from n2nspec.oracle.footprint import optimized_bytes
from n2nspec.oracle.limits import peak_bytes
from n2nspec.runtime import reference
from n2nspec.spec import Spec

CONV = {"type": "Conv2d", "kernel_size": 3, "padding": 1}
UNET: dict[str, Any] = {
    "spec_version": 1,
    "name": "unet",
    "input": {"x": ["N", 3, "H", "W"]},
    "encoder": [
        {**CONV, "out_channels": 12, "padding_mode": "reflect"},
        {"type": "LeakyReLU", "negative_slope": 0.1, "name": "skip"},
        {"type": "MaxPool2d", "kernel_size": 2},
        {**CONV, "out_channels": 24, "bias": False},
        {"type": "BatchNorm2d"},
        {"type": "SiLU"},
    ],
    "decoder": [
        {"type": "TransposeConv2d", "name": "up", "out_channels": 12, "kernel_size": 2, "stride": 2},
        {"type": "Concat", "from": ["up", "skip"]},
        {**CONV, "out_channels": 24, "name": "wide"},
        {**CONV, "out_channels": 24, "name": "once"},
        {**CONV, "out_channels": 24, "name": "twice", "share": "once"},
        {"type": "Add", "from": ["wide", "twice"]},
        {"type": "Identity"},
        {"type": "Dropout", "p": 0.2},
        {**CONV, "out_channels": 3, "padding": 0, "kernel_size": 1},
        {"type": "Sigmoid"},
    ],
    "train": {"dtype": "float64", "loss": {"type": "BCE"}, "optimizer": {"type": "SGD", "momentum": 0.9}},
}
# what counts is parameters: the worst moment is the optimiser's
WEIGHTY: dict[str, Any] = {
    "spec_version": 1,
    "name": "weighty",
    "input": {"x": ["N", 64, "H", "W"]},
    "encoder": [
        {"type": "Conv2d", "out_channels": 64, "kernel_size": 5},
        {"type": "Conv2d", "out_channels": 64, "kernel_size": 1},
    ],
}
NETWORKS = {
    "n2n": (None, (8, 3, 32, 32)),
    "unet": (UNET, (2, 3, 32, 32)),
    "weighty": (WEIGHTY, (1, 64, 5, 5)),
}
every_network = pytest.mark.parametrize("name", NETWORKS)
every_pass = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])


def network(name: str) -> tuple[Spec, tuple[int, ...]]:
    document, shape = NETWORKS[name]
    return n2nspec.load(document or "specs/n2n.toml"), shape


def measured(spec: Spec, engine: str, shape: tuple[int, ...], *, training: bool) -> int:
    """All bytes that there are at the worst moment, those of the model and of both batches too."""

    def make() -> Callable[[], object]:
        model = n2nspec.compile(spec, engine).train(training)
        x = torch.rand(shape, dtype=model.dtype)
        target = torch.rand_like(n2nspec.compile(spec, engine).eval()(x)) if training else None

        def step() -> object:
            return model(x) if target is None else model.step(x, target)

        step()
        step()
        return step

    return peak_bytes(make, torch.device("cpu"))


def predicted(spec: Spec, shape: tuple[int, ...], *, training: bool) -> int:
    costs = cost(analyse(spec), (shape[2], shape[3]), shape[0])
    return costs.peak_bytes if training else costs.inference_bytes


def within_a_tenth(told: int | None, real: int) -> bool:
    assert told is not None
    return abs(told - real) <= 0.1 * real


@every_network
@every_pass
def test_the_reference_engine_takes_what_was_predicted(name: str, training: bool) -> None:
    spec, shape = network(name)
    real = measured(spec, "reference", shape, training=training)
    assert within_a_tenth(predicted(spec, shape, training=training), real)


@every_network
@every_pass
def test_the_optimized_engine_takes_what_was_predicted(name: str, training: bool) -> None:
    spec, shape = network(name)
    told = optimized_bytes(analyse(spec), shape, training=training)
    assert within_a_tenth(told, measured(spec, "optimized", shape, training=training))


def test_an_engine_that_keeps_what_it_need_not_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Negative control."""
    spec, shape = network("unet")
    hoard: list[Any] = []
    step = reference._backward_step

    def hoarding(*args: Any) -> None:
        hoard.append(list(args[1].values()))
        step(*args)

    monkeypatch.setattr(reference, "_backward_step", hoarding)
    real = measured(spec, "reference", shape, training=True)
    assert not within_a_tenth(predicted(spec, shape, training=True), real)


def test_inference_makes_no_gradients_and_no_moments() -> None:
    spec, shape = network("weighty")
    graph = analyse(spec)
    parameters = graph.parameter_count * 4
    assert standing_bytes(graph, 4, training=False) == parameters
    assert standing_bytes(graph, 4, training=True) == 4 * parameters  # gradients, and Adam's two moments
    assert measured(spec, "reference", shape, training=False) < 2.2 * parameters


def test_nothing_is_told_of_a_layer_that_looks_at_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    spec, shape = network("n2n")

    def look(*args: Any, **kwargs: Any) -> None:
        if torch.zeros(1, device="meta"):
            raise AssertionError

    monkeypatch.setattr(footprint.OptimizedEngine, "step", look)
    assert optimized_bytes(analyse(spec), shape, training=True) is None


def test_layers_before_the_first_parameters_save_nothing() -> None:
    pooled = n2nspec.load(
        {
            "spec_version": 1, "name": "pooled", "input": {"x": ["N", 3, "H", "W"]},
            "encoder": [{"type": "MaxPool2d", "kernel_size": 2}, {**CONV, "out_channels": 3}],
        }
    )  # fmt: skip
    nodes = cost(analyse(pooled), (8, 8)).nodes
    assert nodes["maxpool2d1"].saved_bytes == 0
    assert nodes["conv2d1"].saved_bytes == 3 * 4 * 4 * 4


def test_the_profiler_counts_what_is_alive_at_once() -> None:
    """The yardstick itself."""
    x = torch.zeros(1000)
    one, two, none = allocated([lambda: x + 1, lambda: (x + 1) * 2, lambda: x.add_(1)])
    assert none < 100  # the mark of the function itself
    assert (one - none, two - none) == (4000, 8000)
