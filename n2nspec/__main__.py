"""`python -m n2nspec`."""

import sys

from n2nspec.cli import main

sys.exit(main())
