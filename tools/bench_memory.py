"""How much memory training steps and forward passes take, beside what is predicted without running them.

    python tools/bench_memory.py [--specs n2n unet_small] [--engines reference optimized]
                                 [--size 64] [--batch 8]

Measured: the most bytes that torch's CPU allocator has given out at once during two steps, by the memory
events of torch.profiler, after two steps to warm up. All counts that was asked for since before there was a
model:

    training    parameters, their gradients, the optimiser's moments, layers' buffers, the input and target
                batches, and whatever a step allocates
    inference   parameters, layers' buffers, the input batch, and whatever a forward pass in evaluation mode
                allocates, its output included; gradients and moments are made by the first training step

All of it in one process, with nothing chosen by measuring; where several share a step, each has parameters
and gradients of its own besides.
The prediction counts the same: `graph.memory` for the reference engine (what `compile --check` prints) and
`oracle.footprint` for the optimised one, which the compiled engine leaves inference to, and for the compiled
engine's steps, where it follows what torch's compiler does with memory and compiles nothing. None of them
sees what libraries (BLAS, say) take past torch's allocator. n2n, Figure 1, runs on 32 pictures of 32 × 32,
the others on 4 of 128 × 128, unless there are `--size` and `--batch`. A specification is a name in specs/ or
a file, for a network whose output is as large as its input.
"""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Callable
from pathlib import Path

import torch

import n2nspec
from n2nspec.diagnostics import DiagnosticError
from n2nspec.graph import analyse, cost
from n2nspec.oracle.footprint import compiled_bytes, optimized_bytes
from n2nspec.oracle.limits import peak_bytes
from n2nspec.runtime import ENGINES

FOLDER = Path(__file__).parents[1] / "specs"
SPECS = ("n2n", "unet_small", "unet_n2n", "dncnn", "red")
WARM = 2


def measured(spec: n2nspec.Spec, engine: str, shape: tuple[int, ...], *, training: bool) -> int:
    """Bytes at the peak. The specs give pictures of the size that they take."""

    def make() -> Callable[[], object]:
        model = n2nspec.compile(spec, engine, processes=1, deterministic=True).train(training)
        x = torch.rand(shape, dtype=model.dtype)
        target = torch.rand(shape, dtype=model.dtype) if training else None

        def step() -> object:
            return model(x) if target is None else model.step(x, target)

        for _ in range(WARM):
            step()
        gc.collect()  # compiling leaves tensors in circles, which Python lets go of some time later
        for warning in model.warnings:  # the engine gives way to another one
            print(warning.message, file=sys.stderr)
        return step

    return peak_bytes(make, torch.device("cpu"))


def predicted(spec: n2nspec.Spec, engine: str, shape: tuple[int, ...], *, training: bool) -> int | None:
    """None where a layer asks for its numbers."""
    graph = analyse(spec)
    if engine == "reference":
        costs = cost(graph, (shape[2], shape[3]), shape[0])
        return costs.peak_bytes if training else costs.inference_bytes
    if engine == "compiled" and training:
        return compiled_bytes(graph, shape)
    return optimized_bytes(graph, shape, training=training)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    engines = [name for name in ENGINES if name != "auto"]
    parser.add_argument("--specs", nargs="+", default=SPECS)
    parser.add_argument("--engines", nargs="+", choices=engines, default=engines)
    parser.add_argument("--size", type=int)
    parser.add_argument("--batch", type=int)
    options = parser.parse_args()

    print(f"{'MiB':24} {'engine':10} {'pass':10} {'predicted':>9} {'measured':>9} predicted / measured")
    for name in options.specs:
        spec = n2nspec.load(str(FOLDER / f"{name}.toml") if name in SPECS else name)
        batch, size = (32, 32) if name == "n2n" else (4, 128)
        size = options.size or size
        shape = (options.batch or batch, 3, size, size)
        at = f"{Path(name).stem} {shape[0]} × {shape[2]} × {shape[3]}"
        for engine in options.engines:
            for training in (True, False):
                what = f"{at:24} {engine:10} {'training' if training else 'inference':10}"
                try:
                    real = measured(spec, engine, shape, training=training)
                except DiagnosticError as error:  # an engine that this machine lacks something for
                    print(f"{what} {error}")
                    continue
                told = predicted(spec, engine, shape, training=training)
                before, ratio = ("–", "–") if told is None else (f"{told / 2**20:.1f}", f"{told / real:.4f}")
                print(f"{what} {before:>9} {real / 2**20:9.1f} {ratio:>20}", flush=True)


if __name__ == "__main__":
    main()
