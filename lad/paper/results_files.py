"""A table's files: JSON, Markdown, CSV, LaTeX and a figure, and where its numbers come from."""

import shutil
import subprocess
from pathlib import Path

from lad import figures
from lad.experiments.run_results import versions
from lad.paper.claims import claims_table, conclusions
from lad.paper.output import to_json
from lad.paper.summary import summary
from lad.paper.tables import Results
from lad.utils.atomic_io import atomic_write, write_json, write_text
from lad.utils.paths import checkout_folder
from lad.utils.tables import to_csv, to_latex, to_markdown

CODE = ("lad", "notebooks", "params")  # folders of a checkout that decide a table's numbers
CHANGED = "+changes"  # behind a commit, if files of these folders differ from it


def write_results(results: Results, folder: Path, command: str) -> Path:
    """Write the table to <folder>/<profile>/<table>.json, .md, .csv, .tex and .png; return the path of the JSON file.

    The JSON comes first and holds everything: it stays if the other files cannot be written.

    Args:
        results: Finished runs of the table.
        folder: Folder of all tables.
        command: Command that made the table, for the files.

    Raises:
        OSError: A file cannot be written; names it.
    """
    path = folder / results.profile / f"{results.table.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    origin = {"command": command, "commit": code_commit(checkout_folder()), "versions": versions()}
    write_json(path, {**origin, **to_json(results)})
    write_text(path.with_suffix(".md"), to_page(results, command))
    write_text(path.with_suffix(".csv"), f"{to_csv(summary(results))}\n")
    write_text(path.with_suffix(".tex"), f"{to_latex(summary(results))}\n")
    with atomic_write(path.with_suffix(".png")) as unfinished:
        figures.draw_comparison(results.ap_by_row()).savefig(unfinished, format="png")
    return path


def to_page(results: Results, command: str) -> str:
    """Return the table as a page in Markdown: its question, command, rows, comparisons and answer."""
    parts = [f"# {results.table.question}", f"    {command}", to_markdown(summary(results))]
    compared = claims_table(results)
    if len(compared):
        parts.append(to_markdown(compared))
    parts.append("\n".join(f"* {sentence}" for sentence in conclusions(results).splitlines()))
    return "\n\n".join(parts) + "\n"


def code_commit(checkout: Path | None) -> str | None:
    """Return the git commit of a checkout, with `CHANGED` behind it if its code has uncommitted changes.

    Returns:
        The commit; None outside a checkout of its own repository, as in a wheel, or without git.
    """
    if checkout is None or not (checkout / ".git").exists():
        return None
    commit = _git(checkout, "rev-parse", "HEAD")
    changes = _git(checkout, "status", "--porcelain", "--untracked-files=no", "--", *CODE)
    return f"{commit}{CHANGED if changes else ''}" if commit else None


def _git(checkout: Path, *words: str) -> str | None:
    """Return the output of a git command; None if there is no git or it fails."""
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "-C", str(checkout), *words], capture_output=True, text=True, check=False)  # noqa: S603  a list of words, no shell
    return done.stdout.strip() if done.returncode == 0 else None
