"""The losses of ViNet and STAViS in plain PyTorch: what a network is trained on, and the loss of a batch."""

import torch
from torch import nn
from torch.nn import functional as F

EPSILON = 2.2204e-16


def divergence(pred: torch.Tensor, density: torch.Tensor, fixations: torch.Tensor) -> torch.Tensor:
    """Returns ViNet's loss, the mean divergence of maps [B, H, W] divided by their sums."""
    del fixations
    s, g = (x / x.sum((1, 2), keepdim=True) for x in (pred, density))
    return (g * torch.log(EPSILON + g / (s + EPSILON))).sum((1, 2)).mean()


def stavis(logits: torch.Tensor, density: torch.Tensor, fixations: torch.Tensor) -> torch.Tensor:
    """Returns STAViS's loss: a cross entropy, less correlation and the mean z-score at fixations."""
    entropy = F.binary_cross_entropy_with_logits(logits, density, reduction="none").sum((1, 2))
    s = logits.sigmoid()
    x, y = s - s.mean((1, 2), keepdim=True), density - density.mean((1, 2), keepdim=True)
    energy = x.square().sum((1, 2))
    correlation = (x * y).sum((1, 2)) / (energy.sqrt() * y.square().sum((1, 2)).sqrt())
    score = (x * fixations).sum((1, 2)) / (energy / x[0].numel()).sqrt() / fixations.sum((1, 2))
    return (0.1 * entropy - 2 * correlation - score).mean()


class Trained(nn.Module):
    """A network with its loss: (density, fixations, inputs) -> loss.

    Args:
        name: module of `benchmarks.peers`.
        network: of it.
    """

    def __init__(self, name: str, network: nn.Module):
        super().__init__()
        self.network, self._logits = network, name == "stavis"

    def forward(self, density: torch.Tensor, fixations: torch.Tensor, *inputs: torch.Tensor) -> torch.Tensor:
        """Returns the loss of a batch."""
        if self._logits:
            return stavis(self.network.logits(*inputs).float(), density, fixations)
        return divergence(self.network(*inputs).float(), density, fixations)
