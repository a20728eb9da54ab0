"""Model: a compiled spec with weights; what `n2nspec.compile` (`build`) returns.

In: a shaped graph, an engine, a device, a dtype and a seed. Out: `forward`, `backward` and whole training
steps, with parameters and gradients by torch's names in torch's layout.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Self

from n2nspec._lazy import torch
from n2nspec.compiler.division import divisible
from n2nspec.diagnostics import Diagnostic, fail
from n2nspec.geometry import concrete, render_shape
from n2nspec.graph import ShapedGraph, ShapedNode
from n2nspec.layers._base import EVALUATION, Mode
from n2nspec.layers._module import check_state, version
from n2nspec.layers.initialisation import initialise
from n2nspec.runtime.compiled import CompiledEngine, in_full
from n2nspec.runtime.denormals import denormals_are_zero
from n2nspec.runtime.engines import make_engine
from n2nspec.runtime.flat import FlatTensors, named, parameter_layout
from n2nspec.runtime.optimized import MemoryLimit, OptimizedEngine
from n2nspec.runtime.split import Team

if TYPE_CHECKING:
    from torch import Tensor, device, dtype
    from torch.nn import Module

__all__ = ["Model"]


class Model:
    """A network that runs and trains on hand-written layers.

    Several forward passes may wait for their backward passes, which then run in reverse order. In evaluation
    mode only the newest input is remembered, and its forward pass runs again if a backward pass is asked for:
    inference keeps nothing of what lies between.
    """

    def __init__(
        self, graph: ShapedGraph, *, engine: str, device: device, dtype: dtype, seed: int,
        memory_limit: int | None = None, processes: int = 1, measure: bool = False,
        precision: str | None = None,
    ) -> None:  # fmt: skip
        self.graph = graph
        self.spec = graph.spec
        self.device = device
        self.dtype = dtype
        self.training = True
        self.progress = 0.0
        """How much of the training is done, 0 to 1, for a loss that changes on the way."""
        self._wanted_precision = precision or self.spec.train.precision
        self._engine = make_engine(engine, graph, dtype, device, self._wanted_precision)
        self.memory_limit: MemoryLimit | None = None
        """Plans training steps within a limit of memory, where there is one."""
        if memory_limit is not None:
            assert isinstance(self._engine, OptimizedEngine)
            self._engine.limit = self.memory_limit = MemoryLimit(graph, memory_limit, dtype)
        if measure and isinstance(self._engine, OptimizedEngine):
            self._engine.measure_lowerings()
        self._stack: list[tuple[Any, Tensor, int, Tensor, int, bool]] = []
        self._flat = partial(FlatTensors, *parameter_layout(graph), kind=dtype, place=device)
        with torch.inference_mode(False):  # what is made in that mode cannot be changed outside it
            self._params = self._flat()
            self._buffers = {node.name: _buffers(node, dtype, device) for node in graph.nodes}
        self._team: Team | None = None
        if isinstance(self._engine, OptimizedEngine) and device.type == "cpu" and divisible(graph):
            self._team = Team(graph, self._engine, self._flat, processes, self._wanted_precision)
        self._generator = torch.Generator(device).manual_seed(seed)  # of what layers draw in training
        generator = torch.Generator().manual_seed(seed)
        for node in graph.nodes:
            for parameter in node.parameters:
                tensor = self._params.by_node[node.name][parameter.name]
                initialise(tensor, parameter, self.spec.train.init, generator)
        self._steps = 0
        self._fitting: set[tuple[tuple[int, ...], tuple[int, ...]]] = set()
        """Shapes of batches and their targets that are known to fit."""
        self._bind()

    # what only training needs is made when it is first asked for, and as an ordinary tensor even then

    @cached_property
    def _grads(self) -> FlatTensors:
        with torch.inference_mode(False):
            return self._flat()

    @cached_property
    def _optimizer_state(self) -> dict[str, Tensor]:
        with torch.inference_mode(False):
            return self.spec.train.optimizer.init_state(self._params.stepped)

    def _bind(self) -> None:
        """What each node computes with; again whenever a tensor is another one."""
        self._tensors = {
            node.name: {**self._params.by_node[node.owner], **self._buffers[node.name]}
            for node in self.graph.nodes
        }

    def __getstate__(self) -> dict[str, Any]:
        """Forward passes that wait for their backward pass wait here, not in a copy."""
        return {**self.__dict__, "_stack": []}

    # -- forward and backward ---------------------------------------------------------------------------

    def forward(self, x: Tensor) -> Tensor:
        """The output for pictures `x`, (N, C, H, W) or one (C, H, W), values in the network's dtype.

        Raises:
            DiagnosticError: a shape, dtype or device that does not fit the network.
        """
        batched = self._batched(x, "x")
        self._check_conditions(batched, training=self.training)
        if not self.training:
            self._stack.clear()  # first: the output that it holds need not live beside a new one
        y, kept = self._forward(batched, keep=self.training)
        unbatched = batched.dim() != x.dim()
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
        kept, x, x_version, y, y_version, unbatched = self._stack[-1]
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
        if kept is None:
            _, kept, _ = self._engine.forward(self._tensors, x, EVALUATION, keep=True)
        self._grads.own()
        gx = self._engine.backward(kept, self._tensors, gy, self._grads.by_node)
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
        x, target = self._tensor(x, "x"), self._tensor(target, "target")
        if (x.shape, target.shape) not in self._fitting:
            x, target = self._checked(x, target)
        with self.at_work(tuple(x.shape)):
            return self._step(x, target)

    def _checked(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Both with a batch axis, once they are known to fit."""
        x = self._batched(x, "x")
        self._check_conditions(x, training=True)
        target = target.unsqueeze(0) if target.dim() == len(self.graph.input_shape) - 1 else target
        expected = self.output_shape(tuple(x.shape))
        if tuple(target.shape) != expected:
            raise fail(
                "E209",
                f"the target's shape is {render_shape(tuple(target.shape))},"
                f" the output's is {render_shape(expected)}",
                help="pairs of pictures of one size, and a network that keeps it, are what training needs",
            )
        self._fitting.add((x.shape, target.shape))
        return x, target

    def at_work(self, shape: tuple[int, ...]) -> AbstractContextManager[None]:
        """For a whole row of steps, and what is done between them, on batches of this shape: leaves torch as
        many threads as other processes of a divided step leave cores."""
        return self._team.at_work(shape) if self._team else nullcontext()

    def processes(self, shape: tuple[int, ...]) -> int:
        """How many share a step on batches of this shape."""
        return len(self._team.shares(shape)) if self._team else 1

    def gather(self, shape: tuple[int, ...]) -> None:
        """Waits for the processes that will share steps on batches of this shape; a step never does."""
        if self._team:
            self._team.wait(shape)

    def measure_helpers(self) -> int:
        """Bytes that other processes take for their part of a step like the last, besides torch's code."""
        return self._team.measure() if self._team else 0

    def _step(self, x: Tensor, target: Tensor) -> float:
        if self._params.own():
            self._bind()
        self._grads.own()
        loss = self._whole_step(x, target)
        if loss is not None:
            return float(loss)
        recipe, mode = self.spec.train.loss.at(self.progress), Mode(True, self._generator)
        grads, state = self._grads, self._optimizer_state
        grads.flat.zero_()
        if self._team:
            with torch.inference_mode():  # where operators are called faster
                value = self._team.step(self._params, self._tensors, x, target, recipe, mode, grads)
        else:
            loss, changed = self._engine.step(self._tensors, x, target, recipe, mode, grads.by_node)
            self._update_buffers(changed)
            value = float(loss)
        self._steps += 1
        with torch.inference_mode(), denormals_are_zero():
            self.spec.train.optimizer.update(self._params.stepped, grads.stepped, state, self._steps)
        return value

    def _whole_step(self, x: Tensor, target: Tensor) -> Tensor | None:
        """The loss, after a step that the engine took in one go; None where it does not."""
        if not isinstance(self._engine, CompiledEngine) or self.processes(tuple(x.shape)) > 1:
            return None
        taken = self._engine.whole_step(
            self._params.stepped, self._optimizer_state, self._grads.stepped,
            self._buffers, x, target, self.spec.train.loss.at(self.progress), Mode(True, self._generator),
            self.spec.train.optimizer, self._steps + 1,
        )  # fmt: skip
        if taken is None:
            return None
        loss, changed = taken
        self._update_buffers(changed)
        self._steps += 1
        return loss

    def _forward(self, x: Tensor, *, keep: bool) -> tuple[Tensor, Any]:
        """A forward pass in the model's mode; running statistics follow it."""
        mode = Mode(self.training, self._generator)
        y, kept, changed = self._engine.forward(self._tensors, x, mode, keep=keep)
        self._update_buffers(changed)
        return y, kept

    def _update_buffers(self, changed: Mapping[str, Mapping[str, Tensor]]) -> None:
        for node, buffers in changed.items():
            self._buffers[node].update(buffers)
            self._tensors[node].update(buffers)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the output for batches of a shape that fits."""
        found = concrete(self.graph.shapes[self.graph.output], self._values(shape))
        assert found is not None, "the size contract lets through only what every layer accepts"
        return found

    def _values(self, shape: tuple[int, ...]) -> dict[str, int]:
        """The symbols of the input shape."""
        return {
            dim.symbol: size
            for dim, size in zip(self.graph.input_shape, shape, strict=True)
            if not isinstance(dim, int)
        }

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

    def _check_conditions(self, x: Tensor, *, training: bool) -> None:
        """Raises DiagnosticError where a layer would get a single value and needs several."""
        values = self._values(tuple(x.shape))
        for condition in self.graph.conditions:
            if (training or not condition.training) and condition.broken(values):
                received = " × ".join(map(str, x.shape))
                raise fail(
                    "E208", f"x: {condition}; received {received}", help="use larger pictures or batches"
                )

    # -- parameters and state -----------------------------------------------------------------------------

    def parameters(self) -> dict[str, Tensor]:
        """The parameters by name (`conv1.weight`), in torch's layout.

        They are those in use: a change in place takes effect. A step replaces them; the old ones stay as
        they are.
        """
        return self._params.lend()

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """What each node computes with, by the layer's own names: parameters, own or shared, and buffers."""
        self._params.lend()
        return {node: dict(own) for node, own in self._tensors.items()}

    def gradients(self) -> dict[str, Tensor]:
        """The accumulated gradients, under the parameters' names; later calls leave these tensors alone."""
        return self._grads.lend()

    def zero_grad(self) -> None:
        """Sets every gradient to 0."""
        self._grads.own()
        self._grads.flat.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of the parameters and of running statistics, by name."""
        return {name: tensor.clone() for name, tensor in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        return {**named(self._params.by_node), **named(self._buffers)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copies values into the parameters and running statistics.

        Raises:
            ValueError: names or shapes differ; nothing has been changed then.
        """
        check_state({name: tuple(tensor.shape) for name, tensor in self._state().items()}, state)
        self._params.own()
        for node, buffers in self._buffers.items():
            self._buffers[node] = {name: tensor.clone() for name, tensor in buffers.items()}
        self._bind()
        for name, tensor in self._state().items():
            tensor.copy_(state[name].detach())

    def optimizer_state(self) -> dict[str, Any]:
        """Copies of what the optimiser remembers, `NAME:KEY` → tensor, and the number of steps taken.

        With it goes the state of the random numbers that layers draw in training: what an exact continuation
        needs besides `state_dict`.
        """
        tensors = {name: tensor.clone() for name, tensor in self._optimizer_tensors().items()}
        return {"steps": self._steps, "generator": self._generator.get_state(), **tensors}

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}:{key}": tensor
            for key, flat in self._optimizer_state.items()
            for name, tensor in named(self._params.views(flat)).items()
        }

    def generator_state(self) -> Tensor:
        """The state of the generator that layers such as Dropout draw from in training."""
        return self._generator.get_state()

    def load_optimizer_state(self, state: Mapping[str, Any]) -> None:
        """Restores `optimizer_state()`.

        Raises:
            ValueError: it belongs to another network or optimiser.
        """
        own = self._optimizer_tensors()
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        beside = ("steps", "generator")
        check_state(shapes, {name: tensor for name, tensor in state.items() if name not in beside})
        for name, tensor in own.items():
            tensor.copy_(state[name])
        self._steps = int(state["steps"])
        self._generator.set_state(state["generator"])

    @property
    def measures(self) -> bool:
        """Whether the engine chooses by measuring."""
        return isinstance(self._engine, OptimizedEngine) and self._engine.tuner is not None

    @property
    def engine(self) -> str:
        """The name of the engine at work."""
        return self._engine.name

    @property
    def precision(self) -> str:
        """Of its training steps, as `train.precision` has it."""
        engine = self._engine
        mixed = isinstance(engine, CompiledEngine) and engine.compiles and engine.precision.mixed
        return "bf16-mixed" if mixed else "full"

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """W501 when the engine is the compiled one and gave way, W502 when a helper is gone, W503 when
        half precision was asked for and steps are taken in full."""
        found = *getattr(self._engine, "warnings", ()), *(self._team.warnings if self._team else ())
        if self._wanted_precision == self.precision:
            return found
        return *found, in_full(self.spec, self._wanted_precision, self.engine, self.dtype)

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


def _buffers(node: ShapedNode, kind: dtype, place: device) -> dict[str, Tensor]:
    return {
        buffer.name: torch.full(
            buffer.shape, buffer.value, device=place, dtype=torch.int64 if buffer.integer else kind
        )
        for buffer in node.buffers
    }
