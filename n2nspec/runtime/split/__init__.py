"""Training steps split by pictures: one process a core, each with a part of the batch.

Small operators gain little from a second core, as both meet after each of them; parts of a batch meet once a
step. The same kernels run on the parts wherever they run, so what a step computes does not depend on it.
"""

from n2nspec.runtime.split.shares import Shares, default_processes
from n2nspec.runtime.split.team import Team

__all__ = ["Shares", "Team", "default_processes"]
