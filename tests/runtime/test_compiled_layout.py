"""How compiled steps lay out pictures: the numbers of plain operations, few channels or many, any order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import pad

from n2nspec.runtime.compiled.layout import channels_last, interleave, padded

ORDERS: dict[str, Callable[[Tensor], Tensor]] = {
    "planes": lambda x: x.contiguous(),
    "pixels": lambda x: x.contiguous(memory_format=torch.channels_last),
    "columns": lambda x: x.mT.contiguous().mT,
}
CHANNELS = pytest.mark.parametrize("channels", [1, 3, 7, 8, 9])
ORDER = pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS.keys())


@ORDER
@CHANNELS
def test_pixel_by_pixel(channels: int, order: Callable[[Tensor], Tensor]) -> None:
    x = torch.rand(2, channels, 3, 4)
    found = channels_last(order(x))
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(found, x)


@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 2, 3, 4), (0, 1, 0, 0), (0, 0, 2, 0)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16], ids=str)
@ORDER
@CHANNELS
def test_margins(
    channels: int, order: Callable[[Tensor], Tensor], kind: torch.dtype, pads: tuple[int, int, int, int]
) -> None:
    x = order(torch.rand(2, channels, 3, 4).to(kind)).permute(0, 2, 3, 1)
    assert torch.equal(padded(x, pads), pad(x, (0, 0, *pads)))


def test_phases_beside_each_other() -> None:
    whole = torch.rand(2, 6, 8, 3)
    parts = [[whole[:, r::3, q::2] for q in range(2)] for r in range(3)]
    assert torch.equal(interleave(parts), whole)
