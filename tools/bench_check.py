"""How fast `n2nspec compile --check` answers from a cold start, beside what `import torch` alone costs.

    python tools/bench_check.py [--runs 9] [--layers 1000 5000]

Each run is a process of its own; the commands take turns, so a machine whose speed drifts slows all of them.
Prints the median, the fastest and the slowest run in seconds, then the time of a check for long chains.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

SPEC = Path(__file__).parents[1] / "specs" / "n2n.toml"


def chain(layers: int) -> str:
    """A spec of convolutions and ReLUs, one after the other."""
    lines = ["spec_version = 1", 'name = "chain"', "[input]", 'x = ["N", 3, "H", "W"]']
    for index in range(layers // 2):
        lines += [
            "[[encoder]]", f'name = "conv{index}"', 'type = "Conv2d"', "out_channels = 8",
            "kernel_size = 3", "padding = 1", "[[encoder]]", 'type = "ReLU"',
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def seconds(command: list[str]) -> float:
    start = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--layers", type=int, nargs="*", default=[1000, 2000, 5000])
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "python, nothing": [sys.executable, "-c", ""],
            "import torch": [sys.executable, "-c", "import torch"],
            "compile specs/n2n.toml --check": [
                sys.executable,
                "-m",
                "n2nspec",
                "compile",
                str(SPEC),
                "--check",
            ],
        }
        for layers in options.layers:
            file = Path(folder) / f"chain{layers}.toml"
            file.write_text(chain(layers), encoding="utf-8")
            commands[f"compile --check of {layers} layers"] = [
                sys.executable, "-m", "n2nspec", "compile", str(file), "--check",
            ]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, command in commands.items():
                elapsed = seconds(command)
                if run:  # the first fills the disk cache
                    times[name].append(elapsed)
    print(f"{'seconds, ' + str(options.runs) + ' runs':38} median   min   max")
    for name, found in times.items():
        print(f"{name:38} {statistics.median(found):6.2f} {min(found):5.2f} {max(found):5.2f}")


if __name__ == "__main__":
    main()
