"""Denoising in memory: the same kind, axes, size, dtype and range come back."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from n2nspec.apply import denoise
from n2nspec.diagnostics import DiagnosticError
from n2nspec.runtime import Model, compile
from n2nspec.spec import Spec, load


def network(channels: int = 3, **train: Any) -> Model:
    """A small network with random weights and an uneven size contract."""
    document: dict[str, Any] = {
        "spec_version": 1,
        "name": "net",
        "input": {"x": ["N", channels, "H", "W"]},
        "encoder": [{"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "stride": 2, "padding": 1}],
        "decoder": [
            {"type": "Upsampling", "out_channels": channels, "kernel_size": 3, "padding": 1},
            {"type": "Sigmoid"},
        ],
        "train": train,
    }
    return compile(load(document))


def identity(channels: int = 3) -> Model:
    """In float64, which holds every picture exactly."""
    document: dict[str, Any] = {
        "spec_version": 1,
        "name": "identity",
        "input": {"x": ["N", channels, "H", "W"]},
        "encoder": [{"type": "Identity"}],
        "train": {"dtype": "float64"},
    }
    return compile(load(document))


RANDOM = np.random.default_rng(1)
SIZES = [(1, 1), (1, 7), (37, 53)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2", "float16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["HW", "HW1", "HW3", "N1", "N3"])
def test_numpy_keeps_everything(size: tuple[int, int], dtype: str, layout: str) -> None:
    channels = 3 if layout.endswith("3") else 1
    shape = {"H": size, "N": (2, *size)}[layout[0]] + ((channels,) if layout != "HW" else ())
    unit = RANDOM.random(shape)
    image = (unit * 250).astype(dtype) if np.dtype(dtype).kind == "u" else unit.astype(dtype)
    before = image.copy()
    result = denoise(network(channels), image)
    assert isinstance(result, np.ndarray)
    assert (result.shape, result.dtype) == (image.shape, image.dtype)
    assert not np.shares_memory(result, image)
    assert np.array_equal(image, before)
    # a network that does nothing gives back every value exactly: padding, scaling and rounding leave no trace
    assert np.array_equal(denoise(identity(channels), image), image)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("layout", ["HW", "1HW", "3HW", "N1HW", "N3HW"])
def test_torch_keeps_everything(size: tuple[int, int], dtype: str, layout: str) -> None:
    channels = 3 if "3" in layout else 1
    shape = ((2,) if layout[0] == "N" else ()) + ((channels,) if layout != "HW" else ()) + size
    unit = torch.from_numpy(RANDOM.random(shape))
    kind = getattr(torch, dtype)
    image = unit.to(kind) if kind.is_floating_point else (unit * 250).to(torch.uint8).to(kind)
    result = denoise(network(channels), image)
    assert isinstance(result, torch.Tensor)
    assert (result.shape, result.dtype, result.device) == (image.shape, image.dtype, image.device)
    model = identity(channels)
    assert torch.equal(denoise(model, image), image)


def test_arrays_and_tensors_agree() -> None:
    model = network(dtype="float64")
    image = RANDOM.random((5, 6, 3))
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    assert np.array_equal(denoise(model, image).transpose(2, 0, 1), denoise(model, tensor).numpy())
    x = tensor[:, :4].unsqueeze(0)
    assert torch.equal(denoise(model, x), model.forward(x))  # an even size needs no padding


def test_integers_are_rounded_and_cut() -> None:
    """The report casts, which truncates; 0.999 of white is 254.7 of 255."""
    image = np.array([[[0, 100, 200]]], dtype=np.uint8)
    model = identity()
    forward = model.forward

    def shifted(x: torch.Tensor) -> torch.Tensor:
        return forward(x) + torch.tensor([-0.5, 0.6 / 255, 1.0]).reshape(3, 1, 1)

    model.forward = shifted  # type: ignore[method-assign]
    assert denoise(model, image).tolist() == [[[0, 101, 255]]]
    # floating point is handed on as it is
    assert denoise(model, image / np.float32(255))[0, 0, 2] == pytest.approx(200 / 255 + 1)


def test_odd_memory_layouts() -> None:
    model = network()
    image = RANDOM.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    expected = denoise(model, image)
    flipped = np.ascontiguousarray(image[::-1])[::-1]
    flipped.setflags(write=False)
    assert np.array_equal(denoise(model, flipped), expected)
    tensor = torch.from_numpy(image).permute(2, 0, 1)
    assert np.array_equal(denoise(model, tensor).permute(1, 2, 0).numpy(), expected)


def test_autograd_is_left_behind() -> None:
    result = denoise(network(), torch.rand(3, 4, 4, requires_grad=True))
    assert not result.requires_grad


def test_a_model_keeps_its_mode() -> None:
    model = network().train()
    denoise(model, torch.rand(3, 4, 4))
    assert model.training
    assert not denoise(model.eval(), torch.rand(3, 4, 4)).isnan().any()
    assert not model.training


@pytest.mark.parametrize(
    ("image", "code", "match"),
    [
        (np.zeros((4, 4), np.uint8), "E304", "takes 3 channels"),
        (np.zeros((4, 4, 4), np.uint8), "E304", "has 4"),
        (np.zeros((3, 4, 5), np.uint8), "E304", "has 5"),
        (torch.zeros(4, 5, 3), "E304", "has 4"),
        (torch.zeros(2, 4, 5, 3), "E304", "has 4"),
        (np.zeros((4,), np.uint8), "E402", "expected a picture with axes"),
        (np.zeros((1, 1, 4, 4, 3), np.uint8), "E402", "expected a picture with axes"),
        (np.zeros((0, 4, 3), np.uint8), "E402", "with pixels"),
        (torch.zeros(0, 3, 4, 4), "E402", "with pixels"),
        (np.zeros((4, 4, 3), np.int64), "E402", "received int64"),
        (torch.zeros(3, 4, 4, dtype=torch.int64), "E402", "received int64"),
        (np.zeros((4, 4, 3), bool), "E402", "received bool"),
        (np.full((4, 4, 3), 255.0), "E402", "values as large as 255"),
        (torch.full((3, 4, 4), 255.0), "E402", "values as large as 255"),
        (np.full((4, 4, 3), math.inf, np.float32), "E402", "values as large as"),
        ([[0.5]], "E402", "received list"),
    ],
)
def test_what_is_no_picture_for_this_network(image: Any, code: str, match: str) -> None:
    with pytest.raises(DiagnosticError, match=match) as caught:
        denoise(network(), image)
    assert [d.code for d in caught.value.diagnostics] == [code]


def test_help_names_the_axes_that_were_meant() -> None:
    for image, how in (
        (np.zeros((3, 4, 5)), "last"),
        (torch.zeros(4, 5, 3), "first"),
        (torch.zeros(2, 4, 5, 3), "first"),
    ):
        with pytest.raises(DiagnosticError) as caught:
            denoise(network(), image)
        assert f"move the channels {how}" in caught.value.diagnostics[0].help


def test_a_run_a_path_and_a_file_are_one_network(trained: Any, spec: Callable[..., Spec]) -> None:
    image = RANDOM.integers(0, 256, (5, 7, 3), dtype=np.uint8)
    expected = denoise(trained.model(), image)
    for source in (trained, trained.path, str(trained.path), trained.weights):
        assert np.array_equal(denoise(source, image), expected)
    assert not np.array_equal(denoise(compile(spec()), image), expected)


def test_the_public_name() -> None:
    import n2nspec

    assert n2nspec.denoise is denoise


def test_a_picture_of_one_pixel_is_padded_for_a_normalisation() -> None:
    layers = [{"type": "InstanceNorm2d"}, {"type": "Conv2d", "out_channels": 3, "kernel_size": 1}]
    model = compile(load({
        "spec_version": 1, "name": "norm", "input": {"x": ["N", 3, "H", "W"]}, "encoder": layers,
    }))  # fmt: skip
    pixel = RANDOM.random((1, 1, 3))
    repeated = denoise(model, np.repeat(pixel, 2, axis=0))
    np.testing.assert_array_equal(denoise(model, pixel), repeated[:1])
