"""A layer on its own beside its torch.nn twin with the same parameters: what the layer tests compare.

In: a spec type, one of its cases and a mode. Out: both modules, random inputs and cotangents, and a
comparison that says what differs and by how much. Whatever draws at random, ours or torch's, starts from one
seed.
"""

from __future__ import annotations

import importlib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

import n2nspec.layers
from n2nspec.geometry import ShapeError
from n2nspec.layers import LAYERS, LayerSpec, Module
from n2nspec.layers._base import BadCase, Case, ModalSpec, Mode, buffers, run
from n2nspec.layers._composite import CompositeSpec

TOLERANCE = 1e-8
SPECS = list(dict.fromkeys(LAYERS.values()))


def modes(spec_type: type[LayerSpec]) -> tuple[bool, ...]:
    """Training, and evaluation where that is something else."""
    return (True, False) if issubclass(spec_type, ModalSpec) else (True,)


def cases(spec_type: type[LayerSpec]) -> Iterator[tuple[type[LayerSpec], Case, bool]]:
    yield from ((spec_type, case, training) for case in spec_type.CASES for training in modes(spec_type))


def label(value: object) -> str:
    if isinstance(value, bool):
        return "training" if value else "evaluation"
    if isinstance(value, type):
        return value.__name__.removesuffix("Spec")
    if isinstance(value, (Case, BadCase)):
        fields = ",".join(f"{k}={v}" for k, v in value.fields.items())
        return f"{fields}|{value.inputs}".replace(" ", "")
    return str(value)


ALL_CASES = [case for spec_type in SPECS for case in cases(spec_type)]
BAD_CASES = [(spec_type, case) for spec_type in SPECS for case in spec_type.BAD_CASES]
every_case = pytest.mark.parametrize(("spec_type", "case", "training"), ALL_CASES, ids=label)


def module_type(spec_type: type[LayerSpec]) -> type[Module]:
    """The class that stands for a spec type on its own."""
    found: type[Module] = getattr(n2nspec.layers, spec_type.__name__.removesuffix("Spec"))
    return found


def make_spec(spec_type: type[LayerSpec], case: Case) -> LayerSpec:
    return spec_type(**{k: v for k, v in case.fields.items() if k not in spec_type.inferred})


def make_module(spec_type: type[LayerSpec], case: Case) -> Module:
    found = module_type(spec_type)
    dtype = {"dtype": torch.float64} if "dtype" in inspect.signature(found).parameters else {}
    return found(**case.fields, **dtype)


def mixes_batch(spec: LayerSpec, training: bool) -> bool:
    return isinstance(spec, ModalSpec) and spec.mixes_batch(training=training)


def accepts_rank(spec: LayerSpec, rank: int) -> bool:
    """Whether a spatial layer takes tensors with so many axes."""
    try:
        spec.picture((1,) * rank)
    except ShapeError:
        return False
    return True


@contextmanager
def same_draws() -> Iterator[None]:
    """Everything inside that draws from torch's own generator draws the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        yield


def refusal(spec: LayerSpec, inputs: tuple[tuple[int, ...], ...], *, training: bool) -> None:
    """Raises ShapeError where the spec's own rules refuse these shapes."""
    if spec.spatial:
        spec.picture(inputs[0])
    spec.infer(inputs)
    for several in spec.several(inputs):
        if (training or not several.training) and all(dim == 1 for dim in several.dims):
            raise ShapeError("needs more than one value")


def make_input(shape: tuple[int, ...], case: Case, generator: torch.Generator) -> Tensor:
    """Random numbers that keep a distance from 0, where ReLU has its kink."""
    reversed_shape = shape if case.contiguous else shape[::-1]
    x = torch.randn(reversed_shape, dtype=torch.float64, generator=generator)
    x = x + 0.05 * torch.where(x < 0, -1, 1)
    if case.contiguous:
        return x
    x = x.permute(*reversed(range(x.dim())))
    assert not x.is_contiguous(), "the case is meant to be a strided view"
    return x


def make_twin(spec: LayerSpec, inputs: tuple[tuple[int, ...], ...]) -> torch.nn.Module:
    """The torch.nn counterpart, in float64."""
    if isinstance(spec, CompositeSpec):
        children = {step.name: make_twin(step.layer, (step.input,)) for step in spec.steps(inputs)}
        return torch.nn.Sequential(OrderedDict(children))
    return twin_class(type(spec))(**inferred(spec, inputs), **spec.twin_fields()).double()


def inferred(spec: LayerSpec, inputs: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """The constructor arguments that follow from the shapes of the inputs."""
    return dict.fromkeys(spec.inferred, inputs[0][spec.inferred_axis]) if spec.inferred else {}


def twin_class(spec_type: type[LayerSpec]) -> type[torch.nn.Module]:
    path, _, name = spec_type.twin.rpartition(".")
    found: type[torch.nn.Module] = getattr(importlib.import_module(path), name)
    return found


def run_twin(spec: LayerSpec, twin: torch.nn.Module, *xs: Tensor) -> Tensor:
    """One picture goes to torch as a batch of one: nn.Upsample would read (C, H, W) as (N, C, L)."""
    if spec.spatial and xs[0].dim() == 3 and accepts_rank(spec, 3):
        batch: Tensor = twin(*(x.unsqueeze(0) for x in xs))
        return batch.squeeze(0)
    y: Tensor = twin(*xs)
    return y


def assert_close(ours: Tensor, theirs: Tensor, what: str) -> None:
    assert ours.shape == theirs.shape, f"{what}: shape {tuple(ours.shape)}, expected {tuple(theirs.shape)}"
    assert ours.dtype == theirs.dtype, f"{what}: {ours.dtype}, expected {theirs.dtype}"
    if ours.numel():
        error = (ours - theirs).abs().max().item()
        assert error < TOLERANCE, f"{what}: off by {error:.3e}"


class Pair:
    """A layer on its own and its twin in the same mode, with the same parameters and buffers."""

    def __init__(self, spec_type: type[LayerSpec], case: Case, training: bool = True, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.case = case
        self.training = training
        self.spec = make_spec(spec_type, case)
        self.module = make_module(spec_type, case).train(training)
        self.twin = make_twin(self.spec, case.inputs).train(training)
        state = {name: self.cotangent(p) for name, p in self.module.named_parameters().items()}
        for name, buffer in self.module.named_buffers().items():  # upwards: a variance stays positive
            step = torch.rand(buffer.shape, dtype=torch.float64, generator=self.generator)
            state[name] = buffer + (step if buffer.is_floating_point() else 3)
        self.module.load_state_dict(state)
        self.twin.load_state_dict(self.module.state_dict())  # strict: the same names and shapes

    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(make_input(shape, self.case, self.generator) for shape in self.case.inputs)

    def cotangent(self, y: Tensor) -> Tensor:
        return torch.randn(y.shape, dtype=torch.float64, generator=self.generator)

    def mode(self) -> Mode:
        return Mode(self.training, torch.Generator().manual_seed(7))

    def forward(self, *xs: Tensor) -> Tensor:
        """The module's output for copies of these: a layer with `inplace` writes into what it gets."""
        with same_draws():
            return self.module.forward(*(x.clone() for x in xs))

    def run(self, *xs: Tensor) -> tuple[Tensor, Any, dict[str, Tensor]]:
        """What the spec's pure functions make of these: output, what backward needs, changed buffers."""
        return run(self.spec, self.module.state_dict(), xs, self.mode())

    def torch_gradients(self, xs: tuple[Tensor, ...], gys: Callable[[Tensor], Tensor]) -> Any:
        """y, the gradients of the inputs, and the gradients that the twin's parameters gain."""
        leaves = [x.clone().requires_grad_() for x in xs]
        with same_draws():
            y = run_twin(self.spec, self.twin, *leaves)
        gy = gys(y.detach())
        y.backward(gy)
        # of an input that only its shape matters of, autograd says nothing
        return y.detach(), gy, [torch.zeros_like(x) if x.grad is None else x.grad for x in leaves]

    def check_buffers(self, ours: dict[str, Tensor] | None = None) -> None:
        ours = self.module.named_buffers() if ours is None else ours
        parameters = dict(self.twin.named_parameters())
        theirs = {name: b for name, b in self.twin.state_dict().items() if name not in parameters}
        assert ours.keys() == theirs.keys() == {b.name for b in buffers(self.spec, self.case.inputs)}
        for name, buffer in theirs.items():
            assert_close(ours[name], buffer, name)

    def check_parameters(self, factor: float = 1.0) -> None:
        ours = self.module.named_parameters()
        theirs = dict(self.twin.named_parameters())
        assert ours.keys() == theirs.keys()
        for name, p in theirs.items():
            assert p.grad is not None
            gradient = ours[name].grad
            assert gradient is not None
            assert_close(gradient, p.grad * factor, f"gradient of {name}")


def as_tuple(gx: Any) -> tuple[Tensor, ...]:
    return gx if isinstance(gx, tuple) else (gx,)


def flat_tensors(saved: Any) -> list[Tensor]:
    if isinstance(saved, Tensor):
        return [saved]
    if isinstance(saved, (tuple, list)):
        return [tensor for part in saved for tensor in flat_tensors(part)]
    assert saved is None or isinstance(saved, (int, str)), f"a test can't look into {saved!r}"
    return []
