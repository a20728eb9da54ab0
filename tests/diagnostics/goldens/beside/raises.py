"""A plugin that looks for something that is not there."""

import os

WEIGHTS = os.environ["N2NSPEC_NO_SUCH_VARIABLE"]
