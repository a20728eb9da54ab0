"""Every layer against its torch.nn twin, from the registry and each file's own cases. No per-layer code.

Both forms of a layer are tested: the class on its own (its constructor, its stack, its `.grad`s) and the pure
functions of its spec, which the executors call; in training and, where that differs, in evaluation.
"""

from __future__ import annotations

import pytest
import torch
from layer_pairs import (
    BAD_CASES,
    SPECS,
    Pair,
    accepts_rank,
    as_tuple,
    assert_close,
    every_case,
    flat_tensors,
    inferred,
    label,
    make_spec,
    mixes_batch,
    module_type,
    refusal,
    run_twin,
    twin_class,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from n2nspec.geometry import ShapeError
from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers._base import BadCase, Case, Needs, Saved, buffers, run
from n2nspec.layers._composite import CompositeSpec

# torch's own layer says so once a process, for any "same" padding that is uneven
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


# -- the cases themselves -----------------------------------------------------------------------------


@pytest.mark.parametrize("spec_type", SPECS, ids=label)
def test_every_layer_brings_cases_a_class_and_descriptions(spec_type: type[LayerSpec]) -> None:
    assert spec_type.CASES, f"{spec_type.__name__} has no CASES"
    assert issubclass(spec_type, CompositeSpec) or spec_type.twin.startswith(("torch.nn.", "n2nspec.oracle."))
    if set(spec_type.model_fields) - {"type"}:
        assert spec_type.BAD_CASES, f"{spec_type.__name__} takes arguments but refuses none in BAD_CASES"
    if spec_type.spatial:
        spec = make_spec(spec_type, spec_type.CASES[0])
        ranks = {rank for rank in (3, 4) if accepts_rank(spec, rank)}
        assert {len(case.inputs[0]) for case in spec_type.CASES} >= ranks, "a batch and a single picture"
    assert all(len(case.inputs) >= spec_type.arity for case in spec_type.CASES)
    assert any(not case.contiguous for case in spec_type.CASES), "a strided input"
    assert any(1 in case.inputs[0][:1] for case in spec_type.CASES) or not spec_type.spatial, "batch 1"
    for name, field in spec_type.model_fields.items():
        assert name == "type" or field.description, f"{name} has no description"
    assert module_type(spec_type).__doc__


# -- values and gradients -----------------------------------------------------------------------------


@every_case
def test_forward_and_backward_equal_torch(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    pair = Pair(spec_type, case, training)
    xs = pair.inputs()
    y, gy, gxs = pair.torch_gradients(xs, pair.cotangent)
    assert_close(pair.forward(*xs), y, "output")
    for ours, theirs in zip(as_tuple(pair.module.backward(gy)), gxs, strict=True):
        assert_close(ours, theirs, "gradient of the input")
    pair.check_parameters()
    pair.check_buffers()


@every_case
def test_pure_functions_equal_torch_and_change_nothing(
    spec_type: type[LayerSpec], case: Case, training: bool
) -> None:
    pair = Pair(spec_type, case, training, seed=1)
    xs = pair.inputs()
    y, gy, gxs = pair.torch_gradients(xs, pair.cotangent)
    params = pair.module.state_dict()
    arguments = [*xs, gy, *params.values()]
    before = [tensor.clone() for tensor in arguments]

    ours, saved, changed = run(pair.spec, params, xs, pair.mode())
    kept = [tensor.clone() for tensor in flat_tensors(saved)]
    grads, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    again, gparams_again = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))

    assert_close(ours, y, "output")
    for g, again_g, theirs in zip(grads, again, gxs, strict=True):
        assert g is not None
        assert again_g is not None
        assert_close(g, theirs, "gradient of the input")
        assert torch.equal(g, again_g)
    assert gparams.keys() == pair.module.named_parameters().keys()
    assert changed.keys() <= pair.module.named_buffers().keys()
    pair.check_buffers({name: changed.get(name, params[name]) for name in pair.module.named_buffers()})
    for name, p in pair.twin.named_parameters():
        assert p.grad is not None
        assert_close(gparams[name], p.grad, f"gradient of {name}")
        assert torch.equal(gparams[name], gparams_again[name])
    for tensor, copy in zip([*arguments, *flat_tensors(saved)], [*before, *kept], strict=True):
        torch.testing.assert_close(
            tensor, copy, rtol=0, atol=0, equal_nan=True, msg="an argument was changed"
        )


@every_case
def test_gradients_that_nobody_needs_are_left_out(
    spec_type: type[LayerSpec], case: Case, training: bool
) -> None:
    pair = Pair(spec_type, case, training)
    xs, params = pair.inputs(), pair.module.state_dict()
    y, saved, _ = pair.run(*xs)
    gy = pair.cotangent(y)
    _, every = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(False,) * len(xs)))
    assert gxs == (None,) * len(xs)
    assert gparams.keys() == every.keys()
    assert all(torch.equal(gparams[name], every[name]) for name in every)
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs), parameters=False))
    assert not gparams
    assert all(g is not None for g in gxs)
    for index in range(len(xs)):
        gxs, _ = pair.spec.backward(
            params, saved, gy, Needs(inputs=tuple(i == index for i in range(len(xs))))
        )
        assert [g is not None for g in gxs] == [i == index for i in range(len(xs))]


@every_case
def test_gradients_equal_finite_differences(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    """Along random directions: (f(x + εd) - f(x - εd)) / 2ε against ⟨gradient, d⟩."""
    pair = Pair(spec_type, case, training, seed=2)
    xs, params = pair.inputs(), pair.module.state_dict()
    y, saved, _ = pair.run(*xs)
    gy = pair.cotangent(y)
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    step = 1e-6
    for direction in range(3):
        dxs = [pair.cotangent(x) for x in xs]
        dparams = {name: pair.cotangent(p) for name, p in pair.module.named_parameters().items()}

        def value(t: float, dxs: list[Tensor] = dxs, dparams: dict[str, Tensor] = dparams) -> float:
            moved = {**params, **{name: params[name] + t * d for name, d in dparams.items()}}
            out, _, _ = run(
                pair.spec, moved, tuple(x + t * d for x, d in zip(xs, dxs, strict=True)), pair.mode()
            )
            return (out * gy).sum().item()

        measured = (value(step) - value(-step)) / (2 * step)
        predicted = sum((g * d).sum().item() for g, d in zip(gxs, dxs, strict=True) if g is not None)
        predicted += sum((gparams[name] * d).sum().item() for name, d in dparams.items())
        scale = max(1.0, abs(predicted), gy.abs().sum().item())
        assert abs(measured - predicted) < 1e-6 * scale, f"direction {direction}"


def test_a_perturbed_gradient_fails_the_comparison() -> None:
    """Negative control: what the battery compares with is sharp enough."""
    pair = Pair(LAYERS["Conv2d"], LAYERS["Conv2d"].CASES[0])
    xs = pair.inputs()
    _, gy, (gx,) = pair.torch_gradients(xs, pair.cotangent)
    pair.module.forward(*xs)
    ours = pair.module.backward(gy)
    assert_close(ours, gx, "gradient of the input")
    wrong = ours.clone()
    wrong[0, 0, 0, 0] += 1e-7
    with pytest.raises(AssertionError, match="off by"):
        assert_close(wrong, gx, "gradient of the input")
    with pytest.raises(AssertionError, match="shape"):
        assert_close(ours[:1], gx, "gradient of the input")
    with pytest.raises(AssertionError, match="float32"):
        assert_close(ours.float(), gx, "gradient of the input")
    pair.module.named_parameters()["bias"].grad.mul_(1 + 1e-6)
    with pytest.raises(AssertionError, match="gradient of bias"):
        pair.check_parameters()


@every_case
def test_autograd_is_never_touched(
    spec_type: type[LayerSpec], case: Case, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(spec_type, case, training)
    xs = pair.inputs()

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("autograd was used")

    monkeypatch.setattr(torch.Tensor, "backward", refuse)
    monkeypatch.setattr(torch.autograd, "grad", refuse)
    monkeypatch.setattr(torch.autograd, "backward", refuse)
    # even for inputs and parameters that ask for it, no graph is recorded
    inputs = [x.clone().requires_grad_() for x in xs] if not case.fields.get("inplace") else list(xs)
    y = pair.module.forward(*inputs)
    gx = as_tuple(pair.module.backward(torch.ones_like(y)))
    for tensor in (y, *gx, *(g for _, g in pair.module.param()), *pair.module.named_buffers().values()):
        assert tensor.grad_fn is None
        assert not tensor.requires_grad


@every_case
def test_batch_members_do_not_see_each_other(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    """A batch of pictures gives what the pictures give one by one, unless the layer says otherwise."""
    spec = make_spec(spec_type, case)
    if not spec.spatial or len(case.inputs[0]) != 4:
        return
    pair = Pair(spec_type, case, training)
    xs = pair.inputs()
    y = pair.forward(*xs)
    gy = pair.cotangent(y)
    gxs = as_tuple(pair.module.backward(gy))
    if mixes_batch(spec, training):
        others = [torch.cat((x[:1], pair.cotangent(x[1:]))) for x in xs]
        assert len(xs[0]) < 2 or not torch.equal(pair.forward(*others)[0], y[0])
        return
    alone = 0 if accepts_rank(spec, 3) else slice(0, 1)
    for i in range(len(xs[0])):
        own = [x[i : i + 1][alone] for x in xs]
        assert_close(pair.forward(*own), y[i : i + 1][alone], "picture alone")
        for ours, theirs in zip(as_tuple(pair.module.backward(gy[i : i + 1][alone])), gxs, strict=True):
            assert_close(ours, theirs[i : i + 1][alone], "its gradient")


@every_case
def test_shapes_are_predicted(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    pair = Pair(spec_type, case, training)
    spec = pair.spec
    y = run_twin(spec, pair.twin, *pair.inputs())
    assert spec.infer(case.inputs) == tuple(y.shape)
    parameters = {p.name: p.shape for p in spec.parameters(case.inputs)}
    assert parameters == {name: tuple(p.shape) for name, p in pair.twin.named_parameters()}
    stated = {b.name: (b.shape, b.integer) for b in buffers(spec, case.inputs)}
    named = pair.twin.state_dict().items()
    kept = {name: (tuple(b.shape), not b.is_floating_point()) for name, b in named if name not in parameters}
    assert stated == kept
    refusal(spec, case.inputs, training=training)


@every_case
def test_saved_memory_is_predicted(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    """What forward really keeps is what `saves` says: the same tensors by address, the same bytes.

    That is said of training; in evaluation a layer may keep less.
    """
    pair = Pair(spec_type, case, training)
    xs, params = pair.inputs(), pair.module.state_dict()
    y, saved, _ = run(pair.spec, params, xs, pair.mode())
    given = () if training else tuple(p.data_ptr() for p in params.values())
    known = {x.data_ptr(): Saved(of="input", index=i) for i, x in enumerate(xs) if x.numel()}
    known |= {y.data_ptr(): Saved(of="output")} if y.numel() and y.data_ptr() not in known else {}
    found, own_bytes = set(), 0
    for tensor in {t.data_ptr(): t for t in flat_tensors(saved) if t.numel()}.values():
        if tensor.data_ptr() in given:
            continue
        if tensor.data_ptr() in known:
            found.add(known[tensor.data_ptr()])
        else:
            own_bytes += tensor.untyped_storage().nbytes()
    predicted = pair.spec.saves(case.inputs, tuple(y.shape))
    shared = {entry for entry in predicted if entry.of != "own"}
    own = sum(entry.size * (entry.item_bytes or y.element_size()) for entry in predicted if entry.of == "own")
    if not training:
        assert found <= shared
        assert own_bytes <= own
        return
    if y.numel() and xs[0].numel():
        assert found == shared
    assert own_bytes == own


@pytest.mark.parametrize(("spec_type", "case"), BAD_CASES, ids=label)
def test_bad_cases_are_refused(spec_type: type[LayerSpec], case: BadCase) -> None:
    """The class raises ValueError; so do torch's layer (any error) and, for shapes, the spec's own rule."""
    if case.inputs is None:
        with pytest.raises(ValueError, match=case.match):
            module_type(spec_type)(**case.fields)
        return
    module = module_type(spec_type)(**case.fields)
    with pytest.raises(ValueError, match=case.match):
        module.forward(*(torch.zeros(shape) for shape in case.inputs))
    spec = make_spec(spec_type, case)
    given = {name: case.fields[name] for name in spec.inferred}
    rank, axis = len(case.inputs[0]), spec.inferred_axis
    another_layer = -rank <= axis < rank and inferred(spec, case.inputs) != given  # no mistake in a spec
    number = len(case.inputs)  # that of a node's inputs is looked at before its rule is asked
    if not another_layer and spec.arity <= number <= (spec.most_inputs or number):
        with pytest.raises(ShapeError):
            refusal(spec, case.inputs, training=True)
    if spec.twin.startswith("torch."):
        twin = twin_class(spec_type)(**given, **spec.twin_fields())
        with pytest.raises((RuntimeError, ValueError, TypeError, NotImplementedError, IndexError)):
            run_twin(spec, twin, *(torch.zeros(shape) for shape in case.inputs))


@every_case
def test_macs_are_what_torch_counts(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    pair = Pair(spec_type, case, training)
    with FlopCounterMode(display=False) as counter:
        y = run_twin(pair.spec, pair.twin, *pair.inputs())
    assert 2 * pair.spec.macs(case.inputs, tuple(y.shape)) == counter.get_total_flops()
