"""The optimised engine: fused kernels on planned, preallocated, channels-last buffers."""

from n2nspec.runtime.optimized.engine import OptimizedEngine, begin_backward
from n2nspec.runtime.optimized.instance import Instance

__all__ = ["Instance", "OptimizedEngine", "begin_backward"]
