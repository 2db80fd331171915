"""Several devices do what one does: two processes on halves of a batch get the gradients of one on the whole."""

import os
import socket
from pathlib import Path

import pytest
import torch
from faults import SERVER, TIMEOUT
from lightning_fabric import Fabric

from lad.config.experiment import Parameters, make_parameters
from lad.distillation.cost_selection import COST_SELECTIONS
from lad.distillation.methods import METHODS
from lad.distillation.terms import TERMS
from lad.experiments.setup import new_detector, open_data
from lad.models.detector import Detector
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import Batch, Targets
from lad.training.evaluation import evaluate_networks
from lad.training.loaders import evaluation_batches, load_batches
from lad.training.step import training_step

CLASSES = ("circle", "square", "triangle")
RANKS = 2


def parameters_of(method: str, **changes) -> Parameters:
    taught = {"teacher": "r18"} if METHODS[method].needs_teacher or "distill" in changes else {}
    return make_parameters({"method": method, "student": "r18", "accelerator": "cpu", **taught, **changes})


def networks(parameters: Parameters) -> tuple[Detector | StudentTeacherPair, Detector | None]:
    """Return the same networks each time, in eval mode: else BatchNorm statistics would depend on a device's images."""
    torch.manual_seed(0)
    student, teacher = (new_detector(parameters, CLASSES).eval() for _ in range(2))
    if METHODS[parameters.method].trains_teacher:
        return StudentTeacherPair(student, teacher), None
    return student, teacher.requires_grad_(False) if parameters.teacher else None


def four_images(gts: tuple[int, int, int, int]) -> Batch:
    """Return a batch of images of two sizes, with this many gts each."""
    generator = torch.Generator().manual_seed(1)
    image = torch.arange(4).repeat_interleave(torch.tensor(gts))
    corner, size = (torch.rand(len(image), 2, generator=generator) for _ in range(2))
    boxes = torch.cat([60 * corner, 60 * corner + 10 + 50 * size], dim=1)
    hw = torch.tensor([[128, 128], [120, 128], [128, 128], [128, 125]])
    targets = Targets(boxes, torch.arange(len(image)) % len(CLASSES), image, hw)
    images = torch.randn(4, 3, 128, 128, generator=generator)
    return Batch(images, targets, torch.arange(4), hw, torch.zeros(4, dtype=torch.bool))


def half(batch: Batch, rank: int) -> Batch:
    """Return the images of one process, with their gts."""
    rows = torch.arange(4)[rank::RANKS]
    whole = batch.targets
    is_here = torch.isin(whole.image, rows)
    targets = Targets(whole.boxes[is_here], whole.labels[is_here], whole.image[is_here] // RANKS, whole.image_hw[rows])
    return Batch(batch.images[rows], targets, rows, batch.original_hw[rows], batch.is_flipped[rows])


def gradients(parameters: Parameters, batch: Batch, fabric: Fabric) -> dict[str, torch.Tensor]:
    """Return the gradients of a step, by the parameter's name."""
    network, teacher = networks(parameters)
    model = fabric.setup_module(network)
    fabric.backward(training_step(parameters, model, batch, fabric, teacher).total())
    return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}


def as_rank(rank: int, port: int, work, *arguments) -> None:
    """Do the work as one of two processes that exchange gradients."""
    os.environ.update(
        RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(RANKS), LOCAL_WORLD_SIZE=str(RANKS), GROUP_RANK="0",
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="test",
    )  # fmt: skip
    torch.set_num_threads(1)
    fabric = Fabric(accelerator="cpu", devices=RANKS, strategy="ddp")
    fabric.launch()
    work(rank, fabric, *arguments)


def on_two_processes(work, *arguments) -> None:
    """Do the work in two processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [SERVER.Process(target=as_rank, args=(rank, port, work, *arguments)) for rank in range(RANKS)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=TIMEOUT)
    assert [process.exitcode for process in processes] == [0, 0]


CASES = {
    **{method: (method, {}) for method in METHODS},
    **{
        f"{method} {cost_selection}": (method, {"cost_selection": cost_selection})
        for method in METHODS
        if METHODS[method].trains_teacher
        for cost_selection in COST_SELECTIONS
        if cost_selection != "std_mean"
    },
    **{f"baseline {term}": ("baseline", {"distill": [term]}) for term in TERMS},
    "lad with all terms": ("lad", {"distill": list(TERMS)}),
}
GTS = {
    "everywhere": (2, 1, 3, 2),
    "on one process only": (3, 0, 2, 0),
    "unevenly": (6, 1, 0, 1),
    "nowhere": (0, 0, 0, 0),
}


def write_gradients(rank: int, fabric: Fabric, folder: Path) -> None:
    """Write the gradients of all cases, in one of two processes."""
    torch.manual_seed(rank)
    for case, (method, changes) in CASES.items():
        for name, gts in GTS.items():
            of_half = gradients(parameters_of(method, **changes), half(four_images(gts), rank), fabric)
            torch.save(of_half, folder / f"{case}-{name}-{rank}.pt")


@pytest.fixture(scope="module")
def of_halves(tmp_path_factory) -> Path:
    """The gradients of all cases, written by two processes."""
    folder = tmp_path_factory.mktemp("gradients")
    on_two_processes(write_gradients, folder)
    return folder


@pytest.mark.parametrize("gts", GTS)
@pytest.mark.parametrize("case", CASES)
def test_two_processes_on_halves_have_the_gradients_of_one_on_the_whole(case, gts, of_halves):
    method, changes = CASES[case]
    # CrossKD divides by standard deviations over the four values of a 1×1 level, some almost 0: rounding counts more.
    tolerance = 1e-3 if "crosskd" in changes.get("distill", ()) else 1e-5
    whole = gradients(parameters_of(method, **changes), four_images(GTS[gts]), Fabric(accelerator="cpu", devices=1))
    for rank in range(RANKS):
        file = of_halves / f"{case}-{gts}-{rank}.pt"
        of_half = torch.load(file, weights_only=True)
        assert of_half.keys() == whole.keys()
        size = torch.stack([gradient.norm() for gradient in whole.values()]).norm()
        for name, gradient in whole.items():
            torch.testing.assert_close(of_half[name], gradient, rtol=0, atol=tolerance * float(size), msg=name)


def evaluate_split(rank: int, fabric: Fabric, data: Path, folder: Path) -> None:
    """Write the metrics and the images of one of two processes."""
    parameters = parameters_of("baseline", data=str(data), devices=RANKS)
    _, val_set = open_data(parameters)
    torch.manual_seed(rank)  # networks whose buffers differ, which DDP leaves so
    network, _ = networks(parameters)
    for buffer in network.buffers():
        if buffer.is_floating_point():
            buffer += rank
    order = evaluation_batches(val_set, parameters, fabric)
    batches = load_batches(val_set, order, parameters, fabric)
    metrics = evaluate_networks(network, lambda: batches, val_set, fabric, parameters)
    torch.save({"metrics": metrics, "images": [image for batch in order for image in batch]}, folder / f"{rank}.pt")


def test_each_image_is_evaluated_once_and_the_metrics_are_those_of_one_process(shapes, tmp_path):
    on_two_processes(evaluate_split, shapes, tmp_path)
    parts = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(RANKS)]
    images = [image for part in parts for image in part["images"]]
    assert sorted(images) == list(range(6))

    parameters, fabric = parameters_of("baseline", data=str(shapes)), Fabric(accelerator="cpu", devices=1)
    _, val_set = open_data(parameters)
    network, _ = networks(parameters)
    batches = load_batches(val_set, evaluation_batches(val_set, parameters, fabric), parameters, fabric)
    alone = evaluate_networks(network, lambda: batches, val_set, fabric, parameters)
    assert alone["AR100"] > 0
    for part in parts:
        assert part["metrics"] == pytest.approx(alone, abs=1e-9, nan_ok=True)
