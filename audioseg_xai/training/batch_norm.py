"""Batch normalisation over the batch of all processes, on any device.

PyTorch's own (`nn.SyncBatchNorm`) needs GPUs. This one is the same function of the whole batch as
the normalisation of one process, so that training does not depend on their number.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm


class _Sum(torch.autograd.Function):
    """Sum of a tensor over all processes; what flows back to each of them is summed as well."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor) -> torch.Tensor:
        total = values.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        total = gradient.clone()
        distributed.all_reduce(total)
        return total


class SharedBatchNorm(nn.Module):
    """Batch normalisation whose mean and variance are those of the batches of all processes.

    Ioffe and Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", ICML 2015, algorithm 1. The variance is that of the differences from
    the common mean, and not a difference of squares, which would lose precision.

    Parameters
    ----------
    norm : nn.BatchNorm1d or nn.BatchNorm2d
        Gives its weights and running statistics, which stay those of the state dictionary.
    """

    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, norm: _BatchNorm) -> None:
        super().__init__()
        assert norm.momentum is not None
        self.eps, self.momentum = norm.eps, norm.momentum
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Normalise each channel of (B, channels, ...)."""
        if not self.training:
            mean, variance = self.running_mean, self.running_var
            return nn.functional.batch_norm(
                inputs, mean, variance, self.weight, self.bias, eps=self.eps
            )
        axes = [axis for axis in range(inputs.dim()) if axis != 1]
        shape = [-1 if axis == 1 else 1 for axis in range(inputs.dim())]
        x = inputs.float()
        own = x.new_tensor([x.numel() / x.shape[1]])
        sums = _Sum.apply(torch.cat([x.sum(axes), own]))
        count = sums[-1].detach()
        mean = sums[:-1] / count
        centred = x - mean.view(shape)
        variance = _Sum.apply(centred.square().sum(axes)) / count
        self._track(mean.detach(), variance.detach() * count / (count - 1))
        scale = self.weight * (variance + self.eps).rsqrt()
        normalised: torch.Tensor = centred * scale.view(shape) + self.bias.view(shape)
        return normalised.to(inputs.dtype)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)
        self.num_batches_tracked.add_(1)


def share_batch_norm(network: nn.Module) -> None:
    """Put a `SharedBatchNorm` in the place of each batch normalisation of a network."""
    for name, child in list(network.named_children()):
        if isinstance(child, _BatchNorm):
            network.add_module(name, SharedBatchNorm(child))
        else:
            share_batch_norm(child)
