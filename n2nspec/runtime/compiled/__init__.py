"""The compiled engine: a training step as one function that torch's compiler turns into machine code."""

from n2nspec.runtime.compiled.engine import CompiledEngine
from n2nspec.runtime.compiled.precision import PRECISIONS, Precision, in_full

__all__ = ["PRECISIONS", "CompiledEngine", "Precision", "in_full"]
