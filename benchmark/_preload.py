"""What the process server imports before it forks workers. It must never touch CUDA, nor start threads."""

import warnings

with warnings.catch_warnings(action="ignore"):  # they would be printed on the user's terminal
    import pandas
    import sklearn.datasets
    import torch
    import torchvision

    from . import worker

__all__ = ["pandas", "sklearn", "torch", "torchvision", "worker"]
