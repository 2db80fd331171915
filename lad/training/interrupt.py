"""Interrupts by a person or a cluster: the current training step is finished and saved first."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning_fabric import Fabric

from lad.utils.progress import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C or a notebook's stop button; a cluster, or `kill`
Item = TypeVar("Item")
AGREE_EVERY = 10  # steps, as communication between devices costs time


class Interrupt:
    """A signal to stop, once one has arrived.

    Attributes:
        number: Number of the signal; None while there is none.
    """

    def __init__(self) -> None:
        self.number: int | None = None

    def agreed(self, fabric: Fabric, step: int) -> bool:
        """Return whether to stop after this step; all devices of a run agree, so that they stop together."""
        if fabric.world_size == 1:
            return self.number is not None
        if step % AGREE_EVERY:
            return False
        highest = torch.tensor(float(self.number or 0), device=fabric.device)
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        self.number = int(highest) or None
        return self.number is not None


@contextmanager
def defer_signals(on_interrupt: Callable[[], object] = lambda: None) -> Iterator[Interrupt]:
    """Defer a first SIGINT (Ctrl-C, a notebook's stop button) or SIGTERM to the end of the block.

    The first signal is recorded and calls `on_interrupt`; a second one stops at once. When the block ends, the
    signal takes its usual effect, and KeyboardInterrupt is raised if that does not end the process. A signal that is
    ignored, as under nohup, stays ignored.

    Yields:
        The interrupt, whose `number` is set when a signal arrives.
    """
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():  # only the main thread receives signals
        yield interrupt
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def record(number: int, _frame: FrameType | None) -> None:
        interrupt.number = number
        on_interrupt()
        log(
            "interrupted: saving a checkpoint after this step (press again to stop now); run the same command to resume"
        )
        restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    for number in before:
        signal.signal(number, record)
    try:
        yield interrupt
    finally:
        restore()
        if interrupt.number is not None:
            signal.raise_signal(interrupt.number)
            raise KeyboardInterrupt


def stop_on_interrupt(items: Iterable[Item], interrupt: Interrupt) -> Iterator[Item]:
    """Yield items until a signal arrives, for work that need not be finished.

    Raises:
        KeyboardInterrupt: A signal arrived; raised before the next item.
    """
    for item in items:
        if interrupt.number is not None:
            raise KeyboardInterrupt
        yield item
