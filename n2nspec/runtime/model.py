"""Model: a compiled spec with weights; what `n2nspec.compile` returns.

In: a shaped graph, an engine, a device, a dtype and a seed. Out: `forward`, `backward` and whole training
steps, with parameters and gradients by torch's names in torch's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from n2nspec._lazy import torch
from n2nspec.compiler import plan
from n2nspec.diagnostics import fail
from n2nspec.geometry import render_shape
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.layers._module import check_state, version
from n2nspec.layers.initialisation import initialise
from n2nspec.runtime import reference
from n2nspec.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor, device, dtype
    from torch.nn import Module

__all__ = ["ENGINES", "Model", "compile"]

ENGINES = ("auto", "reference")


class Model:
    """A network that runs and trains on hand-written layers.

    Several forward passes may wait for their backward passes, which then run in reverse order. In evaluation
    mode only the newest input is remembered, and its forward pass runs again if a backward pass is asked for:
    inference keeps nothing of what lies between.
    """

    def __init__(self, graph: ShapedGraph, *, engine: str, device: device, dtype: dtype, seed: int) -> None:
        self.graph = graph
        self.spec = graph.spec
        self.engine = engine
        self.device = device
        self.dtype = dtype
        self.training = True
        self._plan = plan(graph, input_gradient=True)
        self._step_plan = plan(graph, input_gradient=False)
        self._stack: list[tuple[reference.Tape | None, Tensor, int, Tensor, int, bool]] = []
        self._params: dict[str, dict[str, Tensor]] = {}
        self._grads: dict[str, dict[str, Tensor]] = {}
        generator = torch.Generator().manual_seed(seed)
        for node in graph.nodes:
            self._params[node.name] = {}
            for parameter in node.parameters:
                tensor = torch.empty(parameter.shape, device=device, dtype=dtype)
                initialise(tensor, parameter, self.spec.train.init, generator)
                self._params[node.name][parameter.name] = tensor
            self._grads[node.name] = {
                name: torch.zeros_like(tensor) for name, tensor in self._params[node.name].items()
            }
        optimizer = self.spec.train.optimizer
        self._optimizer_state = {
            name: optimizer.init_state(tensor) for name, tensor in self.parameters().items()
        }
        self._steps = 0

    # -- forward and backward ---------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """The output for pictures `x`, (N, C, H, W) or one (C, H, W), values in the network's dtype.

        Raises:
            DiagnosticError: a shape, dtype or device that does not fit the network.
        """
        batched = self._batched(x, "x")
        y, tape = reference.forward(self._plan, self._params, batched, keep=self.training)
        if not self.training:
            self._stack.clear()
        unbatched = batched.dim() != x.dim()
        kept = tape if self.training else None
        self._stack.append((kept, batched, version(batched), y, version(y), unbatched))
        return y.squeeze(0) if unbatched else y

    __call__ = forward

    def backward(self, gy: Tensor) -> Tensor:
        """Accumulates the parameter gradients for the newest forward pass; returns dL/dx.

        Raises:
            RuntimeError: no forward pass is waiting, or its input or output was changed in place meanwhile.
            ValueError: `gy` is not of the output's shape and dtype.
        """
        if not self._stack:
            raise RuntimeError("backward: no forward pass is waiting for it; call forward first")
        tape, x, x_version, y, y_version, unbatched = self._stack[-1]
        gy = self._tensor(gy, "gy")
        shape = y.shape[1:] if unbatched else y.shape
        if gy.shape != shape:
            raise ValueError(
                f"backward: expected a gradient of shape {tuple(shape)}; received {tuple(gy.shape)}"
            )
        gy = gy.reshape(y.shape)
        del self._stack[-1]
        if (version(x), version(y)) != (x_version, y_version):
            raise RuntimeError(
                "backward: the input or output of the forward pass was changed in place since; pass a copy"
            )
        if tape is None:
            _, tape = reference.forward(self._plan, self._params, x)
        gx, gparams = reference.backward(tape, self._params, gy)
        self._accumulate(gparams)
        if gx is None:  # nothing on the way to the output reads the input
            gx = torch.zeros_like(x)
        return gx.squeeze(0) if unbatched else gx

    def step(self, x: Tensor, target: Tensor) -> float:
        """One training step: forward and loss, backward through both, one step of the optimiser.

        Returns:
            The loss before the step.

        Raises:
            DiagnosticError: shapes, dtypes or devices that do not fit.
        """
        loss_spec = self.spec.train.loss
        x, target = self._batched(x, "x"), self._tensor(target, "target")
        y, tape = reference.forward(self._step_plan, self._params, x)
        target = target.unsqueeze(0) if target.dim() == y.dim() - 1 else target
        if target.shape != y.shape:
            raise fail(
                "E209",
                f"the target's shape {tuple(target.shape)} is not the output's, {tuple(y.shape)}",
                help="pairs of pictures of one size, and a network that keeps it, are what training needs",
            )
        loss, saved = loss_spec.forward(y, target)
        gy = loss_spec.backward(saved, torch.ones_like(loss))
        self.zero_grad()
        _, gparams = reference.backward(tape, self._params, gy)
        self._accumulate(gparams)

        self._steps += 1
        for node, own in self._params.items():
            for name, tensor in own.items():
                own[name] = tensor.clone()  # whoever was given the old one keeps it as it was
                state = self._optimizer_state[f"{node}.{name}"]
                self.spec.train.optimizer.update(own[name], self._grads[node][name], state, self._steps)
        return float(loss)

    def _accumulate(self, gparams: Mapping[str, Mapping[str, Tensor]]) -> None:
        for node, tensors in gparams.items():
            for name, gradient in tensors.items():
                self._grads[node][name] = self._grads[node][name] + gradient

    def _tensor(self, value: Tensor, what: str) -> Tensor:
        if not isinstance(value, torch.Tensor):
            raise fail("E208", f"{what}: expected a torch tensor; received {type(value).__name__}")
        if value.dtype != self.dtype or value.device != self.device:
            raise fail(
                "E208",
                f"{what}: expected {self.dtype} on {self.device}; received {value.dtype} on {value.device}",
                help=f"convert it: {what}.to(device=model.device, dtype=model.dtype)",
            )
        return value.detach()

    def _batched(self, x: Tensor, what: str) -> Tensor:
        """`x` with a batch axis, once it is known to fit the graph's input."""
        x = self._tensor(x, what)
        expected = self.graph.input_shape
        batched = x.unsqueeze(0) if x.dim() == len(expected) - 1 else x
        received = tuple(batched.shape)
        values: dict[str, int] = {}  # a symbol that stands twice has one value
        fits = len(received) == len(expected) and all(
            dim == size
            if isinstance(dim, int)
            else size in self.graph.sizes[dim.symbol] and values.setdefault(dim.symbol, size) == size
            for dim, size in zip(expected, received, strict=True)
        )
        if not fits:
            sizes = "; ".join(
                f"{dim.symbol}: {self.graph.sizes[dim.symbol].render(dim.symbol)}"
                for dim in expected
                if not isinstance(dim, int)
            )
            raise fail(
                "E208",
                f"{what}: expected shape {render_shape(expected)}; received {' × '.join(map(str, x.shape))}",
                help=f"sizes that work: {sizes}" if sizes else "",
            )
        return batched

    # -- parameters and state -----------------------------------------------------------------------------

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name (`conv1.weight`), in torch's layout.

        They are those in use: a change in place takes effect. A step replaces them; the old ones stay as
        they are.
        """
        return _flat(self._params)

    def gradients(self) -> dict[str, Tensor]:
        """The accumulated gradients, under the parameters' names; later calls leave these tensors alone."""
        return _flat(self._grads)

    def zero_grad(self) -> None:
        """Sets every gradient to 0."""
        for own in self._grads.values():
            own.update({name: torch.zeros_like(gradient) for name, gradient in own.items()})

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the parameters, by name."""
        return {name: tensor.clone() for name, tensor in self.parameters().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies values into the parameters.

        Raises:
            ValueError: names or shapes differ; nothing has been changed then.
        """
        own = self.parameters()
        check_state({name: tuple(tensor.shape) for name, tensor in own.items()}, state)
        for node, tensors in self._params.items():
            for name, tensor in tensors.items():
                tensors[name] = tensor.clone().copy_(state[f"{node}.{name}"].detach())

    def optimizer_state(self) -> dict[str, Any]:
        """Copies of what the optimiser remembers, `NAME:KEY` → tensor, and the number of steps taken."""
        tensors = {
            f"{name}:{key}": tensor.clone()
            for name, state in self._optimizer_state.items()
            for key, tensor in state.items()
        }
        return {"steps": self._steps, **tensors}

    def load_optimizer_state(self, state: Mapping[str, Any]) -> None:
        """Restores `optimizer_state()`.

        Raises:
            ValueError: it belongs to another network or optimiser.
        """
        shapes = {
            f"{name}:{key}": tuple(tensor.shape)
            for name, own in self._optimizer_state.items()
            for key, tensor in own.items()
        }
        check_state(shapes, {name: tensor for name, tensor in state.items() if name != "steps"})
        for name, own in self._optimizer_state.items():
            for key, tensor in own.items():
                tensor.copy_(state[f"{name}:{key}"])
        self._steps = int(state["steps"])

    def train(self, mode: bool = True) -> Self:
        """Training mode."""
        self.training = mode
        return self

    def eval(self) -> Self:
        """Evaluation mode."""
        return self.train(False)

    def to_torch(self) -> Module:
        """The torch.nn twin, with these weights."""
        from n2nspec.oracle.twin import twin  # the oracle imports torch.nn; nothing else here may

        module = twin(self.graph, dtype=self.dtype).to(self.device)
        module.load_state_dict(self.state_dict())
        return module


def _flat(by_node: Mapping[str, Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {f"{node}.{name}": tensor for node, own in by_node.items() for name, tensor in own.items()}


def compile(
    spec: Spec,
    engine: str = "auto",
    device: str | device = "cpu",
    dtype: str | dtype | None = None,
    seed: int | None = None,
) -> Model:
    """A model with freshly drawn weights.

    Args:
        spec: from `n2nspec.load`.
        engine: "reference", or "auto".
        device: "cpu", "cuda", "cuda:1" …
        dtype: torch.float32 or torch.float64, or their names; the spec's `train.dtype` when absent.
        seed: for the weights; the spec's `train.seed` when absent.

    Raises:
        DiagnosticError: a graph that does not fit together, an unknown engine, dtype or device.
    """
    if engine not in ENGINES:
        raise fail("E501", f'there is no engine "{engine}"', help="the engines are " + ", ".join(ENGINES))
    graph = analyse(spec)
    dtypes = {"float32": torch.float32, "float64": torch.float64}
    wanted = spec.train.dtype if dtype is None else dtype
    found = dtypes.get(wanted.removeprefix("torch.")) if isinstance(wanted, str) else wanted
    if found is None or found not in dtypes.values():
        raise fail("E501", f"dtype {wanted} is not supported", help="the dtypes are float32 and float64")
    return Model(
        graph,
        engine="reference",
        device=_device(device),
        dtype=found,
        seed=spec.train.seed if seed is None else seed,
    )


def _device(device: str | device) -> device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise fail("E502", f'device "{device}" is not available: {reason}', help="use --device cpu") from None
    # "cuda" and a tensor's "cuda:0" are the same place but do not compare equal
    return torch.empty(0, device=found).device
