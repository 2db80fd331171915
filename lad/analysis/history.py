"""How a run came to its assignment of an image: its own positives, with the weights of each epoch that it kept."""

from collections.abc import Iterable

from lad.analysis.assignment import AssignmentAnalysis, analyze
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
    """The run's own PAA positives of a batch of one image after each of `epochs`, by default all that it kept, under
    the titles "untrained", "epoch 1" and so on. teacher: what another network says of the batch, always the same; a
    positive that it shares is claimed by both. assignment: another one of `lad.analysis.positives.ASSIGNMENTS`, in which the
    run is the student.

    Raises ValueError for a run or an epoch without kept weights, and for more than one image.
    """
    if len(batch.images) != 1:
        raise ValueError(f"a history is of one image, but the batch has {len(batch.images)}; collate one")
    kept = run.saved_epochs
    wanted = kept if epochs is None else sorted(set(epochs))
    if not kept or not set(wanted) <= set(kept):
        said = ", ".join(map(str, kept)) or "none; train it anew with save_epochs=True"
        asked = "" if epochs is None else f" asked for epochs {', '.join(map(str, wanted))};"
        raise ValueError(f"{run.folder.name}:{asked} weights were kept of epochs: {said}")
    history = {}
    detector = run.load_detector()  # once: building is slower than loading an epoch's weights
    for epoch in wanted:
        detector.load_state_dict(read_tensors(run.weights_file(epoch)))
        analyses = {"student": analyze(detector, batch)} | ({} if teacher is None else {"teacher": teacher})
        history[epoch_title(epoch)] = find_positives(assignment, analyses, batch.targets)
    return history


def epoch_title(epoch: int) -> str:
    """For people."""
    return f"epoch {epoch}" if epoch else "untrained"
