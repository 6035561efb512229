"""What the process server imports before it forks workers. It must never touch CUDA, nor start threads.

Of the methods and scenarios only some of lifegen's own, for what they import: a plug-in may do anything at its import.
"""

import warnings

with warnings.catch_warnings(action="ignore"):  # they would be printed on the user's terminal
    import pandas
    import sklearn.datasets
    import torch
    import torchvision

    from lifegen.methods import lifelong_vae
    from lifegen.scenarios import split

    from . import worker

__all__ = ["lifelong_vae", "pandas", "sklearn", "split", "torch", "torchvision", "worker"]
