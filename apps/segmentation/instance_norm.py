"""Instance norm of volumes that lie channels-last on a processor, without the copies of torch's own."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

LAST: Any = torch.channels_last_3d


class _Normalised(torch.autograd.Function):
    """Sample by sample the batch norm of one sample, which keeps the memory format."""

    @staticmethod
    def forward(ctx: Any, volume: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        result = torch.empty_like(volume)
        mean, scale = volume.new_empty(volume.shape[:2]), volume.new_empty(volume.shape[:2])
        for i in range(len(volume)):
            one = slice(i, i + 1)
            out = (result[one], mean[i], scale[i])
            torch.native_batch_norm(volume[one], weight, bias, None, None, True, 0.0, eps, out=out)
        ctx.save_for_backward(volume, weight, mean, scale)
        ctx.eps = eps
        return result

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        volume, weight, mean, scale = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=LAST)
        result, of_weight, of_bias = torch.empty_like(volume), torch.empty_like(mean), torch.empty_like(mean)
        for i in range(len(volume)):
            one = slice(i, i + 1)
            torch.ops.aten.native_batch_norm_backward.out(
                gradient[one],
                volume[one],
                weight,
                None,
                None,
                mean[i],
                scale[i],
                True,
                ctx.eps,
                [True, True, True],
                out0=result[one],
                out1=of_weight[i],
                out2=of_bias[i],
            )
        return result, of_weight.sum(0), of_bias.sum(0), None


class ChannelsLastInstanceNorm(nn.InstanceNorm3d):
    """``nn.InstanceNorm3d`` with the same parameters and values.

    Torch's own lays a volume that is channels-last out anew, and so does the convolution after it: a fifth of a
    training step. What this one cannot serve (GPUs, half precision, other layouts) goes to torch's own. It has no
    second gradient.
    """

    def forward(self, input: Tensor) -> Tensor:
        """The normalised volume (B, C, i, j, k), in the memory format that it came in."""
        served = (
            input.device.type == "cpu"
            and input.dtype == torch.float32
            and self.affine
            and input.dim() == 5
            and input[0, 0].numel() > 1
            and not self.track_running_stats
            and input.is_contiguous(memory_format=LAST)
            and not torch.compiler.is_compiling()
        )
        if not served:
            return super().forward(input)
        return cast(Tensor, _Normalised.apply(input, self.weight, self.bias, self.eps))


def with_fast_norms(network: nn.Module) -> nn.Module:
    """The network with every affine instance norm replaced by one that keeps the memory format."""
    for name, child in network.named_children():
        if type(child) is nn.InstanceNorm3d and child.affine and not child.track_running_stats:
            norm = ChannelsLastInstanceNorm(child.num_features, child.eps, affine=True)
            norm.weight, norm.bias = child.weight, child.bias
            setattr(network, name, norm)
        else:
            with_fast_norms(child)
    return network
