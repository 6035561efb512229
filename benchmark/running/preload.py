"""The imports of the process server before it forks workers. It must never touch CUDA, nor start threads."""

import signal
import warnings

from ..environment import adopt_own_environment, home_for_avalanche

adopt_own_environment()  # also where a notebook has started the server
_before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, which ends this server
with home_for_avalanche(), warnings.catch_warnings(action="ignore"):  # warnings would be printed on the user's terminal
    import pandas
    import sklearn.datasets
    import torch
    import torchvision

    from . import worker

signal.signal(signal.SIGINT, _before)
__all__ = ["pandas", "sklearn", "torch", "torchvision", "worker"]
