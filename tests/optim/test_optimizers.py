"""Every optimiser against torch.optim, and what an optimiser promises on its own."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from n2nspec.layers import Linear, Sequential, Sigmoid
from n2nspec.losses import MSE
from n2nspec.optim import OPTIMIZERS, SGD, Adam, AdamW, Optimizer, OptimizerSpec

STEPS = 100
TOLERANCE = 1e-8
SETTINGS: list[tuple[type[Optimizer], dict[str, Any]]] = [
    (SGD, {}),
    (SGD, {"lr": 1.0}),
    (SGD, {"lr": 0}),
    (Adam, {}),
    (Adam, {"lr": 0.01}),
    (Adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    (Adam, {"betas": (0.0, 0.0), "eps": 0.5}),
    (Adam, {"betas": (0.99, 0.5), "lr": 1}),
    (AdamW, {}),
    (AdamW, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.5}),
]


def combinations(**choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


SETTINGS += [
    (SGD, fields)
    for fields in combinations(
        lr=(0.01,), momentum=(0, 0.9, 1.5), dampening=(0, 0.3, -0.5), weight_decay=(0, 0.1),
        nesterov=(False, True), maximize=(False, True),
    )
    if not fields["nesterov"] or (fields["momentum"] and not fields["dampening"])
]  # fmt: skip
SETTINGS += [
    (optimizer, fields)
    for optimizer in (Adam, AdamW)
    for fields in combinations(
        lr=(0.01,), weight_decay=(0, 0.1), amsgrad=(False, True), maximize=(False, True)
    )
]
settings = pytest.mark.parametrize(
    ("optimizer", "fields"), SETTINGS,
    ids=lambda v: v.__name__ if isinstance(v, type) else ",".join(f"{key}={v[key]}" for key in v),
)  # fmt: skip


def twin_class(optimizer: type[Optimizer]) -> type[torch.optim.Optimizer]:
    path, _, name = optimizer.spec_type.twin.rpartition(".")
    found: type[torch.optim.Optimizer] = getattr(importlib.import_module(path), name)
    return found


def start() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes: list[tuple[int, ...]] = [(4, 3, 3, 3), (4,), ()]
    return [torch.randn(shape, dtype=torch.float64, generator=generator) for shape in shapes]


def gradient(parameter: Tensor, step: int, index: int) -> Tensor:
    """Depends on the parameter, so that errors would grow; now and then tiny, huge or zero."""
    scale = (1.0, 1e-9, 1e3, 0.0)[(step + index) % 4]
    return scale * torch.sin(parameter * (index + 1) + step)


@settings
def test_a_hundred_steps_equal_torch(optimizer: type[Optimizer], fields: dict[str, Any]) -> None:
    ours, theirs = start(), [p.clone().requires_grad_() for p in start()]
    pairs = [(p, torch.zeros_like(p)) for p in ours]
    mine, twin = optimizer(pairs, **fields), twin_class(optimizer)(theirs, **fields)
    for step in range(STEPS):
        for index, ((p, g), q) in enumerate(zip(pairs, theirs, strict=True)):
            g.copy_(gradient(p, step, index))
            q.grad = gradient(q.detach(), step, index)
        gradients = [g.clone() for _, g in pairs]
        mine.step()
        twin.step()
        for (p, g), q, before in zip(pairs, theirs, gradients, strict=True):
            scale = max(1.0, q.detach().abs().max().item())  # momentum above 1 grows without bound
            assert (p - q.detach()).abs().max() < TOLERANCE * scale, f"step {step}"
            assert torch.equal(g, before), "the gradient was changed"


def test_a_wrong_update_fails_the_comparison() -> None:
    """Negative control: epsilon in another place shows within the hundred steps."""
    right, wrong = start()[0], start()[0]
    spec = OPTIMIZERS["Adam"](lr=0.01)
    m, v = torch.zeros_like(wrong), torch.zeros_like(wrong)
    state = spec.init_state(right)
    for step in range(1, STEPS + 1):
        spec.update(right, gradient(right, step, 0), state, step)
        g = gradient(wrong, step, 0)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        root = math.sqrt(1 - 0.999**step)
        wrong -= 0.01 * root / (1 - 0.9**step) * m / (v.sqrt() + 1e-8)
    assert (right - wrong).abs().max() > TOLERANCE


@settings
def test_an_update_that_changes_nothing_in_place_is_the_same(
    optimizer: type[Optimizer], fields: dict[str, Any]
) -> None:
    spec = optimizer.spec_type(**fields)
    p = start()[0]
    state = spec.init_state(p)
    for step in range(1, STEPS + 1):
        given = p, gradient(p, step, 0), *state.values()
        before = [tensor.clone() for tensor in given]
        factors = torch.tensor(spec.factors(step), dtype=torch.float64)
        new, moved = spec.updated(p, given[1], state, factors)
        assert all(map(torch.equal, given, before))
        spec.update(p, given[1], state, step)
        torch.testing.assert_close(new, p, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(moved, state, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spec_type", list(OPTIMIZERS.values()))
def test_pure_updates_are_what_the_class_does(spec_type: type[OptimizerSpec]) -> None:
    spec = spec_type(lr=0.1)
    assert spec.twin_fields()["lr"] == 0.1
    a, b = start()[0], start()[0]
    state = spec.init_state(a)
    g = torch.zeros_like(b)
    optimizer = {"SGD": SGD, "Adam": Adam, "AdamW": AdamW}[spec.type]([(b, g)], lr=0.1)
    for step in range(1, 6):
        g.copy_(gradient(b, step, 0))
        spec.update(a, gradient(a, step, 0), state, step)
        optimizer.step()
    assert torch.equal(a, b)


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW])
def test_arguments_and_defaults_are_torchs(optimizer: type[Optimizer]) -> None:
    ours = inspect.signature(optimizer).parameters
    theirs = inspect.signature(twin_class(optimizer)).parameters
    assert {name: (ours[name].default, ours[name].kind) for name in theirs} == {
        name: (p.default, p.kind) for name, p in theirs.items()
    }
    by_position = [name for name, p in ours.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    assert by_position == list(theirs)[: len(by_position)]
    spec = optimizer.spec_type
    assert list(spec().twin_fields()) == [*by_position[1:], "maximize"]
    with pytest.raises(TypeError, match="too many positional arguments"):
        optimizer([torch.zeros(1)], *(theirs[name].default for name in by_position[1:]), True)
    assert all(info.description for name, info in spec.model_fields.items() if name != "type")


@pytest.mark.parametrize(
    ("optimizer", "fields", "names"),
    [
        (SGD, {}, []),
        (SGD, {"weight_decay": 0.1, "dampening": 0.5}, []),
        (SGD, {"momentum": 0.9}, ["momentum_buffer"]),
        (Adam, {"weight_decay": 0.1}, ["exp_avg", "exp_avg_sq"]),
        (AdamW, {"amsgrad": True}, ["exp_avg", "exp_avg_sq", "max_exp_avg_sq"]),
    ],
)
def test_no_more_state_than_an_update_needs(
    optimizer: type[Optimizer], fields: dict[str, Any], names: list[str]
) -> None:
    """Under torch's names."""
    p = torch.ones(2)
    ours, theirs = optimizer([(p, torch.ones(2))], **fields), torch.nn.Parameter(torch.ones(2))
    assert list(ours.state_dict()) == ["step", *(f"0.{name}" for name in names)]
    twin = twin_class(optimizer)([theirs], **fields)
    theirs.grad = torch.ones(2)
    twin.step()
    assert sorted(twin.state[theirs].keys() - {"step"}) == sorted(names)


def test_dampening_spares_the_first_step_as_in_torch() -> None:
    """The buffer begins as the first gradient, whole."""
    p, q = torch.ones(1, dtype=torch.float64), torch.nn.Parameter(torch.ones(1, dtype=torch.float64))
    fields = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}
    optimizer, twin = SGD([(p, torch.full_like(p, 2.0))], **fields), torch.optim.SGD([q], **fields)
    q.grad = torch.full_like(q, 2.0)
    for expected in (0.8, 0.52):  # steps of 0.1·2 and 0.1·(0.9·2 + 0.5·2)
        optimizer.step()
        twin.step()
        assert p.item() == q.item() == pytest.approx(expected)


@settings
def test_a_state_taken_and_loaded_goes_on_as_before(
    optimizer: type[Optimizer], fields: dict[str, Any]
) -> None:
    def run(opt: Optimizer, pairs: list[tuple[Tensor, Tensor]], steps: range) -> None:
        for step in steps:
            for index, (p, g) in enumerate(pairs):
                g.copy_(gradient(p, step, index))
            opt.step()

    straight = [(p, torch.zeros_like(p)) for p in start()]
    first = optimizer(straight, **fields)
    run(first, straight, range(5))
    resumed = [(p.clone(), torch.zeros_like(p)) for p, _ in straight]
    state = first.state_dict()
    second = optimizer(resumed, **fields)
    second.load_state_dict(state)
    run(first, straight, range(5, 10))  # the state that was taken is a copy
    run(second, resumed, range(5, 10))
    for (p, _), (q, _) in zip(straight, resumed, strict=True):
        assert torch.equal(p, q)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    p = torch.zeros(3)
    adam = Adam([(p, torch.ones(3))])
    adam.step()
    good = adam.state_dict()
    for bad, match in (
        ({k: v for k, v in good.items() if k != "0.exp_avg"}, "missing 0.exp_avg"),
        ({**good, "0.exp_avg": torch.zeros(4)}, "expected shape"),
        ({**good, "1.exp_avg": torch.zeros(3)}, "unexpected 1.exp_avg"),
        ({k: v for k, v in good.items() if k != "step"}, "whole number of steps"),
        ({**good, "step": -1}, "whole number of steps"),
        ({**good, "step": 1.5}, "whole number of steps"),
    ):
        with pytest.raises(ValueError, match=match):
            adam.load_state_dict(bad)
        for name, value in adam.state_dict().items():
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(good[name]))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda ps: SGD(ps, lr=-1e-3), "lr: .*greater than or equal to 0"),
        (lambda ps: SGD(ps, lr=math.inf), "lr: .*finite"),
        (lambda ps: SGD(ps, lr=math.nan), "lr: "),
        (lambda ps: SGD(ps, lr="1"), "lr: .*valid number"),
        (lambda ps: Adam(ps, lr=True), "lr: .*valid number"),
        (lambda ps: Adam(ps, betas=(1.0, 0.9)), "betas.0: .*less than 1"),
        (lambda ps: Adam(ps, betas=(0.9, -0.1)), "betas.1: .*greater than or equal to 0"),
        (lambda ps: Adam(ps, betas=(0.9,)), "betas"),
        (lambda ps: Adam(ps, eps=-1), "eps: "),
        (lambda ps: SGD(ps, momentum=-0.1), "momentum: .*greater than or equal to 0"),
        (lambda ps: SGD(ps, momentum=math.inf), "momentum: "),
        (lambda ps: SGD(ps, dampening="0"), "dampening: .*valid number"),
        (lambda ps: SGD(ps, dampening=math.nan), "dampening: "),
        (lambda ps: SGD(ps, weight_decay=-1), "weight_decay: .*greater than or equal to 0"),
        (lambda ps: SGD(ps, nesterov=True), "nesterov needs momentum above 0; received momentum = 0"),
        (
            lambda ps: SGD(ps, momentum=0.9, dampening=0.1, nesterov=True),
            "needs no dampening; received .* 0.1",
        ),
        (lambda ps: SGD(ps, momentum=0.9, nesterov=1), "nesterov: .*boolean"),
        (lambda ps: SGD(ps, maximize="yes"), "maximize: .*boolean"),
        (lambda ps: Adam(ps, weight_decay=-1), "weight_decay: "),
        (lambda ps: Adam(ps, amsgrad=0), "amsgrad: .*boolean"),
        (lambda ps: AdamW(ps, weight_decay=-1), "weight_decay: "),
        (lambda ps: AdamW(ps, betas=(0.9, 1)), "betas.1: .*less than 1"),
        (lambda ps: SGD([]), "expected parameters; received none"),
        (lambda ps: SGD([*ps, *ps]), "given twice"),
        (lambda ps: SGD([(ps[0][0], torch.zeros(1))]), "came with a gradient of shape"),
    ],
)
def test_refusals(make: Callable[[Any], Optimizer], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make([(torch.zeros(3), torch.zeros(3))])


def test_unknown_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match=r"SGD\(params, lr=0.001, momentum=0.0, .*unexpected keyword"):
        SGD([torch.zeros(1)], each=True)
    with pytest.raises(TypeError, match="abstract"):
        Optimizer([torch.zeros(1)])  # type: ignore[abstract]


@pytest.mark.parametrize(
    ("params", "match"),
    [
        (torch.zeros(3), r"received Tensor; a single one stands in a list$"),
        (3, "received int$"),
        ([3], "received int$"),
        ({"a": torch.zeros(3)}, "received str$"),
        ([{"params": [torch.zeros(3)]}], "received dict; groups of parameters are optimisers of their own$"),
        ([(torch.zeros(3), None)], "received tuple$"),
        ([("a", torch.zeros(3), torch.zeros(3))], "received tuple$"),
        ([[torch.zeros(3)]], "received list$"),
    ],
)
def test_what_are_no_parameters_is_told(params: Any, match: str) -> None:
    expected = r"^Adam: params: expected \(parameter, gradient\) pairs, as param\(\) gives them, .*; "
    with pytest.raises(TypeError, match=expected + match):
        Adam(params)


def test_names_before_parameters() -> None:
    """As named_parameters has them, torch's or ours."""
    layer = Linear(2, 2)
    for _, gradient in layer.param():
        gradient.fill_(1)
    before = layer.state_dict()
    SGD(layer.named_parameters().items(), lr=0.5).step()
    for name, parameter in layer.named_parameters().items():
        assert torch.equal(parameter, before[name] - 0.5)


@pytest.mark.parametrize("optimizer", [SGD, Adam, AdamW], ids=lambda optimizer: optimizer.__name__)
def test_torchs_ways_to_compute_a_step_are_all_the_same(optimizer: type[Optimizer]) -> None:
    names = ("foreach", "fused", "capturable")
    known = [name for name in names if name in inspect.signature(optimizer).parameters]
    results = []
    for given in [{}, *({name: value} for name in known for value in (False, True))]:
        p = torch.ones(2)
        optimizer([(p, torch.tensor([1.0, -2.0]))], **given).step()
        results.append(p)
    assert all(torch.equal(p, results[0]) for p in results)
    with pytest.raises(ValueError, match=r"differentiable: no gradient runs through a step; expected False"):
        optimizer([torch.zeros(1)], differentiable=True)
    with pytest.raises(ValueError, match="foreach: expected True or False; received 1"):
        optimizer([torch.zeros(1)], foreach=1)


@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_with_decoupled_weight_decay_is_adamw(decoupled: bool) -> None:
    p, q = torch.ones(2), torch.ones(2)
    gradient = torch.tensor([1.0, -2.0])
    Adam([(p, gradient)], weight_decay=0.5, decoupled_weight_decay=decoupled).step()
    (AdamW if decoupled else Adam)([(q, gradient)], weight_decay=0.5).step()
    assert torch.equal(p, q)


def test_plain_tensors_and_torch_parameters() -> None:
    plain, leaf = torch.ones(2), torch.nn.Parameter(torch.ones(2))
    plain.grad = torch.ones(2)
    sgd = SGD([plain, leaf], lr=0.5)
    leaf.grad = torch.full((2,), 2.0)  # read when it is needed
    sgd.step()
    assert plain.tolist() == [0.5, 0.5]
    assert leaf.tolist() == [0, 0]
    sgd.zero_grad()
    assert not plain.grad.any()
    assert not leaf.grad.any()
    leaf.grad = None
    with pytest.raises(RuntimeError, match="parameter 1 has no gradient"):
        sgd.step()
    assert plain.tolist() == [0.5, 0.5]


def test_the_three_steps_of_the_report_equal_torch() -> None:
    """Forward and loss, zero_grad and backward, step; beside torch with autograd, 100 times."""
    net = Sequential(Linear(4, 6, dtype=torch.float64), Sigmoid(), Linear(6, 2, dtype=torch.float64))
    twin = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Sigmoid(), torch.nn.Linear(6, 2)).double()
    twin.load_state_dict(net.state_dict())
    loss, adam = MSE(), Adam(net.param(), lr=0.01)
    twin_loss, twin_adam = torch.nn.MSELoss(), torch.optim.Adam(twin.parameters(), lr=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(STEPS):
        x = torch.randn((8, 4), dtype=torch.float64, generator=generator)
        target = torch.randn((8, 2), dtype=torch.float64, generator=generator)
        value = loss(net(x), target)
        net.zero_grad()
        net.backward(loss.backward())
        adam.step()
        expected = twin_loss(twin(x), target)
        twin_adam.zero_grad()
        expected.backward()
        twin_adam.step()
        assert abs(value.item() - expected.item()) < TOLERANCE
    for name, p in twin.named_parameters():
        assert (net.named_parameters()[name] - p.detach()).abs().max() < TOLERANCE
