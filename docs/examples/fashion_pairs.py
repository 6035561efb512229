"""One of Avalanche's own benchmarks as a scenario: Fashion-MNIST, two classes at a time.

    lifegen run -s docs/examples/fashion_pairs.py:steps=500 -m naive -m lifelong-vae

Avalanche's default transforms normalise; pixels are to stay in [0, 1].
"""

from avalanche.benchmarks.classic import SplitFMNIST
from torchvision.transforms import ToTensor

from lifegen.scenarios.from_avalanche import register_benchmark

PIXELS = {"train_transform": ToTensor(), "eval_transform": ToTensor()}

register_benchmark(
    "fashion-pairs",
    lambda data_root: SplitFMNIST(5, seed=0, dataset_root=data_root, **PIXELS),
    version=1,
    data=("fashion-mnist",),
    summary="Avalanche's SplitFMNIST: two garments after another.",
)
