"""A trained network on new pictures: arrays, files, held-out data. Floor 6."""

from n2nspec.apply.denoise import denoise
from n2nspec.apply.evaluate import Evaluation, evaluate
from n2nspec.apply.files import DenoisedFile, denoise_files

__all__ = ["DenoisedFile", "Evaluation", "denoise", "denoise_files", "evaluate"]
