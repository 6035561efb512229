"""What a method, scenario or metric has promised, and whether it keeps it: the checks behind ``lifegen check``.

Each is a generator of :class:`Finding`s, so that what is known can be shown while the rest is looked at.
"""

from .findings import Finding

__all__ = ["Finding"]
