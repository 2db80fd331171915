"""Draws the README's figure from the toy runs, which it trains if they are missing: `make figures`."""

from pathlib import Path

from lad import figures
from lad.data import collate
from lad.experiment import compare, open_data
from lad.explain import opinion
from lad.parameters import make_parameters

IMAGES = (3, 9)  # of the validation set: two with small and large objects that overlap

if __name__ == "__main__":
    parameters = make_parameters({"teacher": "r101"})
    runs = compare(parameters)
    _, val_set = open_data(parameters)
    batch = collate([val_set[index] for index in IMAGES])
    opinions = {name: opinion(run.load_detector(), batch) for name, run in runs.items()}
    folder = Path(__file__).parent / "figures"
    figures.draw_assignments(batch.images, batch.targets, opinions).savefig(folder / "assignments.png")
