"""Pictures: files, pairs to train on, pictures to measure on. Floor 6."""

from n2nspec.data.files import atomic_write
from n2nspec.data.photographs import PHOTOGRAPHS, Photograph
from n2nspec.data.pictures import SUFFIXES, Picture, read_picture, write_picture
from n2nspec.data.scaling import from_unit, full_scale, to_unit
from n2nspec.data.training import TrainingData, open_training
from n2nspec.data.validation import ValidationData, ValidationPicture, open_validation

__all__ = [
    "PHOTOGRAPHS",
    "SUFFIXES",
    "Photograph",
    "Picture",
    "TrainingData",
    "ValidationData",
    "ValidationPicture",
    "atomic_write",
    "from_unit",
    "full_scale",
    "open_training",
    "open_validation",
    "read_picture",
    "to_unit",
    "write_picture",
]
