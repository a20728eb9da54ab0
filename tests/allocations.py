"""What torch's CPU allocator gives out while functions run.

In: functions. Out: for each the most bytes that it has allocated at once, what it was given not counted. One
session of the profiler sees them all, as starting it takes longer than a small function.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise

from torch.profiler import ProfilerActivity, profile, record_function

from n2nspec.oracle.limits import silent_profiler

__all__ = ["allocated"]


def allocated(functions: Sequence[Callable[[], object]]) -> list[int]:
    with silent_profiler(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        for function in functions:
            with record_function("function"):
                function()
    assert found.profiler is not None
    events = list(found.profiler.kineto_results.events())
    begins = sorted(event.start_ns() for event in events if event.name() == "function")
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    places = [bisect_left(changes, (begin,)) for begin in begins] + [len(changes)]
    return [
        max(accumulate((change for _, change in changes[first:last]), initial=0))
        for first, last in pairwise(places)
    ]
