"""Every layer on its own, beside its torch.nn twin: the stack, the modes, the state, the constructor.

From the registry and each file's own cases, as in the battery. No per-layer code.
"""

from __future__ import annotations

import inspect

import pytest
import torch
from layer_pairs import (
    SPECS,
    Pair,
    as_tuple,
    assert_close,
    every_case,
    inferred,
    label,
    make_input,
    make_module,
    module_type,
    run_twin,
    same_draws,
    twin_class,
)

import n2nspec.layers
from n2nspec.layers import Layer, LayerSpec
from n2nspec.layers._base import Case

# torch's own layer says so once a process, for any "same" padding that is uneven
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")


@every_case
def test_gradients_accumulate_and_zero_grad_clears_them(
    spec_type: type[LayerSpec], case: Case, training: bool
) -> None:
    pair = Pair(spec_type, case, training)
    xs = pair.inputs()
    _, gy, _ = pair.torch_gradients(xs, pair.cotangent)
    same = pair.module.param()
    for _ in range(2):
        pair.forward(*xs)
        pair.module.backward(gy)
    pair.check_parameters(factor=2.0)
    pair.module.zero_grad()
    for (p, g), (p_before, g_before) in zip(pair.module.param(), same, strict=True):
        assert p is p_before
        assert g is g_before
        assert p.grad is g
        assert not g.any()


@every_case
def test_a_layer_used_twice_remembers_both(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    """Two forwards, then their backwards in reverse order. In evaluation only the newest is remembered."""
    if not training:
        return
    pair = Pair(spec_type, case, training)
    first, second = pair.inputs(), pair.inputs()
    _, gy_first, gx_first = pair.torch_gradients(first, pair.cotangent)
    _, gy_second, gx_second = pair.torch_gradients(second, pair.cotangent)
    pair.forward(*first)
    pair.forward(*second)
    for gy, gxs in ((gy_second, gx_second), (gy_first, gx_first)):
        for ours, theirs in zip(as_tuple(pair.module.backward(gy)), gxs, strict=True):
            assert_close(ours, theirs, "gradient of the input")
    pair.check_parameters()
    pair.check_buffers()
    with pytest.raises(RuntimeError, match="no forward pass is waiting"):
        pair.module.backward(gy_first)


@every_case
def test_backward_is_that_of_the_mode_in_which_forward_ran(
    spec_type: type[LayerSpec], case: Case, training: bool
) -> None:
    pair = Pair(spec_type, case, training)
    xs = pair.inputs()
    _, gy, gxs = pair.torch_gradients(xs, pair.cotangent)
    pair.forward(*xs)
    if not training:  # the other way round a forward in evaluation forgets those before it
        pair.module.train()
        pair.forward(*pair.inputs())  # moves the running statistics
        pair.module.backward(torch.zeros_like(gy))
    pair.module.train(not training)
    for ours, theirs in zip(as_tuple(pair.module.backward(gy)), gxs, strict=True):
        assert_close(ours, theirs, "gradient of the input")
    pair.check_parameters()


@every_case
def test_state_goes_round_through_torch(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    pair = Pair(spec_type, case, training)
    pair.forward(*pair.inputs())
    state = pair.module.state_dict()
    assert list(state) == list(pair.twin.state_dict())
    pair.twin.load_state_dict(state)
    other = make_module(spec_type, case)
    other.load_state_dict(pair.twin.state_dict())
    for name, tensor in other.state_dict().items():
        assert torch.equal(tensor, state[name])
        assert tensor.dtype == pair.twin.state_dict()[name].dtype
    with same_draws():
        expected = run_twin(pair.spec, pair.twin, *(xs := pair.inputs()))
    with same_draws():
        assert_close(other.train(training).forward(*xs), expected.detach(), "output")


@every_case
def test_a_gradient_of_another_shape_is_refused(
    spec_type: type[LayerSpec], case: Case, training: bool
) -> None:
    pair = Pair(spec_type, case, training)
    y = pair.module.forward(*pair.inputs())
    with pytest.raises(ValueError, match="expected a gradient of shape"):
        pair.module.backward(torch.ones((*y.shape, 2), dtype=torch.float64))
    pair.module.backward(torch.ones_like(y))  # it still waits


@every_case
def test_float32_stays_float32(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    module = module_type(spec_type)(**case.fields).train(training)
    generator = torch.Generator().manual_seed(0)
    xs = tuple(make_input(shape, case, generator).float() for shape in case.inputs)
    y = module.forward(*xs)
    gxs = as_tuple(module.backward(torch.ones_like(y)))
    tensors = (y, *gxs, *sum(module.param(), ()), *module.named_buffers().values())
    assert {tensor.dtype for tensor in tensors if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.parametrize("spec_type", SPECS, ids=label)
def test_a_wrong_number_of_inputs_is_refused(spec_type: type[LayerSpec]) -> None:
    pair = Pair(spec_type, spec_type.CASES[0])
    (x, *_) = pair.inputs()
    least, most = spec_type.arity, spec_type.most_inputs
    for number in (least - 1, *(() if most is None else (most + 1,))):
        with pytest.raises(ValueError, match=rf"expected {least} input.*received {number}$"):
            pair.module.forward(*(x,) * number)


def shared_arguments(spec_type: type[LayerSpec]) -> tuple[list[str], list[str]]:
    ours = list(inspect.signature(module_type(spec_type)).parameters)
    theirs = [p for p in inspect.signature(twin_class(spec_type).__init__).parameters if p != "self"]
    return [a for a in ours if a in theirs], [a for a in theirs if a in ours]


@pytest.mark.parametrize("spec_type", [s for s in SPECS if s.twin], ids=label)
def test_arguments_have_torchs_order(spec_type: type[LayerSpec]) -> None:
    ours, theirs = shared_arguments(spec_type)
    assert ours == theirs
    fields = {f for f in spec_type.model_fields if f != "type"} | set(spec_type.inferred)
    # what takes a keyword is too new to be in every torch
    assert fields - set(spec_type.keyword_only) <= set(ours), (
        "a field that the twin's constructor does not know"
    )


@pytest.mark.parametrize("spec_type", [s for s in SPECS if s.twin], ids=label)
def test_defaults_are_torchs(spec_type: type[LayerSpec]) -> None:
    """A twin made without the optional arguments and one made with our defaults are the same."""
    case = spec_type.CASES[0]
    required = [f for f, info in spec_type.model_fields.items() if info.is_required()]
    spec = spec_type(**{f: case.fields[f] for f in required})
    given = inferred(spec, case.inputs) | {f: case.fields[f] for f in required}
    written = spec.model_dump()  # as people write it: one number for an equal pair
    defaults = {f: written[f] for f in spec.twin_fields() if f in written and f not in required}
    same = {f: value for f, value in spec.twin_fields().items() if f not in written}
    twin_type = twin_class(spec_type)
    assert repr(twin_type(**given, **same)) == repr(twin_type(**given, **same, **defaults))


@every_case
def test_a_repr_makes_the_same_layer(spec_type: type[LayerSpec], case: Case, training: bool) -> None:
    layer = make_module(spec_type, case)
    if not isinstance(layer, Layer):  # composites show their parts
        return
    again = eval(repr(layer), vars(n2nspec.layers) | {type(layer).__name__: type(layer)})
    assert again.spec == layer.spec
    assert repr(again) == repr(layer)
    assert {name: t.shape for name, t in again.state_dict().items()} == {
        name: t.shape for name, t in layer.state_dict().items()
    }
