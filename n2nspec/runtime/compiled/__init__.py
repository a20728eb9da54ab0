"""The compiled engine: a whole training step as one function that `torch.compile` turns into machine code."""

from n2nspec.runtime.compiled.engine import CompiledEngine

__all__ = ["CompiledEngine"]
