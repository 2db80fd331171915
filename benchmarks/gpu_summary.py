"""The summary of `gpu.py`: Markdown tables of what the stages have written, for benchmarks/README.md."""

from collections.abc import Mapping
from typing import Any

from gpu_stage import FINISHED, Settings, read_stage

from lad.utils.atomic_io import write_text

Content = Mapping[str, Any]
STEP_HEADINGS = (
    "step",
    "ms",
    "images/s",
    "of the bare network",
    "of the baseline's step",
    "peak memory, GiB",
    "compiled, ms",
)


def write_summary(settings: Settings, stages: list[str]) -> None:
    """Write summary.md beside the stages' files."""
    known = {name: read_stage(settings, name) for name in stages}
    written = {name: content for name, content in known.items() if content is not None}
    parts = [f"# {settings.card}", f"    {settings.command}", status_table(written)]
    results = {name: content.get("result") or {} for name, content in written.items()}
    if "comparisons" in results.get("checks", {}):
        parts += ["## The reference cases on the device", *check_lines(results["checks"])]
    if results.get("steps", {}).get("variants"):
        parts += ["## A training step", *step_tables(results["steps"], results.get("compiled", {}))]
    if results.get("inference", {}).get("variants"):
        parts += ["## Detecting the objects of images", inference_table(results["inference"])]
    if "epochs" in results.get("mini", {}):
        parts += ["## Table 2 on generated images", *table_lines(results["mini"])]
    write_text(settings.folder / "summary.md", "\n\n".join(parts) + "\n")


def markdown(headings: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    """Return a table; None is written as a dash."""
    cells = [headings, ("---",) * len(headings), *rows]
    return "\n".join("| " + " | ".join("–" if cell is None else str(cell) for cell in row) + " |" for row in cells)


def status_table(stages: Mapping[str, Content]) -> str:
    """Return a row per stage; what is wrong is in the last column."""
    rows = []
    for name, content in stages.items():
        result = content.get("result") or {}
        note = content.get("error") or result.get("note")
        rows.append((name, content["status"], f"{content['seconds']:.0f}", note and " ".join(note.split())))
    versions = next(iter(stages.values()))["versions"]
    about = f"torch {versions['torch']}, CUDA {versions.get('cuda', '–')}, Python {versions['python']}"
    return f"{about}\n\n{markdown(('stage', 'status', 'seconds', 'note'), rows)}"


def check_lines(result: Content) -> list[str]:
    """Return the comparisons that do not hold, the synchronizations and the kernels."""
    rows = result["comparisons"]
    wrong = [
        (row["what"], row.get("difference"), row.get("tolerance"), row.get("error")) for row in rows if not row["holds"]
    ]
    parts = [f"{len(rows) - len(wrong)} of {len(rows)} comparisons hold."]
    if wrong:
        parts.append(markdown(("comparison", "difference", "tolerance", "error"), wrong))
    synchronizations = result.get("synchronizations", {})
    if "skipped" in synchronizations:
        parts.append(f"Device synchronizations were not counted: {synchronizations['skipped']}.")
    elif synchronizations:
        rows = [
            (method, len(of["where"]), ", ".join(of["where"]), of["error"]) for method, of in synchronizations.items()
        ]
        parts.append(markdown(("method", "synchronizations before the losses", "where", "any other"), rows))
    for kind in ("kernels", "operations"):
        if kind in result:
            rows = [(part, *counts) for part, counts in result[kind].items()]
            parts.append(markdown(("part", kind, "synchronizations"), rows))
    return parts


def step_tables(result: Content, compiled: Content) -> list[str]:
    """Return a table per student, in the columns of benchmarks/README.md."""
    size, tables = result["size"], []
    compiled_ms = {(row["student"], row["step"]): row for row in compiled.get("variants", [])}
    for student in dict.fromkeys(row["student"] for row in result["variants"]):
        of_student = [row for row in result["variants"] if row["student"] == student]
        times = {row["step"]: row["ms"] / row["batch"] for row in of_student if "ms" in row}
        rows = []
        for row in of_student:
            note = f" ({row['batch']} images)" if row["batch"] != size["batch"] else ""
            if "error" in row:
                rows.append((row["step"] + note, row["error"].replace("|", "/"), *(None,) * (len(STEP_HEADINGS) - 2)))
                continue
            per_image = times[row["step"]]
            ratios = (
                f"{per_image / times[other]:.3f}" if other in times else None for other in ("bare network", "baseline")
            )
            peak = f"{row['peak_gib']:.1f}" if "peak_gib" in row else None
            own = compiled_ms.get((student, row["step"]), {})
            ms = f"{own['ms']:.1f}" if "ms" in own and own["batch"] == row["batch"] else None
            rows.append((row["step"] + note, f"{row['ms']:.1f}", f"{row['images_per_second']:.1f}", *ratios, peak, ms))
        images = f"{size['batch']} images of {size['height']}×{size['width']}, {result['gts']} gts each"
        title = f"{student} taught by {of_student[0]['teacher']}, {images}, {size['precision']}:"
        tables += [title, markdown(STEP_HEADINGS, rows)]
    return tables


def inference_table(result: Content) -> str:
    """Return a row per detector, precision and batch, with and without score voting."""
    height, width = result["hw"]
    rows = []
    for row in result["variants"]:
        kind = (f"PAA-{row['detector']}", row["dtype"], row["images"], "yes" if row["vote"] else "no")
        if "error" in row:
            rows.append((*kind, row["error"].replace("|", "/"), None, None))
            continue
        peak = f"{row['peak_gib']:.1f}" if "peak_gib" in row else None
        rows.append((*kind, f"{row['ms'] / row['images']:.1f}", f"{row['images_per_second']:.1f}", peak))
    headings = ("detector", "precision", "images at once", "voting", "ms per image", "images/s", "peak memory, GiB")
    return f"Images of {height}×{width}.\n\n{markdown(headings, rows)}"


def table_lines(result: Content) -> list[str]:
    """Return the runs; the table of those that are finished is in a file of its own."""
    epochs, usual = result["epochs"], result["epochs_of_the_profile"]
    lines = [f"{epochs} of the {usual} epochs of the profile `{result['profile']}`."]
    rows = []
    for row in result.get("runs", []):
        average_precision = row.get("AP")
        ap = None if average_precision is None else f"{100 * average_precision:.1f}"
        note = row.get("error") or (
            f"{row['epochs_done']} epochs done" if row["status"] != FINISHED and "epochs_done" in row else None
        )
        rows.append(
            (row["run"], row["status"], ap, row.get("seconds"), note and " ".join(note.split()).replace("|", "/"))
        )
    if rows:
        lines.append(markdown(("run", "status", "AP", "seconds", "note"), rows))
    if "table" in result:
        lines.append(f"The table: [{result['table']}]({result['table'].replace('.json', '.md')})")
    return lines
