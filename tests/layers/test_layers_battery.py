"""Every layer against its torch.nn twin, from the registry and each file's own cases. No per-layer code.

Both forms of a layer are tested: the class on its own (its constructor, its stack, its `.grad`s) and the pure
functions of its spec, which the executors call.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from layer_pairs import (
    BAD_CASES,
    SPECS,
    Pair,
    as_tuple,
    assert_close,
    every_case,
    flat_tensors,
    label,
    make_input,
    make_spec,
    module_type,
    run_twin,
    twin_class,
)
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from n2nspec.geometry import ShapeError
from n2nspec.layers import LAYERS, LayerSpec
from n2nspec.layers._base import BadCase, Case, Needs, Saved
from n2nspec.layers._composite import CompositeSpec

# torch's own layer says so once a process, for any "same" padding that is uneven
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


# -- the cases themselves -----------------------------------------------------------------------------


@pytest.mark.parametrize("spec_type", SPECS, ids=label)
def test_every_layer_brings_cases_a_class_and_descriptions(spec_type: type[LayerSpec]) -> None:
    assert spec_type.CASES, f"{spec_type.__name__} has no CASES"
    assert issubclass(spec_type, CompositeSpec) or spec_type.twin.startswith("torch.nn.")
    if set(spec_type.model_fields) - {"type"}:
        assert spec_type.BAD_CASES, f"{spec_type.__name__} takes arguments but refuses none in BAD_CASES"
    if spec_type.spatial:
        assert {len(case.inputs[0]) for case in spec_type.CASES} == {3, 4}, "a batch and a single picture"
    assert any(not case.contiguous for case in spec_type.CASES), "a strided input"
    assert any(1 in case.inputs[0][:1] for case in spec_type.CASES) or not spec_type.spatial, "batch 1"
    for name, field in spec_type.model_fields.items():
        assert name == "type" or field.description, f"{name} has no description"
    assert module_type(spec_type).__doc__


# -- values and gradients -----------------------------------------------------------------------------


@every_case
def test_forward_and_backward_equal_torch(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    xs = pair.inputs()
    y, gy, gxs = pair.torch_gradients(xs, pair.cotangent)
    # a layer with inplace writes into what it gets
    assert_close(pair.module.forward(*(x.clone() for x in xs)), y, "output")
    for ours, theirs in zip(as_tuple(pair.module.backward(gy)), gxs, strict=True):
        assert_close(ours, theirs, "gradient of the input")
    pair.check_parameters()


@every_case
def test_pure_functions_equal_torch_and_change_nothing(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case, seed=1)
    xs = pair.inputs()
    y, gy, gxs = pair.torch_gradients(xs, pair.cotangent)
    params = pair.module.state_dict()
    arguments = [*xs, gy, *params.values()]
    before = [tensor.clone() for tensor in arguments]

    ours, saved = pair.spec.forward(params, *xs)
    kept = [tensor.clone() for tensor in flat_tensors(saved)]
    grads, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    again, gparams_again = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))

    assert_close(ours, y, "output")
    for g, again_g, theirs in zip(grads, again, gxs, strict=True):
        assert g is not None
        assert again_g is not None
        assert_close(g, theirs, "gradient of the input")
        assert torch.equal(g, again_g)
    assert gparams.keys() == params.keys()
    for name, p in pair.twin.named_parameters():
        assert p.grad is not None
        assert_close(gparams[name], p.grad, f"gradient of {name}")
        assert torch.equal(gparams[name], gparams_again[name])
    for tensor, copy in zip([*arguments, *flat_tensors(saved)], [*before, *kept], strict=True):
        assert torch.equal(tensor, copy), "an argument was changed"


@every_case
def test_gradients_that_nobody_needs_are_left_out(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    xs, params = pair.inputs(), pair.module.state_dict()
    y, saved = pair.spec.forward(params, *xs)
    gy = pair.cotangent(y)
    _, every = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(False,) * len(xs)))
    assert gxs == (None,) * len(xs)
    assert gparams.keys() == every.keys()
    assert all(torch.equal(gparams[name], every[name]) for name in every)
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs), parameters=False))
    assert not gparams
    assert all(g is not None for g in gxs)


@every_case
def test_gradients_equal_finite_differences(spec_type: type[LayerSpec], case: Case) -> None:
    """Along random directions: (f(x + εd) - f(x - εd)) / 2ε against ⟨gradient, d⟩."""
    pair = Pair(spec_type, case, seed=2)
    xs, params = pair.inputs(), pair.module.state_dict()
    y, saved = pair.spec.forward(params, *xs)
    gy = pair.cotangent(y)
    gxs, gparams = pair.spec.backward(params, saved, gy, Needs(inputs=(True,) * len(xs)))
    step = 1e-6
    for direction in range(3):
        dxs = [pair.cotangent(x) for x in xs]
        dparams = {name: pair.cotangent(p) for name, p in params.items()}

        def value(t: float, dxs: list[Tensor] = dxs, dparams: dict[str, Tensor] = dparams) -> float:
            moved = {name: p + t * dparams[name] for name, p in params.items()}
            out, _ = pair.spec.forward(moved, *(x + t * d for x, d in zip(xs, dxs, strict=True)))
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
    spec_type: type[LayerSpec], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(spec_type, case)
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
    for tensor in (y, *gx, *(g for _, g in pair.module.param())):
        assert tensor.grad_fn is None
        assert not tensor.requires_grad


# -- the shell ----------------------------------------------------------------------------------------


@every_case
def test_gradients_accumulate_and_zero_grad_clears_them(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    xs = pair.inputs()
    _, gy, _ = pair.torch_gradients(xs, pair.cotangent)
    same = pair.module.param()
    for _ in range(2):
        pair.module.forward(*(x.clone() for x in xs))
        pair.module.backward(gy)
    pair.check_parameters(factor=2.0)
    pair.module.zero_grad()
    for (p, g), (p_before, g_before) in zip(pair.module.param(), same, strict=True):
        assert p is p_before
        assert g is g_before
        assert p.grad is g
        assert not g.any()


@every_case
def test_a_layer_used_twice_remembers_both(spec_type: type[LayerSpec], case: Case) -> None:
    """Two forwards, then their backwards in reverse order."""
    pair = Pair(spec_type, case)
    first, second = pair.inputs(), pair.inputs()
    _, gy_first, gx_first = pair.torch_gradients(first, pair.cotangent)
    _, gy_second, gx_second = pair.torch_gradients(second, pair.cotangent)
    pair.module.forward(*(x.clone() for x in first))
    pair.module.forward(*(x.clone() for x in second))
    for gy, gxs in ((gy_second, gx_second), (gy_first, gx_first)):
        for ours, theirs in zip(as_tuple(pair.module.backward(gy)), gxs, strict=True):
            assert_close(ours, theirs, "gradient of the input")
    pair.check_parameters()
    with pytest.raises(RuntimeError, match="no forward pass is waiting"):
        pair.module.backward(gy_first)


@every_case
def test_a_gradient_of_another_shape_is_refused(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    y = pair.module.forward(*pair.inputs())
    with pytest.raises(ValueError, match="expected a gradient of shape"):
        pair.module.backward(torch.ones((*y.shape, 2), dtype=torch.float64))
    pair.module.backward(torch.ones_like(y))  # it still waits


@every_case
def test_float32_stays_float32(spec_type: type[LayerSpec], case: Case) -> None:
    module = module_type(spec_type)(**case.fields)
    generator = torch.Generator().manual_seed(0)
    xs = tuple(make_input(shape, case, generator).float() for shape in case.inputs)
    y = module.forward(*xs)
    gxs = as_tuple(module.backward(torch.ones_like(y)))
    assert {tensor.dtype for tensor in (y, *gxs, *sum(module.param(), ()))} == {torch.float32}


@every_case
def test_batch_members_do_not_see_each_other(spec_type: type[LayerSpec], case: Case) -> None:
    """A batch of pictures gives what the pictures give one by one."""
    spec = make_spec(spec_type, case)
    if not spec.spatial or len(case.inputs[0]) != 4:
        return
    pair = Pair(spec_type, case)
    (x,) = pair.inputs()
    y = pair.module.forward(x)
    gy = pair.cotangent(y)
    gx = pair.module.backward(gy)
    for i in range(len(x)):
        assert_close(pair.module.forward(x[i]), y[i], "picture alone")
        assert_close(pair.module.backward(gy[i]), gx[i], "its gradient")


def shared_arguments(spec_type: type[LayerSpec]) -> tuple[list[str], list[str]]:
    ours = list(inspect.signature(module_type(spec_type)).parameters)
    theirs = [p for p in inspect.signature(twin_class(spec_type).__init__).parameters if p != "self"]
    return [a for a in ours if a in theirs], [a for a in theirs if a in ours]


@pytest.mark.parametrize("spec_type", [s for s in SPECS if s.twin], ids=label)
def test_arguments_have_torchs_order(spec_type: type[LayerSpec]) -> None:
    ours, theirs = shared_arguments(spec_type)
    assert ours == theirs
    fields = {f for f in spec_type.model_fields if f != "type"} | set(spec_type.inferred)
    assert fields <= set(ours), "a field that the twin's constructor does not know"


@pytest.mark.parametrize("spec_type", [s for s in SPECS if s.twin], ids=label)
def test_defaults_are_torchs(spec_type: type[LayerSpec]) -> None:
    """A twin made without the optional arguments and one made with our defaults are the same."""
    case = spec_type.CASES[0]
    required = [f for f, info in spec_type.model_fields.items() if info.is_required()]
    spec = spec_type(**{f: case.fields[f] for f in required})
    given = [case.inputs[0][spec.inferred_axis] for _ in spec.inferred]
    given += [case.fields[f] for f in required]
    defaults = {f: getattr(spec, f) for f in spec.twin_fields() if f not in required}
    twin_type = twin_class(spec_type)
    assert repr(twin_type(*given)) == repr(twin_type(*given, **defaults))


@every_case
def test_shapes_are_predicted(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    spec = pair.spec
    y = run_twin(spec, pair.twin, *pair.inputs())
    assert spec.infer(case.inputs) == tuple(y.shape)
    parameters = {p.name: p.shape for p in spec.parameters(case.inputs)}
    assert parameters == {name: tuple(p.shape) for name, p in pair.twin.named_parameters()}


@every_case
def test_saved_memory_is_predicted(spec_type: type[LayerSpec], case: Case) -> None:
    """What forward really keeps is what `saves` says: the same tensors by address, the same bytes."""
    pair = Pair(spec_type, case)
    xs = pair.inputs()
    y, saved = pair.spec.forward(pair.module.state_dict(), *xs)
    known = {x.data_ptr(): Saved(of="input", index=i) for i, x in enumerate(xs) if x.numel()}
    known |= {y.data_ptr(): Saved(of="output")} if y.numel() and y.data_ptr() not in known else {}
    found, own_bytes = set(), 0
    for tensor in {t.data_ptr(): t for t in flat_tensors(saved) if t.numel()}.values():
        if tensor.data_ptr() in known:
            found.add(known[tensor.data_ptr()])
        else:
            own_bytes += tensor.untyped_storage().nbytes()
    predicted = pair.spec.saves(case.inputs, tuple(y.shape))
    if y.numel() and xs[0].numel():
        assert found == {entry for entry in predicted if entry.of != "own"}
    assert own_bytes == sum(
        entry.size * (entry.item_bytes or y.element_size()) for entry in predicted if entry.of == "own"
    )


@pytest.mark.parametrize(("spec_type", "case"), BAD_CASES, ids=label)
def test_bad_cases_are_refused(spec_type: type[LayerSpec], case: BadCase) -> None:
    """The class raises ValueError; so do torch (any error) and, for shapes, the spec's own rule."""
    if case.inputs is None:
        with pytest.raises(ValueError, match=case.match):
            module_type(spec_type)(**case.fields)
        return
    module = module_type(spec_type)(**case.fields)
    with pytest.raises(ValueError, match=case.match):
        module.forward(*(torch.zeros(shape) for shape in case.inputs))
    spec = make_spec(spec_type, case)
    if not case.match.startswith("expects ") or case.match == "expects pictures":
        # other sizes of the inferred axis make another layer, no mistake
        with pytest.raises(ShapeError):
            spec.infer(case.inputs)
    if spec.twin:
        twin = twin_class(spec_type)(*(case.fields[name] for name in spec.inferred), **spec.twin_fields())
        with pytest.raises((RuntimeError, ValueError, TypeError, NotImplementedError, IndexError)):
            run_twin(spec, twin, *(torch.zeros(shape) for shape in case.inputs))


@every_case
def test_macs_are_what_torch_counts(spec_type: type[LayerSpec], case: Case) -> None:
    pair = Pair(spec_type, case)
    with FlopCounterMode(display=False) as counter:
        y = run_twin(pair.spec, pair.twin, *pair.inputs())
    assert 2 * pair.spec.macs(case.inputs, tuple(y.shape)) == counter.get_total_flops()
    assert pair.spec.workspace(case.inputs, tuple(y.shape)) >= 0
