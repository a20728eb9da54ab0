"""ShapedGraph → torch.nn.Module: the same network out of torch's own layers, differentiated by autograd.

In: a shaped graph and a dtype. Out: a module whose `state_dict` has the names and layouts of ours
(`conv1.weight`, `up1.conv.weight`), so weights go from one to the other as they are. Its weights are torch's
random ones until they are loaded.
"""

from __future__ import annotations

import importlib
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from n2nspec.diagnostics import fail
from n2nspec.geometry import Shape
from n2nspec.graph import ShapedGraph
from n2nspec.layers import LayerSpec
from n2nspec.layers._base import fixed
from n2nspec.losses import LossSpec

__all__ = ["Twin", "counterpart", "drawing", "has_twin", "layer_twin", "loss_twin", "mixed", "quiet", "twin"]


def twin(graph: ShapedGraph, dtype: torch.dtype) -> Twin:
    """The torch.nn network of a graph, on the CPU, in training mode. torch's random state is left alone."""
    return Twin(graph).to(dtype)


class Twin(torch.nn.Module):
    """Runs a graph node by node; the children are the nodes' counterparts, by the nodes' names."""

    def __init__(self, graph: ShapedGraph) -> None:
        super().__init__()
        live = [node for node in graph.nodes if node.name in graph.live]
        self._steps = tuple((node.name, node.inputs) for node in live)
        self._input_name, self._output_name = graph.input_name, graph.output
        self._last = {name: node.name for node in live for name in node.inputs}
        for node in graph.nodes:
            module = layer_twin(node.layer, tuple(graph.shapes[name] for name in node.inputs))
            _attach(self, node.name, module)
        for node in graph.nodes:
            if node.share is not None:
                _share(self._node(node.name), self._node(node.share))

    def forward(self, x: Tensor) -> Tensor:
        """The output for pictures `x`, (N, C, H, W)."""
        values = {self._input_name: x}
        for name, inputs in self._steps:
            values[name] = self._node(name)(*(values[source] for source in inputs))
            for source in set(inputs):
                if self._last[source] == name and source != self._output_name:
                    del values[source]
        return values[self._output_name]

    def train(self, mode: bool = True) -> Twin:
        """Training mode. Does not trip over a node named "training"."""
        self.__dict__["training"] = mode
        for module in self.children():
            module.train(mode)
        return self

    def _node(self, name: str) -> torch.nn.Module:
        module: torch.nn.Module = self
        for part in name.split("."):
            module = _child(module, part)
        return module


def layer_twin(layer: LayerSpec, inputs: tuple[Shape, ...]) -> torch.nn.Module:
    """torch's counterpart of one layer for inputs of these shapes; torch's random state is left alone.

    A composite, whose `parts()` are named layers one after the other, becomes their torch.nn.Sequential.

    Raises:
        DiagnosticError: E503, torch has none, or not the one that the layer names.
    """
    parts = getattr(layer, "parts", None)
    if parts is not None:
        modules: OrderedDict[str, torch.nn.Module] = OrderedDict()
        for name, part in dict(parts()).items():
            modules[name] = layer_twin(part, inputs)
            inputs = (part.infer(inputs),)
        return torch.nn.Sequential(modules)
    inferred = {name: fixed(inputs[0][layer.inferred_axis], name) for name in layer.inferred}
    fields = layer.twin_fields()
    if "inplace" in fields:  # a value of the graph may have other readers
        fields["inplace"] = False
    if not layer.twin:
        help = "a network with it trains and denoises all the same; only comparisons with torch.nn need one"
        raise fail("E503", f"{layer.type} has no counterpart in torch.nn", help=help)
    try:
        with torch.random.fork_rng(devices=[]):
            module: torch.nn.Module = counterpart(layer.twin)(**inferred, **fields)
    except (ImportError, AttributeError, TypeError, ValueError) as error:  # tests see to those of ours
        message = f"{layer.type} names {layer.twin} as its counterpart, which cannot be made: {error}"
        raise fail("E503", message, help="name a class that takes the layer's fields, or none") from error
    return module


def has_twin(layer: LayerSpec) -> bool:
    """Whether a layer, or each part of a composite, names a counterpart."""
    parts = getattr(layer, "parts", None)
    return bool(layer.twin) if parts is None else all(has_twin(part) for _, part in parts())


def loss_twin(loss: LossSpec) -> torch.nn.Module:
    """torch's counterpart of a loss: `module(prediction, target)` is a 0-d tensor."""
    module: torch.nn.Module = counterpart(loss.twin)(**loss.twin_fields())
    return module


def counterpart(dotted: str) -> Any:
    """The object of a dotted name such as "torch.nn.Conv2d"."""
    module, _, name = dotted.rpartition(".")
    if not module:
        raise ValueError(f"{dotted!r} is no dotted name")
    return getattr(importlib.import_module(module), name)


@contextmanager
def quiet() -> Iterator[None]:
    """Holds back torch's remark that "same" padding of an even kernel costs it a copy."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Using padding='same' with even kernel lengths")
        yield


def mixed(x: Tensor, low: torch.dtype | None) -> AbstractContextManager[None]:
    """torch's own mixed precision on the device of `x`, for what runs within; nothing where `low` is None."""
    return torch.autocast(x.device.type, low) if low else nullcontext()


def _attach(root: torch.nn.Module, name: str, module: torch.nn.Module) -> None:
    """Makes `module` a child; the dots of a block's node ("e1.conv1") become nested modules.

    Goes past `add_module`, which refuses names that happen to be attributes of every Module ("forward").
    """
    *path, last = name.split(".")
    for part in path:
        root._modules.setdefault(part, torch.nn.Module())
        root = _child(root, part)
    root._modules[last] = module


def _share(module: torch.nn.Module, owner: torch.nn.Module) -> None:
    """Makes a module use another's parameters, which stay the other's: one name each in `state_dict`."""
    for name, parameter in owner.named_parameters():
        path, _, last = name.rpartition(".")
        place = module.get_submodule(path)
        del place._parameters[last]
        place.__dict__[last] = parameter


@contextmanager
def drawing(generator: torch.Generator) -> Iterator[None]:
    """What torch's layers draw, they draw from this generator; torch's own is as it was afterwards."""
    device = generator.device
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        if devices:
            torch.cuda.set_rng_state(generator.get_state(), device)
        else:
            torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.cuda.get_rng_state(device) if devices else torch.get_rng_state())


def _child(module: torch.nn.Module, name: str) -> torch.nn.Module:
    child = module._modules[name]
    assert child is not None
    return child
