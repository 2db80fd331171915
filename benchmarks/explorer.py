"""Measure how long the explorer takes to respond to a choice.

    python benchmarks/explorer.py [--rounds 10] [--run NAME]

Time of the kernel between a choice and the new panels: networks, assignment, figures, SVG, table; the browser's drawing
comes on top. Uses the newest finished run in runs/, or an untrained network without one.
"""

import argparse
import itertools
import statistics

from measure import alternate, machine

from lad.explorer.app import explore
from lad.explorer.config import make_explorer_config
from lad.explorer.widgets import Controls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--run", help="name of a run (default: the newest)")
    given = parser.parse_args()
    explorer = explore(make_explorer_config({"run": given.run}))
    controls = Controls(explorer)
    image, epoch = itertools.count(1), itertools.cycle(explorer.session.epochs)

    def choose_next(control) -> None:
        """Choose the next option of a dropdown, the first after the last."""
        values = [option[1] for option in control.options]
        control.value = values[(values.index(control.value) + 1) % len(values)]

    def next_image() -> None:
        controls._change(lambda: {"image": next(image) % len(explorer.session.dataset), "gt": None})

    def next_epoch() -> None:
        explorer.session.analysis_cache.clear()
        controls._change(lambda: {"epoch": next(epoch)})

    choices = {
        "another assignment": lambda: choose_next(controls.assignment),
        "a level on or off": lambda: setattr(controls.levels[1], "value", not controls.levels[1].value),
        "another image": next_image,
        "another object": lambda: controls._change(lambda: {"gt": (explorer.view.gt + 1) % len(controls.gt.options)}),
    }
    if explorer.session.epochs:
        choices["another epoch"] = next_epoch
    seconds = alternate(choices, given.rounds)
    print(f"{explorer.session.name}; {machine()}\n")
    print("| choice | median, ms | longest, ms |\n|---|---:|---:|")
    for name, times in seconds.items():
        print(f"| {name} | {1000 * statistics.median(times):.0f} | {1000 * max(times):.0f} |")


if __name__ == "__main__":
    main()
