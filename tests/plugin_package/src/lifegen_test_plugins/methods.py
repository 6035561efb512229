"""A penalty on the distance of weights."""

from avalanche.core import SupervisedPlugin

from lifegen.benchmark import register_method
from lifegen.methods.models.method import VAEMethod


class AnchorPlugin(SupervisedPlugin):
    def __init__(self, strength):
        super().__init__()
        self.strength = strength
        self.anchor = []

    def before_backward(self, strategy, **_):
        pairs = zip(strategy.model.parameters(), self.anchor)  # noqa: B905  (none at first)
        strategy.loss = strategy.loss + self.strength * sum((p - a).square().sum() for p, a in pairs)

    def after_training_exp(self, strategy, **_):
        self.anchor = [p.detach().clone() for p in strategy.model.parameters()]


@register_method("anchored", version=4, uses=("boundaries",))
class Anchored(VAEMethod):
    """Squared distance to the weights of the interval before."""

    class Config(VAEMethod.Config):
        strength: float = 0.01
        """Weight of the squared distance."""

    def plugins(self, stream, seeds):
        return [*super().plugins(stream, seeds), AnchorPlugin(self.config.strength)]
