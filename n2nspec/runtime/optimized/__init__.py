"""The optimised engine: fused kernels on planned, preallocated, channels-last buffers."""

from n2nspec.runtime.optimized.engine import OptimizedEngine, begin_backward
from n2nspec.runtime.optimized.instance import Instance
from n2nspec.runtime.optimized.limit import Fitted, MemoryLimit

__all__ = ["Fitted", "Instance", "MemoryLimit", "OptimizedEngine", "begin_backward"]
