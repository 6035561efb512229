"""The checks of ``lifegen check``: whether a method, scenario or metric keeps its promises.

Each is a generator of :class:`Finding`s, so that first findings are shown while the check goes on.
"""

from .findings import Finding

__all__ = ["Finding"]
