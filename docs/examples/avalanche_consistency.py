"""The lifelong VAE in Avalanche's own loop: teacher and student, posterior consistency, mutual information.

Run it by `python docs/examples/avalanche_consistency.py`.
"""

import torch
from avalanche.logging import InteractiveLogger
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate
from digit_pairs import digit_pairs

from lifegen.benchmark import NegativeELBO, PosteriorConsistency, SampleCounts, Seeds, negative_elbo_loss
from lifegen.methods.generative_replay import TeacherPlugin
from lifegen.methods.lifelong_vae import ConsistencyPlugin, MutualInformationPlugin
from lifegen.methods.models.plugins import TemperaturePlugin
from lifegen.methods.models.vae import CodeStyleVAE

torch.set_num_threads(1)
torch.manual_seed(0)  # Avalanche's loaders and the model's noise
seeds = Seeds(0)
benchmark = digit_pairs()
model = CodeStyleVAE((1, 8, 8), codes=2, width=128, init=seeds.generator("initialisation"))
teacher = TeacherPlugin(seeds, growth=2)  # two codes more for each pair; the terms come after it
strategy = SupervisedTemplate(
    model=model,
    optimizer=torch.optim.Adam(model.parameters(), lr=3e-3),
    criterion=negative_elbo_loss,
    plugins=[TemperaturePlugin(), teacher, ConsistencyPlugin(teacher), MutualInformationPlugin(0.3)],
    train_mb_size=50,
    train_epochs=10,
    eval_mb_size=500,
    evaluator=EvaluationPlugin(NegativeELBO(), PosteriorConsistency(), SampleCounts(), loggers=[InteractiveLogger()]),
)
for experience in benchmark.train_stream:
    strategy.train(experience, drop_last=True)  # batch norm can't learn from a last batch of one image
    strategy.eval(benchmark.test_stream)
