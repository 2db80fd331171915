"""The subcommand `lad table`: all runs of a table, on this machine or on those of a cluster."""

import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from lad.cli.options import AsJson, Format, RunChanges, messages_apart, split_changes, usage_errors
from lad.cli.parameters import PROFILES, TABLES, starting

INTERRUPTED = "interrupted; run the same command to resume"


def table(
    context: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="TABLE",
            help=f"{', '.join(TABLES)}, or the .yaml file of a table of your own.",
            autocompletion=starting(TABLES),
        ),
    ],
    profile: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help=f"Profile of all runs: {', '.join(PROFILES[:-1])} or {PROFILES[-1]}.",
            autocompletion=starting(PROFILES),
        ),
    ] = "toy",
    seeds: Annotated[int, typer.Option(metavar="N", help="Run seeds 0 … N − 1 of every row.")] = 1,
    engine: Annotated[
        Literal["local", "slurm", "dask"],
        typer.Option(help="Where the runs are executed: on this machine, as jobs of Slurm, or on a dask cluster."),
    ] = "local",
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Number of runs at the same time.",
            show_default="here, as many as have cores, or 1; on a cluster, all",
        ),
    ] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="With --engine dask: for instance tcp://node1:8786.")
    ] = None,
    job_options: Annotated[
        list[str] | None,
        typer.Option(
            "--job",
            metavar="NAME=VALUE",
            help="With --engine slurm: an option of submitit for all jobs, such as slurm_partition=gpu; may be "
            "repeated. Also --job NAME VALUE.",
        ),
    ] = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Folder of the table's files.", show_default="results/ in the folder of the runs"
        ),
    ] = None,
    changes: RunChanges = None,
    as_json: AsJson = False,
    form: Format = "text",
) -> int:
    """Run all experiments of a table of the paper, or of one's own.

    Every row, every seed and the teachers they need. Finished runs are loaded, interrupted ones resumed, and a failed
    run does not stop the others: the same command does the rest.
    """
    from lad.config.reading import read_changes
    from lad.experiments.leaderboard import format_table
    from lad.paper.claims import conclusions
    from lad.paper.engines.options import open_engine
    from lad.paper.results_files import write_results
    from lad.paper.runner import check_folders, plan_tasks, run_tasks
    from lad.paper.summary import summary
    from lad.paper.tables import open_table
    from lad.utils.progress import log

    with ExitStack() as stack:
        with usage_errors():
            experiments = open_table(name, profile, seeds, read_changes(split_changes(changes)))
            tasks = plan_tasks(experiments)
            out, folder = check_folders(tasks, profile, results)
            runs = [task.parameters for task in tasks.values()]
            options = split_changes(job_options, "--job")
            opened = stack.enter_context(open_engine(engine, out, runs, jobs, scheduler, options))
        stack.enter_context(messages_apart(as_json or form != "text"))
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(INTERRUPTED))
        try:
            failed = run_tasks(tasks, opened)
        except KeyboardInterrupt:
            print(INTERRUPTED, file=sys.stderr)
            raise
        except ConnectionError as error:
            raise ValueError(f"{error}; run the same command to resume") from None
        finished = experiments.finished()
        log(f"\n{format_table(summary(finished))}\n\n{conclusions(finished)}\n")
        try:
            path = write_results(finished, folder, f"lad {subprocess.list2cmdline(context.obj)}")
        except OSError as error:
            raise ValueError(
                f"{error}; the runs are in {out}, and the same command writes the table without training them again"
            ) from None
        log(f"written to {path}, .md, .csv, .tex and .png")
        for task in failed:
            log(f"failed: {task.name}: {task.error}")
    if as_json:
        print(path.read_text(encoding="utf-8").rstrip())
    elif form != "text":
        print(format_table(summary(finished), form))
    if failed:
        raise ValueError(f"{len(failed)} of {len(tasks)} runs failed; run the same command to retry them")
    return 0
