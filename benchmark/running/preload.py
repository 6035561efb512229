"""What the process server imports before it forks workers. It must never touch CUDA, nor start threads."""

import warnings

from ..environment import adopt_own_environment, home_for_avalanche

adopt_own_environment()  # the server is lifegen's own also where a notebook has started it
with home_for_avalanche(), warnings.catch_warnings(action="ignore"):  # they would be printed on the user's terminal
    import pandas
    import sklearn.datasets
    import torch
    import torchvision

    from . import worker

__all__ = ["pandas", "sklearn", "torch", "torchvision", "worker"]
