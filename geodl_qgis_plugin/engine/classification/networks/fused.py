"""
Convolutions as they map: the batch norm folded in, and the rectifier applied while the sums are still in the registers.

On a CPU oneDNN does both in one pass over memory, which PyTorch offers to its compiler; elsewhere, and in other number types,
the steps are taken one by one. What comes out is the same but for rounding.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval


class FusedConvolution(nn.Conv2d):
    """
    A convolution with what follows it, for mapping only.

    Given ``other`` of the output's shape, it is added before the rectifier. Its input takes the number type of its weights:
    `halved` has those in bfloat16.
    """

    def __init__(self, convolution: nn.Conv2d, *, rectified: bool) -> None:
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            convolution.padding,  # type: ignore[arg-type]
            convolution.dilation,  # type: ignore[arg-type]
            convolution.groups,
            convolution.bias is not None,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.rectified = rectified

    def forward(self, x: Tensor, other: Tensor | None = None) -> Tensor:
        """Return the convolution, plus ``other``, rectified."""
        x = x.to(self.weight.dtype)
        if other is not None:
            other = other.to(x.dtype)
            # The fused operator writes what it computes into room of this shape, whether it fits or not.
            if other.shape != self._shape_of_output(x):
                raise ValueError(f"A convolution of {tuple(x.shape)} cannot be added to {tuple(other.shape)}.")
        if self._is_one_step(x):
            shape = (list(self.padding), list(self.stride), list(self.dilation), self.groups)
            if other is None:
                function = "relu" if self.rectified else "none"
                result: Tensor = _one_step()(x, self.weight, self.bias, *shape, function, [], "")
            else:
                then = "relu" if self.rectified else None
                result = _one_step().binary(x, other, self.weight, self.bias, *shape, "add", 1.0, then, [], None)
            return result
        y = super().forward(x)
        if other is not None:
            y += other
        return F.relu_(y) if self.rectified else y

    def _shape_of_output(self, x: Tensor) -> tuple[int, ...]:
        paddings: tuple[int, ...] = self.padding  # type: ignore[assignment]
        sides = (
            (side + 2 * padding - dilation * (size - 1) - 1) // stride + 1
            for side, padding, dilation, size, stride in zip(
                x.shape[2:], paddings, self.dilation, self.kernel_size, self.stride
            )
        )
        return (x.shape[0], self.out_channels, *sides)

    def _is_one_step(self, x: Tensor) -> bool:
        return (
            x.device.type == "cpu"
            and x.dtype in (torch.float32, torch.bfloat16)
            and isinstance(self.padding, tuple)
            and self.padding_mode == "zeros"
            and not torch.is_grad_enabled()
            and not torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
            and not torch.onnx.is_in_onnx_export()
            and not torch.compiler.is_compiling()
            and _one_step() is not None
        )


def for_maps(net: nn.Module) -> nn.Module:
    """Return a net as it maps; the one given is used up."""
    own = getattr(net, "for_maps", None)
    if own is not None:
        result: nn.Module = own()
        return result
    fused(net)
    return net


def fused(net: nn.Module) -> None:
    """Put a `FusedConvolution` in the place of every convolution, in place; a part's own ``for_maps`` has precedence."""
    for name, child in list(net.named_children()):
        if hasattr(child, "for_maps"):
            setattr(net, name, for_maps(child))
        elif type(child) is nn.Conv2d:
            setattr(net, name, FusedConvolution(child, rectified=False))
        elif isinstance(child, nn.Sequential):
            _fuse_steps(child)
            fused(child)
        else:
            fused(child)


def folded(convolution: nn.Conv2d, norm: nn.Module) -> nn.Conv2d:
    """Return a convolution with the batch norm that follows it, if one does."""
    return fuse_conv_bn_eval(convolution, norm) if isinstance(norm, nn.BatchNorm2d) else convolution


def halved(net: nn.Module) -> None:
    """Let the convolutions compute in bfloat16, in place, but for those in parts that their owner names ``in_float32``."""
    exact: tuple[str, ...] = getattr(net, "in_float32", ())
    for name, child in net.named_children():
        if name in exact:
            continue
        if isinstance(child, FusedConvolution):
            child.to(torch.bfloat16)
        halved(child)


def _fuse_steps(steps: nn.Sequential) -> None:
    """Fuse each convolution with the norm and the rectifier behind it; the places of those are kept, empty."""
    for i, step in enumerate(steps):
        if type(step) is not nn.Conv2d:
            continue
        convolution, after = step, i + 1
        if after < len(steps) and isinstance(steps[after], nn.BatchNorm2d):
            convolution = folded(step, steps[after])
            steps[after], after = nn.Identity(), after + 1
        rectified = after < len(steps) and isinstance(steps[after], nn.ReLU)
        if rectified:
            steps[after] = nn.Identity()
        steps[i] = FusedConvolution(convolution, rectified=rectified)


@functools.cache
def _one_step() -> Any:
    """Return PyTorch's fused convolution, or None where it has none or it does not do what it did in the versions tried."""
    try:
        operator: Any = torch.ops.mkldnn._convolution_pointwise
        x, weight, bias = torch.tensor([[[[2.0]], [[-3.0]]]]), torch.tensor([[[[1.0]], [[1.0]]]]), torch.tensor([0.5])
        shape = ([0, 0], [1, 1], [1, 1], 1)
        with torch.inference_mode():
            plain = float(operator(x, weight, bias, *shape, "none", [], ""))
            cut = float(operator(x, weight, bias, *shape, "relu", [], ""))
            added = float(operator.binary(x, x[:, :1], weight, bias, *shape, "add", 1.0, "relu", [], None))
    except (AttributeError, RuntimeError, TypeError):
        return None
    return operator if (plain, cut, added) == (-0.5, 0.0, 1.5) else None
