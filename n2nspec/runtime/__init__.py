"""Executors and the model that owns them."""

from n2nspec.runtime.build import compile
from n2nspec.runtime.choice import EngineChoice, choose_engine
from n2nspec.runtime.engines import ENGINES
from n2nspec.runtime.memory import memory_fault
from n2nspec.runtime.model import Model

__all__ = ["ENGINES", "EngineChoice", "Model", "choose_engine", "compile", "memory_fault"]
