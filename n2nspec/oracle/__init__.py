"""The judge: the same network as torch.nn modules with autograd, and comparisons against it.

The only folder of the package that may use torch.nn, torch.autograd and torch.optim. Nothing that checks a
spec imports it.
"""

from n2nspec.oracle.bench import BenchReport, BenchRow, Limit, bench
from n2nspec.oracle.contestants import CONTESTANTS
from n2nspec.oracle.report import VerifyReport, VerifyRow
from n2nspec.oracle.trainer import OracleTrainer
from n2nspec.oracle.twin import Twin, twin
from n2nspec.oracle.verify import verify

__all__ = [
    "CONTESTANTS",
    "BenchReport",
    "BenchRow",
    "Limit",
    "OracleTrainer",
    "Twin",
    "VerifyReport",
    "VerifyRow",
    "bench",
    "twin",
    "verify",
]
