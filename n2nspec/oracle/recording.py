"""The tensor operations of a function, as a list, without doing them.

In: a function and tensors that have shapes but no contents (torch's meta device). Out: the operations in the
order in which the function asks for them: what each reads and makes. Nothing is compiled for that, or loaded
from torch's compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["Layout", "Operation", "Recording", "Use", "recorded"]

Layout = tuple[tuple[int, ...], tuple[int, ...], int]
"""Size and stride of each axis that is longer than 1, and where the first number is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A tensor that is read: a value, and where in it each number is. `whole`: all of it, none twice."""

    value: int
    layout: Layout
    whole: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One operator. `name` is torch's, without the overload; `makes` are new values, each with its layout.

    `inside`: the new value is the first one that it reads, with other numbers in a part of it: the layout is
    that of the part.
    """

    name: str
    uses: tuple[Use, ...]
    makes: tuple[tuple[int, Layout], ...]
    inside: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What a function does. `nbytes` has the size of every value, `given` are the caller's."""

    operations: tuple[Operation, ...]
    nbytes: dict[int, int]
    given: frozenset[int]
    results: frozenset[int]


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []
        self.nbytes: dict[int, int] = {}
        self.given: set[int] = set()
        self._values: dict[int, int] = {}  # by the storage
        self._alive: list[Tensor] = []  # no storage comes twice

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """To skip torch's compiler, torch would load it, which takes seconds; nothing is compiled here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.removeprefix("aten::")
        read = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        uses = tuple(self.use(tensor) for tensor in read)
        found = func(*args, **(kwargs or {}))
        inside = bool(func._schema.is_mutable and uses and not uses[0].whole)
        if func._schema.is_mutable:  # as if a new value took the place of the old one
            written = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
            makes = tuple(self._new(tensor) for tensor in written)
        else:
            made = [leaf for leaf in tree_leaves(found) if isinstance(leaf, Tensor)]
            makes = tuple(self._new(t) for t in made if t.untyped_storage()._cdata not in self._values)
        if makes or name == "as_strided":
            self.operations.append(Operation(name=name, uses=uses, makes=makes, inside=inside))
        return found

    def use(self, tensor: Tensor) -> Use:
        value = self._values.get(tensor.untyped_storage()._cdata)
        if value is None:  # from before
            value, _ = self._new(tensor)
            self.given.add(value)
        return Use(value=value, layout=_layout(tensor), whole=tensor.nbytes == self.nbytes[value])

    def _new(self, tensor: Tensor) -> tuple[int, Layout]:
        value = len(self.nbytes)
        self._alive.append(tensor)
        self._values[tensor.untyped_storage()._cdata] = value
        self.nbytes[value] = tensor.untyped_storage().nbytes()
        return value, _layout(tensor)


def _layout(tensor: Tensor) -> Layout:
    axes = [(n, step) for n, step in zip(tensor.shape, tensor.stride(), strict=True) if n != 1]
    return tuple(n for n, _ in axes), tuple(step for _, step in axes), int(tensor.storage_offset())


def recorded(function: Callable[[], Iterable[Tensor]]) -> Recording:
    """The operations of `function`, whose results stay.

    Raises:
        RuntimeError: it looks at numbers, which these tensors do not have.
    """
    with _Recorder() as recorder:
        results = frozenset(recorder.use(tensor).value for tensor in function())
    return Recording(
        operations=tuple(recorder.operations), nbytes=recorder.nbytes, given=frozenset(recorder.given),
        results=results,
    )  # fmt: skip
