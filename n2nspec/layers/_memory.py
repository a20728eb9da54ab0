"""What a layer's functions allocate.

In: what a layer says of itself, in numbers. Out: bytes at the worst moment of its forward and its backward,
for whoever predicts the memory of a whole network without running it.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Alive", "Memory", "resized"]


@dataclass(frozen=True, slots=True)
class Alive:
    """The tensors of the output's size that are alive at once at the worst moment of a function, and masks.

    The results are among them. A mask has a byte for each number.
    """

    tensors: int = 1
    masks: int = 0

    def bytes(self, numbers: int, item: int) -> int:
        return numbers * (self.tensors * item + self.masks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes that a layer has allocated at the worst moment of each function; its arguments do not count.

    Attributes:
        forward: in training, with the output; 0 where the output is the first input itself or a view of it.
        inference: outside training, likewise.
        backward: with all gradients that are asked for.
        gradients: for each input, what stays allocated as long as its gradient is used; 0 for a gradient that
            is the output's own or a view of it.
    """

    forward: int
    inference: int
    backward: int
    gradients: tuple[int, ...]


def resized(given: int, wanted: int) -> tuple[int, int]:
    """What fold and unfold allocate in all, and what their result keeps.

    Both make a tensor of the size that they are given and change it to the wanted one. That takes new memory
    where it grows and gives none back where it shrinks. Source: Im2Col.cpp and Col2Im.cpp in
    aten/src/ATen/native of PyTorch.
    """
    return (given + wanted, wanted) if wanted > given else (given, given)
