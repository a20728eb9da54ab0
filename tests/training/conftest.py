"""Fixtures of the small world."""

from small_world import pairs, spec

__all__ = ["pairs", "spec"]
