"""Every gradient of a spec against torch autograd and against finite differences, in float64.

In: a spec. Out: a report with one row a tensor: each layer on the input shape that it really has, the loss,
the whole network with its loss, and 100 steps of the optimiser on some 10,000 parameters. Cotangents are
random: an all-ones one hides errors whose sum is zero. Pictures are as small as the size contract allows from
32 pixels on, two a batch.

A layer without a counterpart in torch.nn, as a plugin's may be, is left to finite differences, and so is the
network around it; the report says so.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from n2nspec.compiler import plan
from n2nspec.diagnostics import DiagnosticError, fail
from n2nspec.geometry import Symbolic, concrete
from n2nspec.graph import ShapedGraph, ShapedNode
from n2nspec.graph.places import at
from n2nspec.layers._base import Mode, Needs, run
from n2nspec.oracle.compare import difference, slope_difference
from n2nspec.oracle.report import Method, VerifyReport, VerifyRow
from n2nspec.oracle.twin import counterpart, drawing, has_twin, layer_twin, loss_twin, quiet, twin
from n2nspec.runtime import Model, compile, reference
from n2nspec.spec import Spec

__all__ = ["AUTOGRAD_TOLERANCE", "OPTIMIZER_STEPS", "SLOPE_TOLERANCE", "verify"]

AUTOGRAD_TOLERANCE = 1e-8
"""The source report's own precision; float64 leaves about 1e-13."""
SLOPE_TOLERANCE = 1e-6
"""Central differences in float64 leave 1e-9 or less; a wrong gradient is off by 1e-2 or more."""
OPTIMIZER_STEPS = 100
OPTIMIZER_NUMBERS = 10_000
"""Parameters that are updated, or one of each tensor: an update is elementwise, so more show nothing more."""
PICTURE = 32
BATCH = 2
NOISE_FLOOR = 1e-5
"""A gradient this much smaller than the largest beside it is judged on the scale of that one: float64 rounds
to 1e-16 of the values that are summed, not of a sum that may cancel. That of a bias before a normalisation is
0 but for rounding; 1e-8 of this floor is 1e-13 of the largest gradient. The output of a normalisation is
judged beside its input alike: of a single value it is 0 but for rounding, too."""


def verify(spec: Spec, *, seed: int = 0, say: Callable[[str], None] = lambda part: None) -> VerifyReport:
    """Compares the hand-written gradients of a spec with autograd's (1e-8) and with slopes (1e-6).

    Args:
        spec: from `n2nspec.load`.
        seed: of weights, pictures, cotangents and directions.
        say: told what is being compared: a node's name, "loss", "network" or "optimizer".

    Raises:
        DiagnosticError: the spec's graph does not fit together, or E208: no picture can train it.
    """
    model = compile(spec, engine="reference", dtype="float64", seed=seed)
    graph = model.graph
    values = _sizes(graph)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in graph.shapes.items():
        numbers = concrete(shape, values)
        assert numbers is not None, f"the size contract lets through {values}, which {name} refuses"
        shapes[name] = numbers
    check = _Checker(model, shapes, seed)
    parts: list[tuple[str, Callable[[], Iterator[VerifyRow]]]] = [
        *((node.name, partial(check.layer, node)) for node in graph.nodes),
        ("loss", check.loss), ("network", check.network), ("optimizer", check.optimizer),
    ]  # fmt: skip
    rows: list[VerifyRow] = []
    for name, compared in parts:
        say(name)
        rows += compared()
    notes = tuple(
        f"{node.name}: {node.layer.type} names no counterpart in torch.nn; its gradients and the network's"
        " are compared with finite differences only"
        for node in graph.nodes
        if not has_twin(node.layer)
    )
    return VerifyReport(
        spec=spec.name, input_shape=shapes[graph.input_name], seed=seed, rows=tuple(rows), notes=notes
    )


def _sizes(graph: ShapedGraph) -> dict[str, int]:
    """A small value for each symbol of the input: two pictures, 32 pixels or a little more."""
    batch = graph.input_shape[0] if len(graph.input_shape) in (2, 4) else None
    values = {}
    for symbol, sizes in graph.sizes.items():
        wanted = BATCH if isinstance(batch, Symbolic) and batch.symbol == symbol else PICTURE
        size = sizes.at_least(wanted) or sizes.maximum
        if size is None:
            raise fail("E207", f"no value of {symbol} satisfies the graph", file=graph.spec.source_file)
        values[symbol] = size
    larger = graph.enlarged(values, graph.sizes, training=True)
    if larger is None:
        condition = graph.broken(values, training=True)
        assert condition is not None, "else there was nothing to enlarge"
        raise DiagnosticError([
            at(
                graph.spec, graph.by_name[condition.node].path, "E208",
                f"nothing to verify: {condition}", show="name",
                help="put it where the picture is larger, or leave it out",
            )
        ])  # fmt: skip
    return larger


_Slot = tuple[str, Tensor, Tensor | None, Tensor | None]
"""What it is, the tensor, our gradient of it, and torch's (None where there is no counterpart)."""


class _Checker:
    """Draws the numbers and makes the rows; everything in float64 on the CPU."""

    def __init__(self, model: Model, shapes: Mapping[str, tuple[int, ...]], seed: int) -> None:
        self.model = model
        self.graph = model.graph
        self.shapes = shapes
        self.generator = torch.Generator().manual_seed(seed)

    def _randn(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=self.generator)

    def _rand(self, shape: tuple[int, ...]) -> Tensor:
        """Numbers like pixels, kept from 0 and 1, where the logarithm of a loss would end."""
        return torch.rand(shape, dtype=torch.float64, generator=self.generator) * 0.9 + 0.05

    def layer(self, node: ShapedNode) -> Iterator[VerifyRow]:
        """A node's pure functions, in training and, where that differs, in evaluation."""
        tensors = {key: tensor.clone() for key, tensor in self.model.tensors()[node.name].items()}
        changed = yield from self._layer(node, tensors, training=True)
        if node.layer.is_modal():
            yield from self._layer(node, {**tensors, **changed}, training=False)

    def _layer(
        self, node: ShapedNode, tensors: dict[str, Tensor], *, training: bool
    ) -> Generator[VerifyRow, None, dict[str, Tensor]]:
        """Forward, input gradients and parameter gradients in one mode; returns the buffers that change."""
        layer = node.layer
        xs = [self._randn(self.shapes[name]) for name in node.inputs]
        draws = self._draws()
        y, saved, changed = run(layer, tensors, tuple(xs), Mode(training, draws()))
        gy = self._randn(self.shapes[node.name])
        gxs, gparams = layer.backward(tensors, saved, gy, Needs(inputs=(True,) * len(xs)))
        mode = "" if training else " in evaluation"

        theirs: dict[int | str, Tensor] = {}
        if has_twin(layer):
            module = layer_twin(layer, tuple(self.shapes[name] for name in node.inputs)).to(torch.float64)
            module.load_state_dict(tensors)
            module.train(training)
            with drawing(draws()):
                y_theirs, theirs = _autograd(module, xs, gy)
            floor = self._output_floor([node], xs)
            yield self._row(node.name, layer.type, f"forward{mode}", y, y_theirs, floor=floor)
            buffers = dict(module.named_buffers())
            for key, tensor in changed.items():
                yield self._row(node.name, layer.type, f"{key} after it", tensor, buffers[key])

        inputs = {_input_label(i, len(xs)): (x, gxs[i]) for i, x in enumerate(xs)}
        slots = [
            (f"{label} gradient{mode}", x, g, theirs.get(i))
            for i, (label, (x, g)) in enumerate(inputs.items())
        ]
        names = tensors.keys() - {buffer.name for buffer in node.buffers}
        slots += [
            (f"{key} gradient{mode}", tensors[key], gparams.get(key), theirs.get(key))
            for key in tensors
            if key in names
        ]

        def output() -> float:
            return float((run(layer, tensors, tuple(xs), Mode(training, draws()))[0] * gy).sum())

        yield from self._gradients(node.name, layer.type, slots, output)
        return changed

    def _output_floor(self, nodes: Iterable[ShapedNode], xs: Iterable[Tensor]) -> float:
        """The least scale of an output; only a normalisation makes 0 of any input, a single value a group."""
        shapes = self.graph.shapes
        normalises = any(node.layer.several(tuple(shapes[name] for name in node.inputs)) for node in nodes)
        return NOISE_FLOOR * _largest(xs) if normalises else 0.0

    def _draws(self) -> Callable[[], torch.Generator]:
        """Makes generators that all draw the same numbers."""
        state = self.model.generator_state()

        def same() -> torch.Generator:
            generator = torch.Generator()
            generator.set_state(state)
            return generator

        return same

    def loss(self) -> Iterator[VerifyRow]:
        """The loss alone, on the network's output shape."""
        loss = self.model.spec.train.loss
        shape = self.shapes[self.graph.output]
        prediction, target = self._rand(shape), self._rand(shape)
        value, saved = loss.forward(prediction, target)
        g = self._randn(())
        gradient = loss.backward(saved, g)
        value_theirs, theirs = _autograd(lambda x: loss_twin(loss)(x, target), [prediction], g)
        yield self._row("loss", loss.type, "forward", value, value_theirs)

        def output() -> float:
            return float(loss.forward(prediction, target)[0] * g)

        slots: list[_Slot] = [("input gradient", prediction, gradient, theirs[0])]
        yield from self._gradients("loss", loss.type, slots, output)

    def network(self) -> Iterator[VerifyRow]:
        """Forward, then loss and network backwards, with our executor and with autograd."""
        model, loss = self.model, self.model.spec.train.loss
        draws, schedule = self._draws(), plan(self.graph, input_gradient=True)
        before = model.state_dict()
        title = model.spec.name
        x = self._rand(self.shapes[self.graph.input_name])
        target = self._rand(self.shapes[self.graph.output])
        model.train().zero_grad()
        y = model.forward(x)
        value, saved = loss.forward(y, target)
        g = self._randn(())
        gx = model.backward(loss.backward(saved, g))
        gradients = {name: gradient.clone() for name, gradient in model.gradients().items()}

        theirs: dict[int | str, Tensor] = {}
        if all(has_twin(node.layer) for node in self.graph.nodes):
            module = twin(self.graph, torch.float64)
            module.load_state_dict(before)
            with torch.no_grad(), quiet(), drawing(draws()):
                y_theirs = module(x)
            with drawing(draws()):
                value_theirs, theirs = _autograd(
                    module, [x], g, loss=lambda out: loss_twin(loss)(out, target)
                )
            floor = self._output_floor(self.graph.nodes, [x])
            yield self._row("network", title, "forward", y, y_theirs, floor=floor)
            yield self._row("network", title, "loss", value, value_theirs)

        params = model.parameters()
        slots: list[_Slot] = [("input gradient", x, gx, theirs.get(0))]
        slots += [(f"{key} gradient", params[key], gradients[key], theirs.get(key)) for key in params]

        def output() -> float:
            y, _ = reference.forward(schedule, model.tensors(), x, Mode(True, draws()), keep=False)
            return float(loss.forward(y, target)[0] * g)

        yield from self._gradients("network", title, slots, output)

    def optimizer(self) -> Iterator[VerifyRow]:
        """The same 100 random gradients for our update rule and for torch.optim's."""
        optimizer = self.model.spec.train.optimizer
        params = self.model.parameters()
        if not params:
            return
        share = max(1, OPTIMIZER_NUMBERS // len(params))
        ours = {name: tensor.flatten()[:share].clone() for name, tensor in params.items()}
        theirs = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in ours.items()}
        reference = counterpart(optimizer.twin)(list(theirs.values()), **optimizer.twin_fields())
        states = {name: optimizer.init_state(tensor) for name, tensor in ours.items()}
        # units that never fire have gradient 0 throughout: there Adam's epsilon decides
        alive = {name: self._randn(tuple(tensor.shape)) > -1 for name, tensor in ours.items()}
        worst: dict[str, VerifyRow] = {}
        for step in range(1, OPTIMIZER_STEPS + 1):
            size = float(10 ** (self._rand(()) * 4 - 3))  # gradients shrink and grow by orders of magnitude
            for name, tensor in ours.items():
                gradient = self._randn(tuple(tensor.shape)) * alive[name] * size
                theirs[name].grad = gradient.clone()
                optimizer.update(tensor, gradient, states[name], step)
            reference.step()
            for name, tensor in ours.items():
                what = f"{name} after {OPTIMIZER_STEPS} steps"
                expected = theirs[name].detach()
                row = self._row("optimizer", optimizer.type, what, tensor, expected, "torch.optim")
                if name not in worst or not row.relative <= worst[name].relative:
                    worst[name] = row
        yield from worst.values()

    def _row(
        self,
        name: str,
        type: str,
        what: str,
        ours: Tensor,
        theirs: Tensor,
        method: Method = "autograd",
        floor: float = 0.0,
    ) -> VerifyRow:
        error = difference(ours, theirs, floor)
        return VerifyRow(
            name=name, type=type, what=what, method=method, absolute=error.absolute, relative=error.relative,
            tolerance=AUTOGRAD_TOLERANCE, note=error.note,
        )  # fmt: skip

    def _gradients(
        self,
        name: str,
        type: str,
        slots: Sequence[_Slot],
        output: Callable[[], float],
    ) -> Iterator[VerifyRow]:
        """Two rows a slot, or without torch's gradient one; `output` reads the tensor in place."""
        known = [ours if theirs is None else theirs for *_, ours, theirs in slots]
        largest = _largest(g for g in known if g is not None)
        longest = max((float(torch.linalg.vector_norm(g)) for g in known if g is not None), default=0.0)
        for what, tensor, ours, theirs in slots:
            if ours is None:
                yield VerifyRow(
                    name=name, type=type, what=what,
                    method="finite differences" if theirs is None else "autograd", absolute=float("inf"),
                    relative=float("inf"), tolerance=AUTOGRAD_TOLERANCE, note="backward gave no gradient",
                )  # fmt: skip
                continue
            if theirs is not None:
                yield self._row(name, type, what, ours, theirs, floor=NOISE_FLOOR * largest)

            def at(value: Tensor, tensor: Tensor = tensor) -> float:
                before = tensor.clone()
                tensor.copy_(value)
                result = output()
                tensor.copy_(before)
                return result

            slope = slope_difference(
                at, tensor.clone(), ours, self.generator, SLOPE_TOLERANCE, floor=NOISE_FLOOR * longest
            )
            yield VerifyRow(
                name=name, type=type, what=what, method="finite differences", absolute=slope.absolute,
                relative=slope.relative, tolerance=SLOPE_TOLERANCE, note=slope.note,
            )  # fmt: skip


def _largest(tensors: Iterable[Tensor]) -> float:
    """The largest absolute value."""
    return max((float(tensor.abs().max()) for tensor in tensors if tensor.numel()), default=0.0)


def _input_label(index: int, count: int) -> str:
    return "input" if count == 1 else f"input {index + 1}"


def _autograd(
    function: Callable[..., Tensor],
    xs: list[Tensor],
    gy: Tensor,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, dict[int | str, Tensor]]:
    """The output (after `loss`) and autograd's gradients: of input i under i, of a parameter by name."""
    with torch.enable_grad(), quiet():
        inputs = [x.clone().requires_grad_() for x in xs]
        y = function(*inputs)
        y = y if loss is None else loss(y)
        params = dict(function.named_parameters()) if isinstance(function, torch.nn.Module) else {}
        wanted = [*inputs, *params.values()]
        gradients = torch.autograd.grad(y, wanted, gy, allow_unused=True, materialize_grads=True)
    keys: list[int | str] = [*range(len(xs)), *params]
    return y.detach(), dict(zip(keys, gradients, strict=True))
