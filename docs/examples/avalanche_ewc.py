"""lifegen's EWC for VAEs in Avalanche's own loop: a Fisher information of per-sample gradients.

Run it by `python docs/examples/avalanche_ewc.py`.
"""

import torch
from avalanche.logging import TextLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from digit_pairs import digit_pairs

from lifegen.benchmark import NegativeELBO, SampleCounts, Seeds, negative_elbo_loss
from lifegen.methods.ewc import EWCPlugin
from lifegen.methods.models.plugins import TemperaturePlugin
from lifegen.methods.models.vae import CodeStyleVAE

torch.set_num_threads(1)
torch.manual_seed(0)  # Avalanche's loaders and the model's noise
seeds = Seeds(0)
benchmark = digit_pairs()
model = CodeStyleVAE((1, 8, 8), codes=10, width=128, init=seeds.generator("initialisation"))
ewc = EWCPlugin(seeds, strength=10)
strategy = SupervisedTemplate(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    criterion=negative_elbo_loss,
    plugins=[TemperaturePlugin(restart=False), ewc],
    train_mb_size=50,
    train_epochs=10,
    eval_mb_size=500,
    evaluator=EvaluationPlugin(NegativeELBO(), SampleCounts(), loggers=[TextLogger()]),
)
for experience in benchmark.train_stream:
    strategy.train(experience, drop_last=True)  # batch norm can't learn from a last batch of one image
    strategy.eval(benchmark.test_stream)
print(f"EWC keeps {ewc.stored_parameters:,} numbers")
