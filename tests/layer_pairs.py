"""A layer on its own beside its torch.nn twin with the same parameters: what the layer tests compare.

In: a spec type and one of its cases. Out: both modules, random inputs and cotangents, and a comparison that
says what differs and by how much.
"""

from __future__ import annotations

import importlib
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

import n2nspec.layers
from n2nspec.layers import LAYERS, LayerSpec, Module
from n2nspec.layers._base import BadCase, Case
from n2nspec.layers._composite import CompositeSpec

TOLERANCE = 1e-8
SPECS = list(dict.fromkeys(LAYERS.values()))


def cases(spec_type: type[LayerSpec]) -> Iterator[tuple[type[LayerSpec], Case]]:
    yield from ((spec_type, case) for case in spec_type.CASES)


def label(value: object) -> str:
    if isinstance(value, type):
        return value.__name__.removesuffix("Spec")
    if isinstance(value, (Case, BadCase)):
        fields = ",".join(f"{k}={v}" for k, v in value.fields.items())
        return f"{fields}|{value.inputs}".replace(" ", "")
    return str(value)


ALL_CASES = [pair for spec_type in SPECS for pair in cases(spec_type)]
BAD_CASES = [(spec_type, case) for spec_type in SPECS for case in spec_type.BAD_CASES]
every_case = pytest.mark.parametrize(("spec_type", "case"), ALL_CASES, ids=label)


def module_type(spec_type: type[LayerSpec]) -> type[Module]:
    """The class that stands for a spec type on its own."""
    found: type[Module] = getattr(n2nspec.layers, spec_type.__name__.removesuffix("Spec"))
    return found


def make_spec(spec_type: type[LayerSpec], case: Case) -> LayerSpec:
    return spec_type(**{k: v for k, v in case.fields.items() if k not in spec_type.inferred})


def make_module(spec_type: type[LayerSpec], case: Case) -> Module:
    dtype = {"dtype": torch.float64} if spec_type.inferred else {}
    return module_type(spec_type)(**case.fields, **dtype)


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
    inferred = [inputs[0][spec.inferred_axis] for _ in spec.inferred]
    return twin_class(type(spec))(*inferred, **spec.twin_fields()).double()


def twin_class(spec_type: type[LayerSpec]) -> type[torch.nn.Module]:
    path, _, name = spec_type.twin.rpartition(".")
    found: type[torch.nn.Module] = getattr(importlib.import_module(path), name)
    return found


def run_twin(spec: LayerSpec, twin: torch.nn.Module, *xs: Tensor) -> Tensor:
    """One picture goes to torch as a batch of one: nn.Upsample would read (C, H, W) as (N, C, L)."""
    if spec.spatial and xs[0].dim() == 3:
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
    """A layer on its own and its twin with the same parameters."""

    def __init__(self, spec_type: type[LayerSpec], case: Case, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.case = case
        self.spec = make_spec(spec_type, case)
        self.module = make_module(spec_type, case)
        self.twin = make_twin(self.spec, case.inputs)
        self.module.load_state_dict(
            {
                name: torch.randn(p.shape, dtype=torch.float64, generator=self.generator)
                for name, p in self.module.state_dict().items()
            }
        )
        self.twin.load_state_dict(self.module.state_dict())  # strict: the same names and shapes

    def inputs(self) -> tuple[Tensor, ...]:
        return tuple(make_input(shape, self.case, self.generator) for shape in self.case.inputs)

    def cotangent(self, y: Tensor) -> Tensor:
        return torch.randn(y.shape, dtype=torch.float64, generator=self.generator)

    def torch_gradients(self, xs: tuple[Tensor, ...], gys: Callable[[Tensor], Tensor]) -> Any:
        """y, the gradients of the inputs, and the gradients that the twin's parameters gain."""
        leaves = [x.clone().requires_grad_() for x in xs]
        y = run_twin(self.spec, self.twin, *leaves)
        gy = gys(y.detach())
        y.backward(gy)
        return y.detach(), gy, [leaf.grad for leaf in leaves]

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
    assert saved is None or isinstance(saved, (int, str, torch.Size)), f"a test can't look into {saved!r}"
    return []
