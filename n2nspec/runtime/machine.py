"""Which machine this is: what a measured time holds for.

In: a device. Out: names and versions.
"""

from __future__ import annotations

import platform
from pathlib import Path
from typing import TYPE_CHECKING

from n2nspec._lazy import torch
from n2nspec._version import __version__

if TYPE_CHECKING:
    from torch import device

__all__ = ["cpu_name", "signature"]


def cpu_name() -> str:
    """As the system calls it; Python's own answer is empty on Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def signature(place: device) -> dict[str, str | int]:
    """All that a measured time depends on besides what was measured."""
    return {
        "n2nspec": __version__,
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else cpu_name(),
        "threads": torch.get_num_threads(),
    }
