"""The subcommands about detectors: evaluate, predict, export, checkpoints."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lad.cli.options import AsJson, EvaluationChanges, Format, messages_apart, split_changes, usage_errors

CHECKPOINT_HELP = "File, folder of a finished run, published name (see lad checkpoints), or web address."
Part = Literal["student", "teacher", "ema"]
PartOption = Annotated[Part, typer.Option(help="Which network of a checkpoint with several.")]


def evaluate(
    checkpoint: Annotated[
        str | None, typer.Argument(metavar="CHECKPOINT", help=CHECKPOINT_HELP, show_default="newest run in runs/")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATA",
            help="Folder in COCO format, a JSON, toy or mini.",
            show_default="what the run was trained on",
        ),
    ] = None,
    changes: EvaluationChanges = None,
    as_json: AsJson = False,
    form: Format = "text",
) -> None:
    """Measure a detector's AP, that of each class, and its errors.

    Metrics are COCO's, from 0 to 1. Detections and metrics are kept in a folder; the same evaluation again takes
    seconds. notebooks/evaluate.ipynb shows curves and images, too.
    """
    from lad.config.evaluation import EvaluationConfig
    from lad.config.reading import read_changes
    from lad.experiments import evaluate as evaluation
    from lad.experiments import evaluation_report as reports
    from lad.experiments.leaderboard import format_table

    with usage_errors():
        given: dict[str, Any] = read_changes(split_changes(changes), EvaluationConfig)
        given |= {} if checkpoint is None else {"checkpoint": checkpoint}
        given |= {} if data is None else {"data": data}
        config = evaluation.resolve_evaluation_config(given)
    with messages_apart(as_json or form != "text"):
        report = evaluation.evaluate_checkpoint(config)
    if as_json:
        content = json.loads((report.folder / evaluation.RESULTS_FILE).read_text(encoding="utf-8"))
        print(json.dumps({"folder": str(report.folder), **content}, indent=2, ensure_ascii=False))
    elif report.coco_eval is None:
        print(f"{len(report.results):,} detections, and no ground truth to compare with: {report.folder}")
    elif form != "text":
        print(format_table(reports.metrics_table(report), form))
    else:
        tables = (reports.metrics_table, reports.class_table, reports.error_table)
        parts = [reports.ap_summary(report), *(format_table(make(report)) for make in tables), str(report.folder)]
        print(*parts, sep="\n\n")


def predict(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help=CHECKPOINT_HELP)],
    sources: Annotated[
        list[str],
        typer.Argument(metavar="SOURCE", help="Image, animation or video; folder; pattern like 'photos/**/*.jpg'."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="New folder to write to.", show_default="runs/predictions/CHECKPOINT"),
    ] = None,
    threshold: Annotated[float, typer.Option(metavar="SCORE", help="Minimal score, from 0 to 1.")] = 0.3,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B", help="Names or numbers of classes.", show_default="all")
    ] = None,
    max_detections: Annotated[
        int, typer.Option(metavar="N", help="Maximal number of detections of an image, over all classes.")
    ] = 100,
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if present.")] = "auto",
    batch: Annotated[int, typer.Option(metavar="N", help="Number of images read at once.")] = 8,
    part: PartOption = "student",
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Write pictures with boxes.")] = True,
) -> int:
    """Detect the objects in images, animations and videos.

    Writes pictures with boxes, COCO results and a table. Exits with status 1 if a file could not be read; the others
    are predicted.
    """
    from lad.inference.cli import format_report, predict_to_folder

    names = None if classes is None else classes.split(",")
    report = predict_to_folder(
        checkpoint, sources, out, threshold, names, batch, pictures, max_detections, device, part
    )  # fmt: skip
    print(format_report(report))
    return 1 if report.problems else 0


def export(
    checkpoint: Annotated[str, typer.Argument(metavar="CHECKPOINT", help=CHECKPOINT_HELP)],
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="New file: .safetensors (ours), .pth (OpenMMLab's) or .onnx (with post-processing)."
        ),
    ],
    part: PartOption = "student",
    size: Annotated[
        tuple[int, int],
        typer.Option(metavar="HEIGHT WIDTH", help="ONNX: size of the padded images in pixels, multiples of 32."),
    ] = (800, 1344),
    vote: Annotated[bool, typer.Option("--vote/--no-vote", help="ONNX: refine boxes by score voting.")] = True,
) -> None:
    """Write a detector as a file for OpenMMLab, ONNX or lad."""
    from lad.inference.onnx import export_onnx
    from lad.models.serialization import load_detector, save_detector, save_openmmlab
    from lad.utils.paths import ensure_writable

    writers = {
        ".safetensors": save_detector,
        ".pth": save_openmmlab,
        ".onnx": lambda detector, path: export_onnx(detector, path, size, vote),
    }
    if out.suffix not in writers:
        raise typer.BadParameter(f"OUT {out}: must end with {', '.join(writers)}")
    if out.exists():
        raise ValueError(f"{out}: already exists; give another name")
    ensure_writable(out.absolute().parent, "OUT")
    detector = load_detector(checkpoint, part)
    out.parent.mkdir(parents=True, exist_ok=True)
    with messages_apart(True):  # what torch's exporter prints
        writers[out.suffix](detector, out)
    print(f"written to {out}")


def checkpoints(as_json: AsJson = False) -> None:
    """List the published checkpoints.

    AP is in percent. A name is used like the path of a file: lad.load_detector(name), or lad evaluate NAME; the file is
    downloaded on first use.
    """
    from lad.models.checkpoint_list import checkpoints_to_json, format_checkpoints

    print(checkpoints_to_json() if as_json else format_checkpoints())
