"""An Avalanche benchmark of one's own as a scenario: the digits that come with scikit-learn, two classes at a time.

    lifegen run -s docs/examples/digit_pairs.py:steps=100 -m naive -m lifelong-vae

``register_benchmark`` leaves the function as it is: the scripts beside this file use it in Avalanche.
"""

import torch
from avalanche.benchmarks import class_incremental_benchmark
from avalanche.benchmarks.utils import as_classification_dataset
from sklearn.datasets import load_digits
from torch.utils.data import TensorDataset

from lifegen.scenarios.from_avalanche import register_benchmark


@register_benchmark("digit-pairs", version=1)
def digit_pairs():
    """The embedded 8x8 digits, two classes after another, as an Avalanche benchmark."""
    digits = load_digits()
    images, labels = torch.from_numpy(digits.images / 16).float()[:, None], torch.from_numpy(digits.target)
    everything = TensorDataset(images, labels)
    everything.targets = labels
    dataset = as_classification_dataset(everything)
    is_test = torch.arange(len(labels)) % 5 == 4
    parts = {"train": dataset.subset((~is_test).nonzero()[:, 0]), "test": dataset.subset(is_test.nonzero()[:, 0])}
    return class_incremental_benchmark(parts, class_order=list(range(10)), num_experiences=5)
