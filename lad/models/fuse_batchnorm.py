"""Fusing BatchNorm into convolutions, for networks that are only evaluated."""

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fuse_batchnorm(network: Network) -> Network:
    """Return a frozen copy in eval mode with every BatchNorm fused into the convolution directly before it.

    Outputs are the same up to rounding.
    """
    fused = copy.deepcopy(network).eval()
    for parent in list(fused.modules()):
        for (name, convolution), (next_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, next_name, nn.Identity())
    return fused.requires_grad_(False)
