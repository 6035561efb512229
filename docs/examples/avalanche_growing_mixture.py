"""The growing mixture of VAEs in Avalanche's own loop: a new component where the data are new.

Run it by `python docs/examples/avalanche_growing_mixture.py`.
"""

import torch
from avalanche.logging import InteractiveLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from digit_pairs import digit_pairs

from lifegen.benchmark import NegativeELBO, PosteriorConsistency, SampleCounts, Seeds, negative_elbo_loss
from lifegen.methods.growing_mixture import GrowingPlugin
from lifegen.methods.models.mixture import VAEMixture
from lifegen.methods.models.plugins import ResetOptimizerPlugin

torch.set_num_threads(1)
torch.manual_seed(0)  # Avalanche's loaders and the model's noise
seeds = Seeds(0)
benchmark = digit_pairs()
model = VAEMixture((1, 8, 8), style=14, width=128, track="bernoulli-grey", init=seeds.generator("initialisation"))
growing = GrowingPlugin(seeds, threshold=3)  # nats
strategy = SupervisedTemplate(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    criterion=negative_elbo_loss,
    plugins=[growing, ResetOptimizerPlugin()],
    train_mb_size=50,
    train_epochs=10,
    eval_mb_size=500,
    evaluator=EvaluationPlugin(NegativeELBO(), PosteriorConsistency(), SampleCounts(), loggers=[InteractiveLogger()]),
)
for experience in benchmark.train_stream:
    strategy.train(experience, drop_last=True)  # batch norm can't learn from a last batch of one image
    strategy.eval(benchmark.test_stream)
    print(f"components: {model.codes}; discrepancies of the others, nats: {growing.discrepancies}")
