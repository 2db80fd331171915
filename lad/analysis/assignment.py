"""Analysis of a detector's label assignment of a batch: outputs, candidate costs, mixtures and positives."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lad.assigners import PAA, Assigner, AssignmentContext, assign_by_predictions
from lad.assigners.gmm import Mixture, fit_mixture, fit_normalized_mixture
from lad.assigners.paa import DEFAULT_ASSIGNER, select_ignored, select_positives, topk_per_level
from lad.config.experiment import Parameters
from lad.data.coco import CocoDataset, open_splits
from lad.data.collate import collate
from lad.data.synthetic.folders import data_folder
from lad.data.transforms import eval_transform
from lad.distillation.statistics import jaccard
from lad.geometry import STRIDES, Anchors, make_anchors
from lad.inference.postprocess import detect
from lad.structures import Batch, Detections, HeadOutputs
from lad.utils.progress import log

IMAGES_PER_FORWARD = 4  # the feature maps of more photographs would not fit a laptop's memory


@dataclass(frozen=True)
class AssignmentAnalysis:
    """The label assignment of a batch by one detector, with the PAA costs behind it.

    Each gt has up to K pooled PAA samples, by default the nine candidates of lowest cost on each of five levels. They
    decide `gt_index` if the assigner is PAA. The first `count` entries of each row are valid.

    Attributes:
        outputs: The detector's outputs for the batch.
        anchors: The A anchors of the padded images.
        gt_index: [N, A] int64, the detector's own assignment: gt row, −1 background, −2 ignored.
        cost: [T, K], the costs of each gt's samples, ascending.
        level: [T, K] int64, the level of each sample, 0 for P3 … 4 for P7.
        anchor: [T, K] int64, the anchor of each sample.
        count: [T] int64, the number of samples.
        positive: [T, K] bool, whether PAA makes the sample a positive.
        ignored: [T, K] bool, whether PAA ignores the sample.
        mixture: The Gaussian mixture fitted to the costs of each gt.
        paa: PAA with the options behind the costs and samples.
    """

    outputs: HeadOutputs
    anchors: Anchors
    gt_index: Tensor
    cost: Tensor
    level: Tensor
    anchor: Tensor
    count: Tensor
    positive: Tensor
    ignored: Tensor
    mixture: Mixture
    paa: PAA


@torch.no_grad()
def analyze(detector: nn.Module, batch: Batch, assigner: Assigner = DEFAULT_ASSIGNER) -> AssignmentAnalysis:
    """Analyze a detector's own assignment of a batch; the detector is set to eval mode.

    Args:
        detector: A detector on the CPU.
        batch: N images with their gts, on the CPU.
        assigner: The rule for `gt_index`; a `PAA` is also used for the pooled samples, otherwise PAA with its defaults.
    """
    detector.eval()
    parts = [detector(images) for images in batch.images.split(IMAGES_PER_FORWARD)]
    outputs = HeadOutputs(
        torch.cat([part.cls_logits for part in parts]),
        torch.cat([part.box_deltas for part in parts]),
        torch.cat([part.iou_logits for part in parts]) if parts[0].iou_logits is not None else None,
    )
    return analyze_outputs(outputs, batch, assigner)


def analyze_outputs(outputs: HeadOutputs, batch: Batch, assigner: Assigner = DEFAULT_ASSIGNER) -> AssignmentAnalysis:
    """Analyze the assignment that follows from a detector's outputs for a batch; see `analyze`."""
    anchors, paa = make_anchors(batch.padded_hw), as_paa(assigner)
    context = AssignmentContext(paa.find_candidates(anchors, batch.targets), anchors, batch.targets)
    candidates, cost = context.candidates, paa.score(outputs, context)[:, 0]
    pooled_cost, pooled_candidate, count = topk_per_level(candidates, cost, context.num_gts, paa.topk)
    mixture = (fit_normalized_mixture if paa.normalize_cost else fit_mixture)(pooled_cost, count)
    positive = select_positives(mixture, pooled_cost, count, paa.separation)
    level, anchor = (
        torch.cat([of_candidate, of_candidate.new_zeros(1)])[pooled_candidate]
        for of_candidate in (candidates.level, candidates.anchor)
    )  # [T, K]
    return AssignmentAnalysis(
        outputs=outputs,
        anchors=anchors,
        gt_index=assign_by_predictions(assigner, outputs, anchors, batch.targets),
        cost=pooled_cost,
        level=level,
        anchor=anchor,
        count=count,
        positive=positive,
        ignored=select_ignored(mixture, pooled_cost, count, positive, paa.separation),
        mixture=mixture,
        paa=paa,
    )


def as_paa(assigner: Assigner) -> PAA:
    """Return the assigner if it is PAA, else PAA with its defaults."""
    return assigner if isinstance(assigner, PAA) else DEFAULT_ASSIGNER


def get_detections(analysis: AssignmentAnalysis, batch: Batch) -> list[Detections]:
    """Return the detector's detections for each image of the batch, in pixels of the resized images."""
    return detect(analysis.outputs, analysis.anchors, batch.targets.image_hw)


def first_images(dataset: CocoDataset, count: int, instead: CocoDataset | None = None) -> Batch:
    """Return a batch of the first `count` images with gts, or of all of them if there are fewer.

    Args:
        dataset: Usually the validation set; its transforms are applied.
        count: Number of images.
        instead: Data set to take the images from if none of `dataset` has a gt, usually the training set.

    Raises:
        ValueError: No image has a gt.
    """
    records = dataset.annotations.records
    chosen = [index for index, record in enumerate(records) if len(record.boxes)][:count]
    if not chosen and instead is not None:
        log(f"{dataset.annotations.path}: no image has a gt; these are images of {instead.annotations.path.name}")
        return first_images(CocoDataset(instead.images, instead.annotations, dataset.transform), count)
    if not chosen:
        raise ValueError(f"{dataset.annotations.path}: no image has a ground-truth box; give other data")
    return collate([dataset[index] for index in chosen])


def open_validation_set(parameters: Parameters) -> CocoDataset:
    """Open a run's validation set; unlike `lad.experiments.setup.open_data`, it decodes no image in advance."""
    folder = data_folder(parameters.data)
    _, val_set = open_splits(folder, ("train", "val"), parameters.images, parameters.val_share)
    val_set.transform = eval_transform(parameters.test_short_side, parameters.long_side)
    return val_set


def load_image_batch(dataset: CocoDataset, index: int) -> tuple[Batch, Anchors]:
    """Return a batch of one image of the dataset and the anchors on it.

    Raises:
        ValueError: The dataset has no image of this index.
    """
    if not 0 <= index < len(dataset):
        raise ValueError(f"image {index} is out of range; give 0 … {len(dataset) - 1}")
    batch = collate([dataset[index]])
    return batch, make_anchors(batch.padded_hw)


def agreement(first: Tensor, second: Tensor) -> float:
    """Compute the Jaccard index of the positives of two assignments.

    Args:
        first: [N, A] gt index.
        second: [N, A] gt index of the same images.

    Returns:
        Anchors that both assign to the same gt / anchors that either makes positive; 0 without positives.
    """
    return jaccard(first, second).item()


def agreement_summary(reference: str, analyses: Mapping[str, AssignmentAnalysis]) -> str:
    """Return one line for each other network with its agreement with `reference`; "" if `reference` is missing."""
    if reference not in analyses:
        return ""
    reference_index = analyses[reference].gt_index
    return "\n".join(
        f"{name}: {agreement(analysis.gt_index, reference_index):.0%} agreement with the {reference}"
        for name, analysis in analyses.items()
        if name != reference
    )


def positives_per_level(analyses: Mapping[str, AssignmentAnalysis]) -> dict[str, list[float]]:
    """Compute each network's mean number of PAA positives per gt on the levels P3 … P7."""
    table = {}
    for name, analysis in analyses.items():
        positive_level = analysis.level[analysis.positive]
        number = torch.bincount(positive_level, minlength=len(STRIDES)) / max(len(analysis.count), 1)
        table[name] = number.tolist()
    return table


def gt_with_most_samples(analyses: Mapping[str, AssignmentAnalysis]) -> int:
    """Return the gt whose smallest number of PAA samples over the networks is the largest: the best one to plot."""
    return int(torch.stack([analysis.count for analysis in analyses.values()]).amin(dim=0).argmax())
