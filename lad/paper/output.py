"""A table of runs as JSON."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from lad.config.checkpoints import checkpoint_title
from lad.config.identity import NOT_HASHED
from lad.experiments.leaderboard import describe_network
from lad.experiments.run_store import Run, code_labels
from lad.paper.claims import claims
from lad.paper.definitions import Row, Table
from lad.paper.statistics import mean_and_std
from lad.paper.tables import Results
from lad.paper.teachers import teacher_ap
from lad.utils.paths import project_files

DETECTORS = ("init", "teacher_checkpoint")  # parameters that name a file, whose contents decide the results


def to_json(results: Results) -> dict[str, Any]:
    """Return the table's runs and statistics for a JSON file, without times: equal runs give an equal file.

    For each row, and for each seed the run's name, its code, its twelve COCO metrics, the AP of its teacher in percent
    and the SHA-256 of its weights; "code" counts the runs of each version of the code: more than one, and the table
    mixes them. "claims" of a row are its comparisons with others. "changes" are the parameters given for all runs, if a
    run's results depend on them; detectors have their names there. "hardware" lists the machines that the runs were
    made on.
    """
    claims_of_rows = claims(results)
    rows = []
    for row, runs in results.runs.items():
        mean, std = mean_and_std(list(results.values(row.title).values()))
        rows.append(
            {
                "title": row.title,
                "parameters": _origin(results.table, row),
                "network": describe_network(next(iter(runs.values()))) if runs else None,
                "AP_mean": mean,
                "AP_standard_deviation": std,
                "against": row.against,
                "claims": [claim.to_json() for claim in claims_of_rows if claim.title == row.title],
                "published": {name: dataclasses.asdict(results.table.published_result(name)) for name in row.published},
                "runs": [
                    {
                        "seed": seed,
                        "name": run.name,
                        "code": run.code.digest if run.code else None,
                        "epochs": run.parameters.epochs,
                        "metrics": run.metrics,
                        "teacher_AP": teacher_ap(run),
                        "weights_sha256": run.results["weights_sha256"],
                    }
                    for seed, run in runs.items()
                ],
            }
        )
    return {
        "table": results.table.name,
        "question": results.table.question,
        "profile": results.profile,
        "changes": _changes(results.changes),
        "seeds": list(results.seeds),
        "missing_seeds": results.missing_seeds(),
        "hardware": _hardware(results.all_runs()),
        "code": Counter(code_labels(results.all_runs())),
        "rows": rows,
    }


def _changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    detectors = {name: checkpoint_title(str(changes[name])) for name in DETECTORS if name in changes}
    return {name: value for name, value in changes.items() if name not in NOT_HASHED} | detectors


def _origin(table: Table, row: Row) -> str | dict[str, Any]:
    """Return the file of a row's parameters, relative to the project or else to the table's; or the parameters."""
    if row.parameters is not None:
        return row.parameters
    path = table.file_of(row)
    suite = project_files("params").parent
    return path.relative_to(suite).as_posix() if path.is_relative_to(suite) else str(row.file)


def _hardware(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """Return the hardware of the runs, each kind of machine once."""
    kinds: list[dict[str, Any]] = []
    for run in runs:
        hardware = run.results.get("hardware")
        if hardware is not None and hardware not in kinds:
            kinds.append(hardware)
    return kinds
