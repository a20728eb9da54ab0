"""What every layer, loss and optimiser says that it allocates, against what the allocator gives out.

The layers' own cases, with so many pictures that lists of indices and means of channels do not count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from allocations import allocated
from layer_pairs import ALL_CASES, label, make_spec
from torch import Tensor

from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers._base import Case, Mode, Needs, buffers, run
from n2nspec.layers._memory import Memory
from n2nspec.layers.conv2d import Conv2dSpec
from n2nspec.losses import LOSSES
from n2nspec.optim import OPTIMIZERS

# torch's own layer says so once a process, for any "same" padding that is uneven
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")

PICTURES = 257
ITEM = 8


def enlarged(spec_type: type[LayerSpec], case: Case) -> Case | None:
    """The case with many pictures; None where there is no batch axis, or where another axis is 1 or 0 long,
    which makes views of what would be copies."""
    shape = case.inputs[0]
    if min(shape[1:], default=0) < 2 or not case.contiguous or (spec_type.spatial and len(shape) != 4):
        return None
    return replace(case, inputs=tuple((PICTURES, *shape[1:]) for shape in case.inputs))


CASES = [
    (spec_type, larger, training)
    for spec_type, case, training in ALL_CASES
    if (larger := enlarged(spec_type, case))
]


class Told:
    """A layer with numbers to run on, and what it says of its memory."""

    def __init__(self, spec_type: type[LayerSpec], case: Case, training: bool) -> None:
        self.spec, self.inputs = make_spec(spec_type, case), case.inputs
        self.mode = Mode(training, torch.Generator().manual_seed(0))
        self.xs = tuple(torch.rand(shape, dtype=torch.float64) for shape in case.inputs)
        self.params = {
            p.name: torch.rand(p.shape, dtype=torch.float64) for p in self.spec.parameters(case.inputs)
        } | {
            b.name: torch.ones(b.shape, dtype=torch.int64 if b.integer else torch.float64)
            for b in buffers(self.spec, case.inputs)
        }
        y, self.saved, _ = run(self.spec, self.params, self.xs, self.mode)
        self.output = tuple(y.shape)
        self.gy = torch.rand(self.output, dtype=torch.float64)
        self.needs = Needs(inputs=(True,) * len(self.xs))

    def memory(self) -> Memory:
        return self.spec.memory(self.inputs, self.output, ITEM, self.needs)

    def forward(self) -> Any:
        return run(self.spec, self.params, self.xs, self.mode)

    def backward(self) -> tuple[Tensor | None, ...]:
        return self.spec.backward(self.params, self.saved, self.gy, self.needs)[0]

    def kept(self) -> tuple[int, ...]:
        """The memory behind each gradient, where it is not that of the output's."""
        given = self.gy.untyped_storage()
        stores = [g.untyped_storage() for g in self.backward() if g is not None]
        return tuple(s.nbytes() if s.data_ptr() != given.data_ptr() else 0 for s in stores)


@cache
def measured() -> list[tuple[Told, int, int]]:
    """Every case with the bytes of its forward and backward."""
    told = [Told(*case) for case in CASES]
    peaks = allocated([function for one in told for function in (one.forward, one.backward)])
    return list(zip(told, peaks[::2], peaks[1::2], strict=True))


def close(told: int, real: int) -> bool:
    return abs(told - real) <= 0.1 * real


@pytest.mark.parametrize("index", range(len(CASES)), ids=lambda i: "-".join(map(label, CASES[i])))
def test_layers_tell_what_they_allocate(index: int) -> None:
    one, forward, backward = measured()[index]
    memory = one.memory()
    assert close(memory.forward if one.mode.training else memory.inference, forward)
    if one.mode.training:  # where evaluation differs, its backward is no part of a training step
        assert close(memory.backward, backward)
        assert memory.gradients == one.kept()


def test_every_layer_is_measured_and_a_wrong_word_is_noticed() -> None:
    """Negative control: a layer that keeps silent about its windows is far off."""
    assert {spec_type for spec_type, _, _ in CASES} == set(LAYERS.values())
    index = next(i for i, (spec_type, _, _) in enumerate(CASES) if spec_type is Conv2dSpec)
    one, forward, backward = measured()[index]
    silent = LayerSpec.memory(one.spec, one.inputs, one.output, ITEM, one.needs)
    assert not close(silent.forward, forward)
    assert not close(silent.backward, backward)


def test_a_layer_without_gradients_of_its_input_needs_less() -> None:
    spec = Conv2dSpec(out_channels=4, kernel_size=(3, 3), padding=(1, 1))
    shape, x = (32, 8, 16, 16), torch.rand(32, 8, 16, 16)
    params = {p.name: torch.rand(p.shape) for p in spec.parameters((shape,))}
    y, saved = spec.forward(params, x)
    for needs in (Needs(inputs=(False,)), Needs(inputs=(True,), parameters=False)):
        (real,) = allocated([lambda needs=needs: spec.backward(params, saved, y, needs)])
        assert close(spec.memory((shape,), tuple(y.shape), 4, needs).backward, real)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_tell_what_they_allocate(name: str) -> None:
    spec = LOSSES[name]()
    prediction, target = (torch.rand(16, 3, 32, 32, dtype=torch.float64) for _ in range(2))
    found: list[Any] = []

    def forward() -> None:
        found.append(spec.forward(prediction, target))

    def backward() -> None:
        value, saved = spec.forward(prediction, target)
        spec.backward(saved, torch.ones_like(value))

    first, both = allocated([forward, backward])
    told = [alive.bytes(prediction.numel(), ITEM) for alive in spec.alive]
    assert close(told[0], first)
    assert close(max(told), both)


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sorted(OPTIMIZERS)),
    *((name, {"maximize": True}) for name in sorted(OPTIMIZERS)),
    ("Adam", {"weight_decay": 0.1}), ("Adam", {"amsgrad": True}), ("SGD", {"momentum": 0.9}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "maximize": True}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fields"), OPTIONS)
def test_optimisers_tell_what_they_allocate(name: str, fields: dict[str, Any]) -> None:
    spec = OPTIMIZERS[name](**fields)
    parameter, gradient = (torch.rand(10_000, dtype=torch.float64) for _ in range(2))
    state = spec.init_state(parameter)
    step: Callable[[], None] = lambda: spec.update(parameter, gradient, state, 2)  # noqa: E731
    (real,) = allocated([step])
    assert close(spec.temporaries() * parameter.nbytes, real) or real < 100
