"""Executors and the model that owns them."""

from n2nspec.runtime.build import compile
from n2nspec.runtime.engines import ENGINES
from n2nspec.runtime.memory import memory_fault
from n2nspec.runtime.model import Model

__all__ = ["ENGINES", "Model", "compile", "memory_fault"]
