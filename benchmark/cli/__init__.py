"""Words in, exit codes out."""

from .main import main

__all__ = ["main"]
