"""Stage "checks" of `gpu.py`: the reference cases on the device, device synchronizations, and kernels.

Assignments, losses, gradients, mixtures, detections and network outputs are computed on the device and on the CPU, and
compared with each other and with the published numbers in tests/golden, in float32 without TF32.
"""

import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from gpu_stage import Left, Save, Settings
from kernels import count_operations
from lightning_fabric import Fabric
from scenes import CLASSES
from step import parameters_of, random_batch
from torch import Tensor

from lad.assigners import PAA, AssignmentContext, gmm
from lad.assigners.gmm import fit_mixture
from lad.assigners.paa import select_positives
from lad.distillation.methods import METHODS, build_method
from lad.distillation.terms import TERMS, TermInputs
from lad.geometry import make_anchors
from lad.inference.postprocess import detect
from lad.models.detector import build_detector
from lad.models.student_teacher import StudentTeacherPair
from lad.structures import BACKGROUND, IGNORED, Detections, HeadOutputs
from lad.training.step import training_step

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
sys.path.insert(0, str(GOLDEN))
from reference import (  # noqa: E402
    label_map,
    reference_context,
    reference_detector,
    reference_features,
    reference_head,
    reference_outputs,
)

RELATIVE = 1e-4  # of losses and gradients, as in tests/golden/README.md
MIN_SPREAD = 1e-3  # of a row's costs; with less, its mixture is decided by rounding
MAX_PIXELS, MAX_SCORE = 1e-2, 1e-5  # between equal detections
OF_STD = 1e-3  # of a network's outputs, in their standard deviation
DENSITY = 1e-6  # of log-densities, in the median
TERM_GRADIENTS = 1e-3  # relative, of the distillation terms
GRADIENTS = ("grad_cls", "grad_box", "grad_iou")
SYNCHRONIZES = "called a synchronizing CUDA operation"  # torch's message

Row = dict[str, Any]


def run(settings: Settings, save: Save, left: Left) -> None:
    """Run all checks; a failed one does not stop the others."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    rows: list[Row] = []
    for check in (check_methods, check_terms, check_mixture, check_detections, check_networks):
        try:
            rows += check(settings.device)
        except Exception as error:
            rows.append({"what": check.__name__, "holds": False, "error": f"{type(error).__name__}: {error}"})
        save({"comparisons": rows, "all_hold": all(row["holds"] for row in rows)})
    save({"synchronizations": check_synchronizations(settings.device)})
    gts, hw = (2, (128, 160)) if settings.is_tiny else (8, (800, 1344))
    counts = count_operations(gts, hw, settings.device)
    save({"kernels" if settings.device == "cuda" else "operations": counts})


def golden(name: str) -> dict[str, Tensor]:
    """Return the arrays of a reference case as tensors."""
    with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays.files if arrays[key].dtype.kind != "U"}


def compared(what: str, difference: float | Tensor, tolerance: float) -> Row:
    """Return a row of the comparisons; a difference that is not a number does not hold."""
    number = float(difference)
    known = {"difference": number} if math.isfinite(number) else {"difference": None, "error": f"it is {number}"}
    return {"what": what, **known, "tolerance": tolerance, "holds": number <= tolerance}


def check_methods(device: str) -> Iterator[Row]:
    """Compare assignment, losses and gradients of every method."""
    case = golden("paa_assignment")
    published = {"baseline": case, "lad": golden("lad"), "colad": golden("colad_stdmean")}
    targets, num_classes = reference_context(case).targets, int(case["num_classes"])
    for method in METHODS:
        gt_index, terms, gradients = run_method(method, device)
        other_index, other_terms, other_gradients = run_method(method, "cpu")
        yield compared(f"{method}: anchors assigned differently than on the CPU", (gt_index != other_index).sum(), 0)
        error = max(relative(terms[name], term) for name, term in other_terms.items())
        yield compared(f"{method}: losses, relative to the CPU's", error, RELATIVE)
        error = max(map(relative, gradients, other_gradients))
        yield compared(f"{method}: gradients, relative to the CPU's", error, RELATIVE)
        if method not in published:
            continue
        expected = published[method]
        wrong = (label_map(gt_index, targets, num_classes) != expected["labels"]).sum()
        yield compared(f"{method}: anchors with another label than published", wrong, 0)
        if "loss_cls" in expected:
            pairs = (("cls", "loss_cls"), ("box", "loss_bbox"), ("iou", "loss_iou"))
            error = max(relative(terms[name], expected[reference]) for name, reference in pairs)
            yield compared(f"{method}: losses, relative to the published", error, RELATIVE)
            error = max(relative(own, expected[name]) for own, name in zip(gradients, GRADIENTS, strict=True))
            yield compared(f"{method}: gradients, relative to the published", error, RELATIVE)


def run_method(method: str, device: str) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
    """Return assignment, loss terms and the student's gradients of a method on the reference batch, on the CPU."""
    case = golden("paa_assignment")
    on_host = reference_context(case)
    context = AssignmentContext(
        on_host.candidates.to(device),
        make_anchors(tuple(case["padded_hw"].tolist()), device),
        on_host.targets.to(device),
    )
    student, teacher = (
        HeadOutputs(*(field.to(device).clone().requires_grad_(is_trained) for field in outputs))
        for outputs, is_trained in (
            (reference_outputs(case), True),
            (reference_outputs(golden("lad"), "teacher_"), METHODS[method].trains_teacher),
        )
    )
    loss = build_method(method, PAA())(student, teacher, context)
    torch.stack(list(loss.terms.values())).sum().backward()
    terms = {name: term.detach().cpu() for name, term in loss.terms.items()}
    return loss.gt_index.cpu(), terms, [field.grad.cpu() for field in student]


def check_terms(device: str) -> Iterator[Row]:
    """Compare losses and gradients of PKD, CrossKD and BCKD with the published code's."""
    case = {name: value.to(device) for name, value in golden("distillation").items()}
    head = reference_head("teacher.").to(device).requires_grad_(False)
    anchors = make_anchors(tuple(case["padded_hw"].tolist()), device)
    gt_index = torch.where(case["is_positive"], 0, torch.where(case["ignored"], IGNORED, BACKGROUND))
    for name in ("pkd", "crosskd", "bckd"):
        student = reference_features(case, "student", reference_head("").to(device), requires_grad=True)
        teacher = reference_features(case, "teacher", head)
        inputs = TermInputs(student, teacher, head, gt_index, AssignmentContext(None, anchors, None))
        losses = TERMS[name].loss(inputs, TERMS[name].options())
        published = {"pkd": case["pkd_per_level"].sum()} if name == "pkd" else case
        error = max(relative(loss.detach(), published[title]) for title, loss in losses.items())
        yield compared(f"{name}: losses, relative to the published", error, RELATIVE)
        if name != "bckd":
            gradients = torch.autograd.grad(sum(losses.values()), student.pyramid)
            expected = [case[f"{name}_grad_p{level}"] for level in range(3, 8)]
            error = max(map(relative, gradients, expected))
            yield compared(f"{name}: gradients, relative to the published", error, TERM_GRADIENTS)


def relative(value: Tensor, reference: Tensor) -> float:
    """Return the norm of the difference, relative to the reference's."""
    return float((value - reference).norm() / reference.norm().clamp(min=1e-12))


def check_mixture(device: str) -> Iterator[Row]:
    """Compare components, iterations, positives and densities on the reference's sets of costs."""
    case = golden("gmm")
    cost, count = case["losses"], case["count"]
    valid = torch.arange(cost.shape[1]) < count[:, None]
    spread = cost.nan_to_num(-1e9).amax(dim=1) - cost.nan_to_num(1e9).amin(dim=1)
    clear = (spread >= MIN_SPREAD) & ~case["raised"]
    fits = []
    for where in (device, "cpu"):
        mixture = fit_mixture(cost.to(where), count.to(where))
        positive = select_positives(mixture, cost.to(where), count.to(where))
        of_rows = (mixture.component, mixture.log_density, mixture.iterations, positive)
        fits.append([tensor.cpu() for tensor in of_rows])
    (component, density, iterations, positive), (other_component, other_density, other_iterations, other_positive) = (
        fits
    )
    samples = valid & clear[:, None]
    yield compared(
        "mixture: samples in another component than published", (component != case["component"])[samples].sum(), 0
    )
    yield compared(
        "mixture: samples in another component than on the CPU", (component != other_component)[samples].sum(), 0
    )
    yield compared("mixture: rows with other iterations", (iterations != other_iterations)[clear].sum(), 0)
    yield compared("mixture: samples positive elsewhere only", (positive != other_positive)[samples].sum(), 0)
    yield compared("mixture: log-density, median", (density - other_density).abs()[samples].median(), DENSITY)


def check_detections(device: str) -> Iterator[Row]:
    """Count detections without an equal one on the CPU or among the published, after NMS and after score voting."""
    case = golden("postprocess")
    images = len(case["image_hw"])

    def detections(vote: bool, where: str) -> list[Detections]:
        outputs = HeadOutputs(*(case[name].to(where) for name in HeadOutputs._fields))
        anchors = make_anchors(tuple(case["padded_hw"].tolist()), where)
        scale = case["scale_factor_wh"][None].expand(images, 2).to(where)
        found = detect(outputs, anchors, case["image_hw"].to(where), scale=scale, vote=vote)
        return [Detections(image.boxes.cpu(), image.scores.cpu(), image.labels.cpu()) for image in found]

    for vote, kind in ((False, "nms"), (True, "voted")):
        of_image = [case[f"{kind}_image"] == image for image in range(images)]
        published = [
            Detections(*(case[f"{kind}_{name}"][rows] for name in ("boxes", "scores", "labels"))) for rows in of_image
        ]
        on_device = detections(vote, device)
        for where, others in (("on the CPU", detections(vote, "cpu")), ("published", published)):
            missing = sum(map(unmatched, on_device, others))
            yield compared(f"detections, {kind}: without an equal one {where}", missing, 0)


def unmatched(first: Detections, second: Detections) -> int:
    """Return the number of detections of either without one of equal class, score and box in the other.

    A box that is NaN in the reference, because it has no area, equals any of its class and score.
    """
    same = first.labels[:, None] == second.labels
    same &= (first.scores[:, None] - second.scores).abs() < MAX_SCORE
    errors = (first.boxes[:, None] - second.boxes).abs().amax(dim=2)
    same &= (errors < MAX_PIXELS) | errors.isnan()
    return int((~same.any(dim=1)).sum() + (~same.any(dim=0)).sum())


@torch.no_grad()
def check_networks(device: str) -> Iterator[Row]:
    """Compare the outputs of detectors with the reference's weights."""
    case = golden("full_model")
    for backbone in ("r18", "r50"):
        detector = reference_detector(backbone, int(case["num_classes"])).eval().to(device)
        outputs = detector(case["image"].to(device))
        for name, field in outputs._asdict().items():
            expected = case[f"{backbone}_{name}"]
            error = (field.cpu() - expected).abs().max() / expected.std()
            yield compared(f"{backbone}: {name}, in standard deviations of the published", error, OF_STD)


def check_synchronizations(device: str) -> dict[str, Any]:
    """Count device synchronizations between a batch on the host and its losses.

    Returns:
        By method: where they happened; the error of another one than the mixture's check for convergence; and whether
        that check, once, was the only one.
    """
    if device != "cuda":
        return {"skipped": "torch detects synchronizations on a CUDA device only"}
    fabric = Fabric(accelerator="cuda", devices=1, precision="bf16-mixed")
    batch = random_batch(2, (256, 320), gts=8).pin_memory()
    given = SimpleNamespace(student="r18", teacher="r18", precision="bf16-mixed")
    found = {}
    for method, distill in [*((method, ()) for method in METHODS), *(("baseline", (term,)) for term in TERMS)]:
        parameters = parameters_of(given, method, cached=False, distill=distill)
        network = build_detector("r18", CLASSES)
        teacher = build_detector("r18", CLASSES).to(fabric.device) if parameters.needs_teacher else None
        if METHODS[method].trains_teacher:
            network, teacher = StudentTeacherPair(network, teacher), None
        model = fabric.setup_module(network.to(memory_format=torch.channels_last))

        def step(parameters=parameters, model=model, teacher=teacher) -> object:
            return training_step(parameters, model, batch, fabric, teacher)

        step()  # anchors are cached, kernels loaded
        torch.cuda.synchronize()
        where, error = synchronizations(step), error_of_another_synchronization(step)
        holds = error is None and len(where) == 1 and where[0].startswith("gmm.py")
        found[parameters.method_name] = {"where": where, "error": error, "holds": holds}
    return found


def synchronizations(step: Callable[[], object]) -> list[str]:
    """Return the file and line of each device synchronization of a step."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return [f"{Path(one.filename).name}:{one.lineno}" for one in caught if SYNCHRONIZES in str(one.message)]


def error_of_another_synchronization(step: Callable[[], object]) -> str | None:
    """Return the error of a step that may not synchronize and has no check for convergence; None without one."""
    before = gmm.ITERATIONS_BEFORE_CHECK
    gmm.ITERATIONS_BEFORE_CHECK = gmm.MAX_ITERATIONS
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    except RuntimeError as error:
        return str(error)
    finally:
        torch.cuda.set_sync_debug_mode("default")
        gmm.ITERATIONS_BEFORE_CHECK = before
    return None
