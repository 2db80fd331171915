"""Being asked to stop, by a person or a cluster: the step in hand is finished and kept first."""

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

import torch
import torch.distributed as dist
from lightning.fabric import Fabric

from lad.utils.progress import log

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # Ctrl-C or a notebook's stop button; a cluster, or `kill`
Item = TypeVar("Item")
AGREE_EVERY = 10  # steps, as asking the other devices costs time


class StopRequest:
    """Whether someone asked to stop. number: of the signal that did."""

    def __init__(self) -> None:
        self.number: int | None = None

    def agreed(self, fabric: Fabric, step: int) -> bool:
        """Whether all devices stop after this step: where there are several, they have to do so together."""
        if fabric.world_size == 1:
            return self.number is not None
        if step % AGREE_EVERY:
            return False
        asked = torch.tensor(float(self.number or 0), device=fabric.device)
        dist.all_reduce(asked, dist.ReduceOp.MAX)
        self.number = int(asked) or None
        return self.number is not None


@contextmanager
def defer_signals(on_request: Callable[[], object] = lambda: None) -> Iterator[StopRequest]:
    """Within this block a first interrupt (Ctrl-C, a notebook's stop button) or SIGTERM only calls `on_request` and is
    noted; a second one stops at once. When the block ends, the signal does what it would have done; where that does
    not end the block either, KeyboardInterrupt does. A signal that is ignored, as under nohup, stays so."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():  # signals are not its business
        yield request
        return
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    before = {number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)}

    def note(number: int, _frame: FrameType | None) -> None:
        request.number = number
        on_request()
        log("stopping after this step, to be gone on with; a second signal stops at once")
        restore()

    def restore() -> None:
        for one, handler in before.items():
            signal.signal(one, handler)

    for number in before:
        signal.signal(number, note)
    try:
        yield request
    finally:
        restore()
        if request.number is not None:
            signal.raise_signal(request.number)
            raise KeyboardInterrupt


def unless_asked(items: Iterable[Item], request: StopRequest) -> Iterator[Item]:
    """`items`, which need not be finished: raises KeyboardInterrupt before the next one once someone asked to stop."""
    for item in items:
        if request.number is not None:
            raise KeyboardInterrupt
        yield item
