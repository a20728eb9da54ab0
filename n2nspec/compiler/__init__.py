"""From a shaped graph to a schedule. Passes and lowerings of the faster engines will stand beside it."""

from n2nspec.compiler.plan import BackwardStep, ForwardStep, Plan, plan, plan_document

__all__ = ["BackwardStep", "ForwardStep", "Plan", "plan", "plan_document"]
