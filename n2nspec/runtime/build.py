"""From a spec to a model: the engine, the device, the dtype and the processes that were asked for.

In: a spec, and what the user chose. Out: a `Model`, or what is wrong with the choice.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec.compiler.division import divisible
from n2nspec.diagnostics import fail
from n2nspec.graph import ShapedGraph, analyse
from n2nspec.runtime.compiled import PRECISIONS
from n2nspec.runtime.engines import AUTO, ENGINES
from n2nspec.runtime.memory import parse_bytes
from n2nspec.runtime.model import Model
from n2nspec.runtime.split import default_processes
from n2nspec.spec import Spec

if TYPE_CHECKING:
    from torch import device, dtype

__all__ = ["compile"]


def compile(
    spec: Spec,
    engine: str = "auto",
    device: str | device = "cpu",
    dtype: str | dtype | None = None,
    seed: int | None = None,
    memory_limit: int | str | None = None,
    processes: int | None = None,
    deterministic: bool = False,
    precision: str | None = None,
) -> Model:
    """A model with freshly drawn weights.

    Args:
        spec: from `n2nspec.load`.
        engine: "optimized" (fused kernels on planned buffers), "compiled" (training steps as one
            function, by torch's compiler), "reference" (layers as written) or "auto".
        device: "cpu", "cuda", "cuda:1" …
        dtype: torch.float32 or torch.float64, or their names; the spec's `train.dtype` when absent.
        seed: for the weights; the spec's `train.seed` when absent.
        memory_limit: bytes, or words such as "200MiB", for a training step: weights, gradients, the
            optimiser's numbers, the batch, and what is computed. The optimized engine then passes fewer
            pictures through the network at a time, and computes again in the backward pass what there is no
            room to keep even so. The latter changes no bit; sums over smaller groups are rounded differently.
        processes: among which the pictures of a training step are divided on the CPU, by any engine but
            "reference"; by default as many as torch uses threads, where the work is worth it. 1 starts none.
            Normalisation over batches, random numbers, layers of one's own and a memory limit keep the batch
            in one.
        deterministic: decide nothing by measuring, so that a step's rounding is the same in every run on
            machines of one kind. Otherwise the optimized engine measures once which of several ways of
            computing a large convolution is the fastest here, and keeps that in the user's cache folder.
        precision: "full", or "bf16-mixed" for training steps of the compiled engine whose matrix products are
            of bfloat16 numbers; the spec's `train.precision` when absent.

    Raises:
        DiagnosticError: a graph that does not fit together, an unknown engine, dtype or device; E505, a
            memory limit that is none, or that the engine cannot keep. Whether it can be met shows at the
            first step, or by `Model.memory_limit.fitted(shape)`.
        TypeError: `spec` is no `Spec`, but perhaps the path of one.
    """
    given: object = spec  # a path is what people try first
    if not isinstance(given, Spec):
        loaded = repr(str(given)) if isinstance(given, (str, PathLike)) else "…"
        raise TypeError(f"compile takes a Spec, not a {type(given).__name__}: pass n2nspec.load({loaded})")
    if engine not in ENGINES:
        raise fail("E501", f'there is no engine "{engine}"', help="the engines are " + ", ".join(ENGINES))
    graph = analyse(spec)
    dtypes = {"float32": torch.float32, "float64": torch.float64}
    wanted = spec.train.dtype if dtype is None else dtype
    found = dtypes.get(wanted.removeprefix("torch.")) if isinstance(wanted, str) else wanted
    if found is None or found not in dtypes.values():
        raise fail("E501", f"dtype {wanted} is not supported", help="the dtypes are float32 and float64")
    if precision not in (None, *PRECISIONS):
        raise fail("E501", f'there is no precision "{precision}"', help="they are " + ", ".join(PRECISIONS))
    if engine == "auto":
        engine = AUTO if memory_limit is None else "optimized"
    place = _device(device)
    return Model(
        graph,
        engine=engine,
        device=place,
        dtype=found,
        seed=spec.train.seed if seed is None else seed,
        memory_limit=None if memory_limit is None else _memory_limit(memory_limit, engine),
        processes=_processes(processes, graph, engine, place) if memory_limit is None else 1,
        measure=not deterministic and memory_limit is None,
        precision=precision,
    )


def _processes(given: int | None, graph: ShapedGraph, engine: str, place: device) -> int:
    """How many share a training step."""
    if given is not None and given < 1:
        raise fail("E501", f"processes: expected 1 or more; received {given}", help="1 starts no others")
    if engine == "reference" or place.type != "cpu" or not divisible(graph):
        return 1
    return default_processes() if given is None else given


def _memory_limit(given: int | str, engine: str) -> int:
    """Bytes, if the engine can keep to them."""
    if engine not in ("auto", "optimized"):
        raise fail(
            "E505",
            f"the {engine} engine keeps no memory limit",
            help="take --engine optimized, which computes again what it has no room to keep",
        )
    try:
        return parse_bytes(str(given))
    except ValueError as error:
        raise fail("E505", f"memory limit: {error}", help="write a number of bytes, or 200MiB") from None


def _device(device: str | device) -> device:
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise fail("E502", f'device "{device}" is not available: {reason}', help="use --device cpu") from None
    # "cuda" and a tensor's "cuda:0" are the same place but do not compare equal
    return torch.empty(0, device=found).device
