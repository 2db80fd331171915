"""The optimizer and its learning rate schedule."""

import math

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from lad.config.groups import OptimizationParameters

WARMUP_START = 1e-3  # factor on the learning rate at the first step
STEP_DECAY_AFTER = (2 / 3, 11 / 12)  # of the epochs: 8 and 11 of 12, 16 and 22 of 24


def build_optimizer(parameters: OptimizationParameters, trainable: list[nn.Parameter]) -> Optimizer:
    """Build SGD with momentum .9, or AdamW without weight decay of normalization weights and biases.

    The optimizer is fused, except with 16-mixed: a fused one unscales the gradients only in its update, too late for
    their norm.
    """
    fused = parameters.precision != "16-mixed"
    if parameters.optimizer == "sgd":
        return SGD(trainable, lr=parameters.lr, momentum=0.9, weight_decay=parameters.weight_decay, fused=fused)
    groups = [
        {"params": [p for p in trainable if p.dim() > 1], "weight_decay": parameters.weight_decay},
        {"params": [p for p in trainable if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=parameters.lr, fused=fused)


def learning_rate(parameters: OptimizationParameters, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step.

    Linear warm-up from lr × .001; then ÷ 10 after 2/3 and 11/12 of the epochs ("step"), or half a cosine over all steps
    ("cosine").
    """
    now, end = epoch * steps_per_epoch + step, parameters.epochs * steps_per_epoch
    warmup = min(parameters.warmup, end // 2)
    factor = 1.0 if now >= warmup else WARMUP_START + (1 - WARMUP_START) * now / warmup
    if parameters.schedule == "cosine":
        return parameters.lr * factor * (1 + math.cos(math.pi * now / end)) / 2
    decays = sum(epoch >= round(parameters.epochs * fraction) for fraction in STEP_DECAY_AFTER)
    return parameters.lr * factor * 0.1**decays
