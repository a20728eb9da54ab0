"""The fixtures of `tests/plugin_project.py`."""

from plugin_project import project

__all__ = ["project"]
