"""Sequential: modules one after the other.

    forward    y = f_n(… f_2(f_1(x)))
    backward   g = the gradient of the output, handed from f_n back to f_1

Source: the source report, section 1.1.6; arguments and names of torch.nn.Sequential,
https://docs.pytorch.org/docs/stable/generated/torch.nn.Sequential.html.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, overload

from n2nspec.layers._module import Module

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Sequential"]


class Sequential(Module):
    """`Sequential(*layers)`, `Sequential([layer, …])` or `Sequential(OrderedDict(name=layer, …))`.

    Children are called "0", "1", … unless named; they are attributes and can be indexed. One module may stand
    in several places: its gradients add up. With no layers at all it passes its input on.

    Raises:
        TypeError: something that is not a Module.
        ValueError: a name that is empty or holds a dot.
    """

    def __init__(self, *layers: Module | Iterable[Module] | Mapping[str, Module]) -> None:
        super().__init__()
        (only,) = layers if len(layers) == 1 else (None,)
        given: Iterable[tuple[str, Any]]  # a Module, if all is well
        if isinstance(only, Mapping):
            given = only.items()
        else:
            listed = only if isinstance(only, Iterable) and not isinstance(only, Module) else layers
            given = ((str(index), layer) for index, layer in enumerate(listed))
        self._layers: dict[str, Module] = dict(given)
        for name, layer in self._layers.items():
            if not isinstance(layer, Module):
                raise TypeError(f"Sequential: expected modules of n2nspec; received {type(layer).__name__}")
            if not name or "." in name:
                raise ValueError(f"Sequential: expected names without dots; received {name!r}")

    def children(self) -> Iterable[tuple[str, Module]]:
        return self._layers.items()

    def __getattr__(self, name: str) -> Any:
        layers = self.__dict__.get("_layers", {})
        if name in layers:
            return layers[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __len__(self) -> int:
        return len(self._layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._layers.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        """A layer; for a slice, a Sequential of the same layers."""
        if isinstance(index, slice):
            return Sequential(dict(list(self._layers.items())[index]))
        return list(self._layers.values())[index]

    def forward(self, *inputs: Tensor) -> Tensor:
        """The output of the last layer.

        Raises:
            ValueError: not one input, or a layer refuses what it gets.
        """
        if len(inputs) != 1:
            raise ValueError(f"{type(self).__name__}: expected 1 input; received {len(inputs)}")
        (x,) = inputs
        for layer in self:
            x = layer(x)
        return x

    def backward(self, *grad_outputs: Tensor) -> Any:
        """Accumulates every layer's parameter gradients; returns the gradient of the input.

        Raises:
            RuntimeError: no forward pass is waiting for its backward.
            ValueError: the gradient has not the shape of the output.
        """
        (g,) = grad_outputs
        for layer in reversed(self._layers.values()):
            g = layer.backward(g)
        return g

    def __repr__(self) -> str:
        inside = "".join(f"  ({name}): {layer!r}\n" for name, layer in self._layers.items())
        return f"{type(self).__name__}(\n{inside})" if inside else f"{type(self).__name__}()"
