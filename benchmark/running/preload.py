"""The imports of the process server before it forks workers. It must never touch CUDA, nor start threads."""

import warnings

from ..environment import adopt_own_environment, home_for_avalanche

adopt_own_environment()  # also where a notebook has started the server
with home_for_avalanche(), warnings.catch_warnings(action="ignore"):  # warnings would be printed on the user's terminal
    import pandas
    import sklearn.datasets
    import torch
    import torchvision

    from . import worker

__all__ = ["pandas", "sklearn", "torch", "torchvision", "worker"]
