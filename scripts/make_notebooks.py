"""Write the notebooks of the tables and that of any table, which differ only in what `table_notebooks.py` has for each.

What a table found last time is that of its committed results.

python scripts/make_notebooks.py    # or: make notebooks
"""

import textwrap
from pathlib import Path

import nbformat
from make_results import read_results
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from table_notebooks import OWN_TABLE, TABLE_NOTEBOOKS, Section, TableNotebook

from lad.paper.claims import claims
from lad.paper.definitions import TABLES
from lad.paper.statistics import format_signed

RESULTS = Path(__file__).parents[1] / "results" / "toy"
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
OWN_NOTEBOOK = "my_table"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


HOW = """\
Change the parameters below and run all cells. To train several runs in parallel, use the command line; it resumes
after an interruption, and continues with the other rows if one fails:

    lad table {name} --profile toy --seeds 3 --jobs 2

Each row is a file in `params/{name}/`. Its teacher is a run of its own and is trained first. Finished runs are
loaded, not trained again."""

PARAMETERS = """\
profile: str = "toy"  # toy, mini, coco_1x or coco_2x_ms: data set, schedule and network size
seeds: int = 1  # number of seeds per row: seeds 0, 1, …
train: bool = True  # train missing runs; False shows finished runs only
epochs: int = None  # epochs of every run; None is 7, 24, 12, 24 by profile, or the row's
data: str = None  # a folder in COCO format, or toy or mini, the generated data sets
train_images: int = None  # train on the first N images only
accelerator: str = None  # auto, cpu or cuda; None is auto
devices: int = None  # number of devices; None is 1
out: str = None  # folder of the runs; None is runs/ of this project
settings: dict = None  # any other parameter of every run by name, for instance {{"width": 0.5}}"""

OWN_HOW = """\
Write the table as a YAML file ([how](../docs/own_tables.md)), give its path below and run all cells. To train several
runs in parallel, use the command line; it resumes after an interruption, and continues with the other rows if one
fails:

    lad table mine.yaml --profile toy --seeds 5 --jobs 2

The teacher of a row is a run of its own and is trained first. Finished runs are loaded, not trained again."""

OWN_PARAMETERS = """\
table: str = "table2_soft_label_vs_lad"  # path of the table's .yaml file, or the name of a table of this project
"""

OWN_SETUP = """\
from lad.paper.tables import notebook_own_table
from lad.report.notebook import setup_notebook

experiments = setup_notebook(globals(), notebook_own_table, switches=["train"])
print(experiments.table.question)"""

SETUP = """\
from functools import partial

from lad.paper.tables import notebook_table
from lad.report.notebook import setup_notebook

table = partial(notebook_table, "{name}")
experiments = setup_notebook(globals(), table, switches=["train"])"""

RUNS = "results = experiments.run() if train else experiments.finished()"

TABLE = Section(
    "table",
    """\
## The table

AP in percent, mean ± standard deviation over the seeds; S, M and L are small, medium and large objects. The
difference is to the row's baseline, paired by seed, with a 95 % confidence interval. The last column is the published
result on COCO. Neither APs nor differences on other data sets can be compared with it. “–” means not run,
or not published.""",
    """\
from lad.paper.summary import summary

summary(results)""",
)

SEEDS = Section(
    "seeds",
    """\
## Each seed

A dot is one run, a bar the mean of its row.""",
    """\
from lad import figures

figures.draw_comparison(results.ap_by_row())""",
)

PUBLISHED = Section(
    "published",
    """\
## Published results and their sources

Two runs of PAA of the same 12 epochs (1x) differ by about .2 AP, says the OpenMMLab model zoo. “Unknown” means that the
source does not say whether it is val2017 or test-dev. Results of another head than PAA's are printed beside those of
the same student alone; compare the gains, not the APs.""",
    """\
from lad.paper.summary import published_table

published_table(results.table)""",
)

ANSWER = Section(
    "answer",
    """\
## The answer

Each comparison is a claim, and its verdict follows by a rule: *supported* or *contradicted* if the p-value of the
paired t test, adjusted by Holm's method for all comparisons of this table, is below .05, *differs* if the table asks an
open question, else *not distinguished*. The permutation test checks the t test. The effect d_z is the mean difference
divided by the standard deviation of the differences over the seeds.""",
    """\
from lad.paper.claims import claims_table, conclusions

print(conclusions(results))
claims_table(results)""",
)


def make_notebook(name: str) -> nbformat.NotebookNode:
    """Return the notebook of a table of the project, without outputs."""
    notebook, setup = TABLE_NOTEBOOKS[name], SETUP.format(name=name)
    question = f"# {TABLES[name].question}\n\n{notebook.introduction}{found_last_time(name)}"
    return _make(question, HOW.format(name=name), PARAMETERS.format(), setup, notebook)


def found_last_time(name: str) -> str:
    """Return a paragraph on the gains in a table's committed results, by baseline; empty if there are none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        return ""
    results = read_results(path)
    baselines = {row.title: row.against for row in results.table.rows}
    gains: dict[str, list[str]] = {}
    for claim in claims(results):
        if claim.against == baselines[claim.title]:
            gain = f"*{claim.title}* {format_signed(claim.difference.mean)}, {claim.verdict}"
            gains.setdefault(claim.against, []).append(gain)
    found = ". ".join(f"Against *{baseline}*: {'; '.join(of_baseline)}" for baseline, of_baseline in gains.items())
    intro = f"**Found last time**, in points of AP, with {len(results.seeds)} seeds on the toy profile."
    text = f"{intro} {found}. [What it means](../docs/findings.md)."
    return f"\n\n{textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)}"


def make_own_notebook() -> nbformat.NotebookNode:
    """Return the notebook of any table, whose file is a parameter."""
    question = f"# A table of your own\n\n{OWN_TABLE.introduction}"
    return _make(question, OWN_HOW, OWN_PARAMETERS + PARAMETERS.format(), OWN_SETUP, OWN_TABLE)


def _make(question: str, how: str, parameters: str, setup: str, notebook: TableNotebook) -> nbformat.NotebookNode:
    """Return a notebook of these first cells and those that all have; the ids of cells do not depend on their order."""
    cells = [
        new_markdown_cell(question, id="question"),
        new_markdown_cell(how, id="how"),
        new_code_cell(parameters, id="parameters", metadata={"tags": ["parameters"]}),
        new_code_cell(setup, id="setup"),
        new_code_cell(RUNS, id="runs"),
    ]
    for section in (TABLE, SEEDS, *notebook.extra, notebook.training, PUBLISHED, ANSWER):
        cells.append(new_markdown_cell(section.text, id=f"{section.name}-text"))
        cells.append(new_code_cell(section.code, id=section.name))
    return new_notebook(cells=cells, metadata=METADATA)


def main() -> None:
    """Write all notebooks of tables."""
    notebooks = {name: make_notebook(name) for name in TABLE_NOTEBOOKS} | {OWN_NOTEBOOK: make_own_notebook()}
    for name, notebook in notebooks.items():
        (NOTEBOOKS / f"{name}.ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
