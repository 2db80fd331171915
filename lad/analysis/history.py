"""History of a run's label assignment: its positives of one image after each epoch with saved weights."""

from collections.abc import Iterable

from lad.analysis.assignment import AssignmentAnalysis, analyze, as_paa
from lad.analysis.positives import Positives, find_positives
from lad.experiments.run_store import Run
from lad.models.safe_load import read_tensors
from lad.structures import Batch


def assignment_history(
    run: Run,
    batch: Batch,
    teacher: AssignmentAnalysis | None = None,
    assignment: str = "student",
    epochs: Iterable[int] | None = None,
) -> dict[str, Positives]:
    """Return the positives of one image after each of a run's epochs.

    Args:
        run: A run that saved its weights after each epoch (`save_epochs=True`).
        batch: A batch of one image.
        teacher: Another network's analysis of the batch, the same for all epochs. A positive of both has the source
            "both".
        assignment: One of `lad.analysis.positives.ASSIGNMENTS`, with the run as the student.
        epochs: The epochs to analyze, 0 for the untrained network; by default all with saved weights.

    Returns:
        The positives by title: "untrained", "epoch 1", "epoch 2", …

    Raises:
        ValueError: The batch has several images, the run saved no weights, or an epoch has none.
    """
    if len(batch.images) != 1:
        raise ValueError(f"assignment_history needs a batch of one image, but this one has {len(batch.images)}")
    saved = run.saved_epochs
    chosen = saved if epochs is None else sorted(set(epochs))
    if not saved:
        raise ValueError(f"{run.folder.name} has no weights of single epochs; train it again with save_epochs=True")
    if missing := sorted(set(chosen) - set(saved)):
        raise ValueError(
            f"{run.folder.name} has no weights of epoch {', '.join(map(str, missing))}; "
            f"saved epochs: {', '.join(map(str, saved))}"
        )
    history = {}
    detector = run.load_detector()  # once: building is slower than loading an epoch's weights
    for epoch in chosen:
        detector.load_state_dict(read_tensors(run.weights_file(epoch)))
        analyses = {"student": analyze(detector, batch, as_paa(run.assigner))} | (
            {} if teacher is None else {"teacher": teacher}
        )
        history[epoch_title(epoch)] = find_positives(assignment, analyses, batch.targets)
    return history


def epoch_title(epoch: int) -> str:
    """Return the title of an epoch, "untrained" for epoch 0."""
    return f"epoch {epoch}" if epoch else "untrained"
