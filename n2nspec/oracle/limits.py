"""What a machine can do at most, and how much memory a step takes.

In: a device and a dtype. Out: the speed of a large matrix product and of a large copy, measured here and now.
And, for a function that makes a step, the most memory that is given out at once while steps run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import accumulate
from time import perf_counter
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, record_function

__all__ = ["copy_speed", "peak_bytes", "silent_profiler", "product_speed"]

REPEATS = 5
STEPS = 2
"""Steps that the memory is watched for: the first may make what the second only uses."""


def product_speed(place: torch.device, kind: torch.dtype) -> float:
    """Multiplications and additions a second of a large matrix product; the best of five."""
    side = 8192 if place.type == "cuda" else 1024
    a, b = (torch.ones(side, side, dtype=kind, device=place) for _ in range(2))
    out = torch.empty_like(a)
    return 2 * side**3 / _best(lambda: torch.mm(a, b, out=out), place)


def copy_speed(place: torch.device) -> float:
    """Bytes a second, read and written together, of a copy that no cache holds; the best of five."""
    size = 2**30 if place.type == "cuda" else 2**27
    a = torch.ones(size, dtype=torch.uint8, device=place)
    out = torch.zeros_like(a)
    return 2 * size / _best(lambda: out.copy_(a), place)


def _best(run: Callable[[], Any], place: torch.device) -> float:
    found = []
    for _ in range(REPEATS):
        start = perf_counter()
        run()
        if place.type == "cuda":
            torch.cuda.synchronize(place)
        found.append(perf_counter() - start)
    return min(found)


def peak_bytes(make: Callable[[], Callable[[], Any]], place: torch.device) -> int:
    """The most memory that torch gives out at once, of what is asked for from `make` on, while steps run.

    What lives between steps counts (weights, gradients, moments, buffers), and so does what a step allocates.
    What a library takes for itself, past torch's allocator, is not seen.
    """
    if place.type == "cuda":
        before = torch.cuda.memory_allocated(place)
        step = make()
        torch.cuda.reset_peak_memory_stats(place)
        for _ in range(STEPS):
            step()
        return torch.cuda.max_memory_allocated(place) - before
    with silent_profiler(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        step = make()
        with record_function("steps"):
            for _ in range(STEPS):
                step()
    assert found.profiler is not None
    events = list(found.profiler.kineto_results.events())  # its own tables lose the order
    begin = min(event.start_ns() for event in events if event.name() == "steps")
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = sum(change for moment, change in changes if moment < begin)
    most: int = max(accumulate((change for moment, change in changes if moment >= begin), initial=held))
    return most


@contextmanager
def silent_profiler() -> Iterator[None]:
    """Without the profiler's own lines on stderr, which only this variable turns off."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ["KINETO_LOG_LEVEL"] = "6"
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]
        else:
            os.environ["KINETO_LOG_LEVEL"] = before
