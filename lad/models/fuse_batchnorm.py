"""A network that only looks needs no BatchNorm of its own: its convolutions can do the scaling."""

import copy
from itertools import pairwise
from typing import TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Network = TypeVar("Network", bound=nn.Module)


def fold_batchnorm(network: Network) -> Network:
    """A frozen copy in eval mode, in which every BatchNorm that directly follows a convolution is part of it. Its
    outputs are the same but for rounding."""
    folded = copy.deepcopy(network).eval()
    for parent in list(folded.modules()):
        for (name, convolution), (next_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, fuse_conv_bn_eval(convolution, norm))
                setattr(parent, next_name, nn.Identity())
    return folded.requires_grad_(False)
