"""The optimised engine: fused kernels on planned, preallocated, channels-last buffers."""

from n2nspec.runtime.optimized.engine import Course, OptimizedEngine, Way, begin_backward, grouped
from n2nspec.runtime.optimized.instance import Instance
from n2nspec.runtime.optimized.limit import Fitted, MemoryLimit

__all__ = [
    "Course",
    "Fitted",
    "Instance",
    "MemoryLimit",
    "OptimizedEngine",
    "Way",
    "begin_backward",
    "grouped",
]
