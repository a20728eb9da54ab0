"""Shapes of layers with several inputs that have to agree.

In: the inputs' shapes. Out: the shape that they have in common, for the picture sizes for which they agree.
"""

from __future__ import annotations

from n2nspec.diagnostics import plural
from n2nspec.geometry import Dim, Shape, ShapeError, SizeLimitError, equal, no_smaller, render_shape

__all__ = ["axis_name", "common", "cropped", "same_rank"]

AXES = ("batch size", "number of channels", "height", "width")


def axis_name(axis: int, rank: int) -> str:
    """What an axis of a picture (rank 3) or a batch of pictures (rank 4) is called."""
    return AXES[axis - rank] if rank in (3, 4) else f"size along axis {axis}"


def same_rank(type: str, inputs: tuple[Shape, ...]) -> int:
    """The number of axes that all inputs have.

    Raises:
        ShapeError: they differ.
    """
    for index, shape in enumerate(inputs):
        if len(shape) != len(inputs[0]):
            raise ShapeError(
                f"{type} needs inputs with the same number of axes; received {render_shape(inputs[0])} and"
                f" {render_shape(shape)}",
                input=index,
            )
    return len(inputs[0])


def common(type: str, inputs: tuple[Shape, ...], *, but: int | None = None) -> Shape:
    """The shape of all inputs; along the axis `but` they may differ (there it is the first one's).

    Raises:
        ShapeError: for no picture size they agree.
    """
    rank = same_rank(type, inputs)
    result: list[Dim] = list(inputs[0])
    for index, shape in enumerate(inputs[1:], start=1):
        for axis in range(rank):
            if axis == but:
                continue
            what = axis_name(axis, rank)
            try:
                result[axis] = equal(result[axis], shape[axis], what)
            except SizeLimitError:
                raise
            except ShapeError as error:
                raise ShapeError(
                    f"{type} needs inputs of the same {what}: {error.message}",
                    help=_advice(what, type), input=index,
                ) from None  # fmt: skip
    return tuple(result)


def cropped(type: str, x: Shape, reference: Shape) -> Shape:
    """`x` with the height and width of `reference`.

    Raises:
        ShapeError: the reference is larger for every picture size, or one of them is no picture.
    """
    for index, shape in enumerate((x, reference)):
        if len(shape) not in (3, 4):
            raise ShapeError(
                f"{type} expects pictures, (N, C, H, W) or (C, H, W); received"
                f" {plural(len(shape), 'dimension')}, {render_shape(shape)}",
                input=index,
            )
    sizes: list[Dim] = []
    for axis, what in ((-2, "height"), (-1, "width")):
        try:
            sizes.append(no_smaller(x[axis], reference[axis], what))
        except SizeLimitError:
            raise
        except ShapeError as error:
            raise ShapeError(
                f"{type} cannot cut the {what} of its first input to that of the second, which is larger:"
                f" {error.message}",
                help="swap the two names in `from`, or crop the other input",
            ) from None
    return (*x[:-2], *sizes)


def _advice(what: str, type: str) -> str:
    if what in ("height", "width"):
        return "cut the larger one with CropLike, or change stride and padding so that the sizes agree"
    if what == "number of channels":
        return "join them with Concat, or give both as many channels with a Conv2d of kernel_size 1"
    return ""
