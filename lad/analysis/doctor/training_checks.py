"""Checks of the training: number of steps, loss, gradients, and AP over the epochs."""

from typing import Any

from lad.analysis.doctor.evidence import Evidence, Finding
from lad.config.profiles import ADAMW, SGD
from lad.experiments.teacher import NEAR_ZERO_AP

MIN_STEPS = 300  # from scratch, the toy student has AP 0.27 after 200 steps, 0.52 after 400 and 0.63 after 700
MIN_STEPS_FROM_DETECTOR = 50  # of a run that starts from a trained detector
CLIPPED_FACTOR = 2  # a mean norm above this many times clip_grad means that nearly every step is cut by half or more
RISEN_LOSS = 1.05  # of the first epoch's loss: beyond the noise of an epoch's mean
FLAT_LOSS = 0.95  # of the first epoch's; a run from scratch loses a quarter in its second epoch
HIGH_NORM = 50.0  # the gradient's mean norm is 1 to 3 in sound runs
NORM_SPIKE = 20  # times the last epoch's norm: 38 in a toy run with a hundred times its learning rate, 2 in a sound one
USUAL_LR: dict[str, Any] = {
    "adamw": ADAMW["lr"],
    "sgd": SGD["lr"],
}  # the highest of the profiles; that of SGD is for 16 images a step
SGD_BATCH = 16
UNUSUAL_LR = 10  # times the usual one
LEARNED_AP = 0.5  # on training images: a network that has come so far had steps enough for them
RISING_SHARE = 0.08  # of the last AP: the decay of the learning rate alone gives the last 4 % of a sound run
MIN_GAIN = 0.01  # AP; less is chance


def failed(run: Evidence) -> Finding | None:
    """Check that no loss or gradient was NaN or infinite."""
    broken = [number for number, line in enumerate(run.epochs, start=1) if "loss" in line and line["loss"] is None]
    if not broken and (run.is_finished or not run.has_failed_step):
        return None
    where = f"in epoch {broken[0]}" if broken else f"after epoch {len(run.epochs)}; the step is saved"
    return Finding(
        "error",
        f"a loss or gradient was not finite, {where}",
        "no training step after it is of use",
        f"lower lr (now {run.parameters.lr:g}); `lad replay` names the module where a saved step fails",
    )


def learning_rate_is_too_high(run: Evidence) -> Finding | None:
    """Check that lr is a usual one, and that neither the loss nor the gradients show that it is too high."""
    losses, norms, parameters = run.history("loss"), run.history("grad_norm"), run.parameters
    symptoms = []
    if len(losses) > 1 and losses[-1][1] > RISEN_LOSS * losses[0][1]:
        symptoms.append(
            f"the loss rose from {losses[0][1]:.3g} in epoch 1 to {losses[-1][1]:.3g} in epoch {losses[-1][0]}"
        )
    if norms and norms[-1][1] > HIGH_NORM and run.ap is not None and run.ap < NEAR_ZERO_AP:
        symptoms.append(f"AP is {run.ap:.3f} and the gradient's mean norm {norms[-1][1]:.3g}")
    highest = max(norms, key=lambda item: item[1], default=(0, 0.0))
    if norms and highest[1] > NORM_SPIKE * norms[-1][1] > 0:
        symptoms.append(
            f"the gradient's mean norm was {highest[1]:.3g} in epoch {highest[0]}, and {norms[-1][1]:.2g} at the end"
        )
    usual = USUAL_LR[parameters.optimizer]
    if parameters.optimizer == "sgd":
        usual *= max(1.0, parameters.batch_size / SGD_BATCH)
    is_unusual = parameters.epochs > 0 and parameters.lr > UNUSUAL_LR * usual
    if not symptoms and not is_unusual:
        return None
    high = [f"lr {parameters.lr:g} is {parameters.lr / usual:.0f} times the usual {usual:g}"] if is_unusual else []
    return Finding(
        "error" if symptoms else "warning",
        " and ".join([*high, *symptoms]),
        "a learning rate that is too high destroys in a few steps what was learned or loaded",
        f"set lr to {usual:g}" if is_unusual else f"lower lr (now {parameters.lr:g}) to a third or a tenth",
    )


def loss_is_flat(run: Evidence) -> Finding | None:
    """Check that the loss of a run from scratch falls."""
    losses = run.history("loss")
    if run.parameters.init is not None or len(losses) < 2:
        return None
    share = losses[-1][1] / losses[0][1] if losses[0][1] > 0 else 0
    if not FLAT_LOSS < share <= RISEN_LOSS:
        return None
    return Finding(
        "error",
        f"the loss is {losses[0][1]:.3g} in epoch 1 and {losses[-1][1]:.3g} in epoch {losses[-1][0]}",
        "it does not fall, so nothing is learned",
        f"try lr (now {run.parameters.lr:g}) ten times lower and ten times higher, and look at the boxes of the data "
        "(lad validate)",
    )


def gradients_are_always_clipped(run: Evidence) -> Finding | None:
    """Check that gradient clipping is an exception."""
    clip, norms = run.parameters.clip_grad, run.history("grad_norm")
    clipped = [norm for _, norm in norms if norm > CLIPPED_FACTOR * clip]
    if not clip or 2 * len(clipped) <= len(norms):
        return None
    return Finding(
        "warning",
        f"the gradient's mean norm is up to {max(clipped):.3g}, above {CLIPPED_FACTOR} × clip_grad ({clip:g}) in "
        f"{len(clipped)} of {len(norms)} epochs",
        "nearly every step is clipped, so the gradient's size is lost",
        f"raise clip_grad to about {2 * max(clipped):.2g}, or lower lr (now {run.parameters.lr:g})",
    )


def steps_are_few(run: Evidence) -> Finding | None:
    """Check that the whole run has enough optimizer steps."""
    parameters, per_epoch = run.parameters, run.steps_per_epoch
    if per_epoch is None or not parameters.epochs:
        return None
    steps = per_epoch * parameters.epochs
    needed = MIN_STEPS if parameters.init is None else MIN_STEPS_FROM_DETECTOR
    if steps >= needed or (run.train_ap is not None and run.train_ap >= LEARNED_AP):
        return None
    remedies = [f"raise epochs (now {parameters.epochs}) to {-(-needed // per_epoch)} or more"]
    if parameters.init is None:
        remedies += [f"lower batch_size (now {parameters.batch_size})", "start from a trained detector (init)"]
    return Finding(
        "error" if run.ap is not None and run.ap < NEAR_ZERO_AP else "warning",
        f"the run has {steps} optimizer steps in all, {per_epoch} an epoch",
        f"fewer than {needed} are seldom enough to learn to detect",
        ", or ".join(remedies),
    )


def warmup_is_too_long(run: Evidence) -> Finding | None:
    """Check that the warm-up ends before half of the run."""
    parameters, per_epoch = run.parameters, run.steps_per_epoch
    if per_epoch is None or not parameters.epochs or 2 * parameters.warmup < per_epoch * parameters.epochs:
        return None
    steps = per_epoch * parameters.epochs
    return Finding(
        "warning",
        f"the warm-up takes half of the run: {steps // 2} of {steps} steps (warmup={parameters.warmup})",
        "only the other half is left to learn at the learning rate that was set",
        f"set warmup to about {max(1, steps // 10)}, or raise epochs",
    )


def ap_is_rising(run: Evidence) -> Finding | None:
    """Check that AP no longer rises at the end."""
    history = run.history("AP")
    if not run.is_finished or len(history) < 2 or learning_rate_is_too_high(run) is not None:
        return None
    (before, earlier), (after, last) = history[-2:]
    if last - earlier < max(MIN_GAIN, RISING_SHARE * last):
        return None
    return Finding(
        "warning",
        f"AP still rises: {earlier:.3f} after epoch {before}, {last:.3f} after epoch {after}",
        "the training ended before the network had learned what it can",
        f"raise epochs (now {run.parameters.epochs}), for instance to {2 * run.parameters.epochs}",
    )


TRAINING_CHECKS = (
    failed,
    learning_rate_is_too_high,
    loss_is_flat,
    steps_are_few,
    warmup_is_too_long,
    gradients_are_always_clipped,
    ap_is_rising,
)
