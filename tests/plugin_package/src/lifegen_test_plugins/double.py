"""Takes a name that lifegen has."""

from lifegen.benchmark import register_method
from lifegen.methods.models.method import VAEMethod


@register_method("naive", version=9)
class Naive(VAEMethod):
    """Another one."""
