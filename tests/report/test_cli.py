"""An executed notebook, and a folder of runs, as one page that needs nothing beside it."""

import base64
import dataclasses
import importlib.metadata
import io
import json
import re
import shutil
import sys
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from lad.config.experiment import Parameters, make_parameters
from lad.data.synthetic.shapes import write_shapes
from lad.experiments.run_store import (
    PARAMETERS_FILE,
    RESULTS_FILE,
    SECOND_WEIGHTS_FILE,
    WEIGHTS_FILE,
    Run,
    finished_runs,
)
from lad.experiments.runner import run_experiment
from lad.report.cli import main, write_report
from lad.report.compare_runs import (
    averages,
    by_setting,
    curves,
    differences_table,
    draw_averages,
    draw_newest_assignments,
    environments_table,
    headline,
    notebook_runs,
    run_titles,
    runs_in,
)
from lad.report.provenance import VERSIONS_TYPE, execution_of
from lad.utils.paths import project_folder

WIDGET = "application/vnd.jupyter.widget-view+json"


def picture(color: str = "red") -> str:
    """A PNG as a notebook holds it."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8), color).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def code(source: str, *outputs, tag: str | None = None):
    return new_code_cell(
        source, execution_count=1, outputs=list(outputs), metadata={"tags": [tag]} if tag is not None else {}
    )


def shows(**data) -> nbformat.NotebookNode:
    """An output; its types are written with _ for /."""
    return new_output("display_data", {name.replace("_", "/", 1): value for name, value in data.items()})


def prints(text: str, name: str = "stdout") -> nbformat.NotebookNode:
    return new_output("stream", name=name, text=text)


def page_of(tmp_path: Path, *cells, **metadata) -> BeautifulSoup:
    notebook = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=list(cells), metadata=metadata), notebook)
    return BeautifulSoup(write_report(notebook, tmp_path / "page.html").read_text(), "html.parser")


def footer_rows(page: BeautifulSoup) -> dict[str, list[str]]:
    rows = [[cell.get_text() for cell in row.select("td")] for row in page.select("footer tbody tr")]
    return {name: rest for name, *rest in rows}


def test_code_is_folded_away_and_one_button_opens_all_of_it(tmp_path):
    page = page_of(tmp_path, code("x = 1"), code("print(x)", prints("1")))
    assert [one.get_text().strip() for one in page.select("main details.code pre")] == ["x = 1", "print(x)"]
    assert not page.select("details[open]") and page.select_one("button#show-code").get_text() == "show all code"
    assert "x = 1" not in "".join(one.get_text() for one in page.select("main > :not(details)"))


def test_the_contents_list_every_heading_and_lead_to_it(tmp_path):
    text = "# A *question*?\n\n## 100 % <sure>\n\n### Twice\n\n### Twice\n\n#### Too small"
    output = shows(text_markdown="## From an output")
    page = page_of(tmp_path, new_markdown_cell(text), code("show()", output))
    told = ["A question?", "100 %", "Twice", "Twice", "From an output", "Versions"]
    assert len(page.select(".contents")) == 2
    for contents in page.select(".contents"):
        links = contents.select("a")
        assert [link.get_text().strip() for link in links] == told
        targets = [page.find(id=unquote(link["href"].removeprefix("#"))) for link in links]
        assert [target.get_text().strip() for target in targets] == told
    identities = [tag["id"] for tag in page.select("[id]")]
    assert len(identities) == len(set(identities))
    assert page.title.get_text() == "A question?"


def test_a_page_without_a_heading_is_called_as_its_notebook(tmp_path):
    assert page_of(tmp_path, code("1", prints("1"))).title.get_text() == "executed"


def test_nothing_is_fetched_from_anywhere(tmp_path):
    """Whatever a notebook's outputs and text would have asked for."""
    foreign = """
        <script src="https://cdn.example/plot.js"></script><script>require(["x"])</script>
        <link rel="stylesheet" href="https://cdn.example/a.css"><iframe src="https://example.org"></iframe>
        <style>@import url("https://cdn.example/b.css"); p { background: url(https://example.org/c.png) }</style>
        <p style="background: url('http://example.org/d.png')">kept</p>
        <svg><image href="https://example.org/e.png" xlink:href="https://example.org/e.png"/></svg>"""
    text = '# Title\n![chart](https://example.org/f.png) ![gone](no/such.png)\n\n<img src="//example.org/g.png">'
    page = page_of(
        tmp_path,
        new_markdown_cell(text + "\n\n[a site](https://example.org) and [a neighbor](neighbor.ipynb)"),
        code("show()", shows(text_html=foreign), shows(**{"application_javascript": "alert(1)"})),
        widgets={"application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}},
    )
    for tag in page.find_all(True):
        for name in ("src", "srcset", "xlink:href", "poster"):
            assert str(tag.get(name, "data:")).startswith("data:"), tag
        if tag.name != "a":
            assert str(tag.get("href", "data:")).startswith("data:"), tag
    for css in [*(tag.get_text() for tag in page.select("style")), *(tag["style"] for tag in page.select("[style]"))]:
        assert "@import" not in css and "url(" not in css
    assert not page.select("main script, iframe, link[rel=stylesheet]") and len(page.select("script")) == 1
    assert "default-src 'none'" in page.select_one("meta[http-equiv=Content-Security-Policy]")["content"]
    assert "kept" in page.main.get_text() and "[a picture that is not in this page: chart]" in page.main.get_text()
    links = [link["href"] for link in page.select("main a")]  # one to click on; a file that is not there is none
    assert links == ["https://example.org"] and "a neighbor" in page.main.get_text()


def test_figures_are_in_the_page_and_described_by_the_heading_above(tmp_path):
    (tmp_path / "beside.png").write_bytes(base64.b64decode(picture("blue")))
    figure = shows(image_png=picture(), text_plain="<Figure size 1x1>")
    page = page_of(
        tmp_path,
        new_markdown_cell("# Title\n\n![of my own](beside.png)\n\n## The *curves*"),
        code("draw()", figure, figure),
    )
    pictures = page.select("main img")
    assert [one["alt"] for one in pictures] == ["of my own", "The curves", "The curves, figure 2"]
    assert all(one["src"].startswith("data:image/png;base64,") for one in pictures)
    Image.open(io.BytesIO(base64.b64decode(pictures[1]["src"].partition(",")[2]))).verify()
    assert "<Figure" not in page.get_text()


def test_wide_tables_scroll_in_a_box_of_their_own(tmp_path):
    page = page_of(tmp_path, new_markdown_cell("## Numbers"), code("t", shows(text_html="<table><td>1</table>")))
    assert all(table.parent["class"] == ["scroll"] for table in page.select("table"))
    assert page.main.table.parent["aria-label"] == "Numbers"


def test_parameters_stand_in_the_footer_with_what_was_given_and_what_it_means(tmp_path):
    page = page_of(
        tmp_path,
        code('teacher: str = "r50"  # whom to ask\nlr: float = None  # highest', tag="parameters"),
        code('# Parameters\nteacher = "r101"\nextra = [1, "#2"]\n', tag="injected-parameters"),
        code("work()", prints("done")),
    )
    rows = footer_rows(page)
    assert rows["teacher"] == ['"r101"', "whom to ask"] and rows["lr"] == ["None", "highest"]
    assert rows["extra"] == ['[1, "#2"]', ""]
    assert [row.td.get_text() for row in page.select("footer .given")] == ["teacher", "extra"]
    assert "whom to ask" not in page.main.get_text() and "r101" not in page.main.get_text()


def test_what_comes_from_parameters_is_text_and_never_markup(tmp_path):
    evil = "<script>alert(1)</script>"
    page = page_of(
        tmp_path,
        code(f'name: str = "x"  # <b>{evil}', tag="parameters"),
        code(f'name = "{evil}"', tag="injected-parameters"),
        code("print(name)", prints(evil)),
    )
    assert footer_rows(page)["name"] == [f'"{evil}"', f"<b>{evil}"]
    assert evil in page.main.get_text() and len(page.select("script")) == 1


def test_the_paths_of_this_machine_are_not_told(tmp_path):
    project, home = str(project_folder()), str(Path.home())
    said = f"{project}/runs/a, {project}, {home}/b, {project}-other and /elsewhere{project}"
    page = page_of(
        tmp_path,
        code("out: str = None  # folder", tag="parameters"),
        code(f"out = '{project}/runs'", tag="injected-parameters"),
        code("1", prints(said)),
    )
    assert footer_rows(page)["out"][0] == "'runs'"
    other = "~" + f"{project}-other".removeprefix(home) if project.startswith(home) else f"{project}-other"
    assert page.main.pre.find_next("pre").get_text() == f"runs/a, ., ~/b, {other} and /elsewhere{project}"


def test_versions_are_those_of_the_execution_or_said_to_be_of_now(tmp_path):
    recorded = new_output("display_data", {"text/plain": "lad 0.0.7", VERSIONS_TYPE: {"lad": "0.0.7"}})
    page = page_of(
        tmp_path,
        code("record_versions()", recorded),
        language_info={"name": "python", "version": "3.9.1"},
        papermill={"version": "1.2.3", "start_time": "2030-01-02T03:04:05+00:00", "duration": 492.3},
    )
    rows = footer_rows(page)
    assert (rows["python"], rows["lad"], rows["papermill"]) == (["3.9.1"], ["0.0.7"], ["1.2.3"])
    assert rows["nbconvert"] == [f"{importlib.metadata.version('nbconvert')} *"]
    assert "* of the moment this page was made" in page.footer.get_text()
    assert "executed.ipynb, executed 2030-01-02 03:04 UTC, which took 8 min 12 s" in page.footer.get_text()
    assert "0.0.7" not in page.main.get_text()


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({}, "executed at a time that it does not say"),
        ({"duration": None}, "begun 2030-01-02 03:04 UTC and not finished"),
        ({"duration": 7301, "exception": None}, "executed 2030-01-02 03:04 UTC, which took 2 h 1 min"),
        ({"duration": 3.4, "exception": True}, "executed 2030-01-02 03:04 UTC, stopped by an error after 3 s"),
    ],
)
def test_when_and_how_long_is_said_as_far_as_it_is_known(written, said):
    papermill = {"start_time": "2030-01-02T03:04:05+00:00", **written} if written else {}
    assert execution_of({"metadata": {"papermill": papermill}}) == said


def test_a_widget_gives_way_to_what_stands_in_for_it(tmp_path):
    view = {WIDGET: {"model_id": "1", "version_major": 2, "version_minor": 0}}
    page = page_of(
        tmp_path,
        new_markdown_cell("## Explore"),
        code("a", new_output("display_data", {**view, "image/png": picture(), "text/plain": "Box()"})),
        code("b", new_output("display_data", {**view, "text/html": "<i>static</i>", "text/plain": "Box()"})),
        code("c", new_output("display_data", {**view, "text/plain": "Box()"})),
        code("d", new_output("display_data", {**view, "text/plain": "  0%|          | 0/7"})),
        widgets={
            "application/vnd.jupyter.widget-state+json": {"state": {"1": {}}, "version_major": 2, "version_minor": 0}
        },
    )
    assert len(page.select("main img[alt=Explore]")) == 1 and page.select_one("main i").get_text() == "static"
    text = page.main.get_text()
    assert text.count("Interactive: open the notebook") == 1 and "Box()" not in text and "0%|" not in text
    assert "widget" not in str(page.main)


def test_progress_bars_are_left_out_and_messages_folded_away(tmp_path):
    bar = "\r 10%|#         | 1/10\r100%|##########| 10/10\n"
    page = page_of(
        tmp_path,
        code("a", prints(bar, "stderr"), prints("one\n"), prints("two\n")),
        code("b", prints(bar + "UserWarning: careful\n", "stderr")),
    )
    assert "%|" not in page.main.get_text()
    assert page.select_one("main > pre.output").get_text() == "one\ntwo\n"
    assert [one.pre.get_text() for one in page.select("main details.messages")] == ["UserWarning: careful\n"]


def test_an_error_is_shown(tmp_path):
    trace = ["\x1b[0;31mValueError\x1b[0m Traceback", "---> 1 work(<b>)"]
    page = page_of(tmp_path, code("work()", new_output("error", ename="ValueError", evalue="no <b>", traceback=trace)))
    error = page.select_one("main .error[role=alert]")
    assert error.p.get_text() == "ValueError: no <b>" and "work(<b>)" in error.pre.get_text()
    assert "\x1b" not in str(page) and error.find_parent("details") is None


def refused(capsys, *arguments) -> str:
    """What the command says when it stops."""
    with pytest.raises(SystemExit) as stop:
        main([str(one) for one in arguments])
    assert stop.value.code not in (0, None)
    return str(stop.value.code)


def test_what_is_no_executed_notebook_is_refused_in_one_line(tmp_path, capsys):
    source, words, other = tmp_path / "source.ipynb", tmp_path / "words.ipynb", tmp_path / "other.ipynb"
    nbformat.write(new_notebook(cells=[new_code_cell("1")]), source)
    words.write_text("not JSON")
    other.write_text('{"a": 1}')
    runs = tmp_path / "runs"
    runs.mkdir()
    before = sorted(tmp_path.rglob("*"))
    for path, complaint in {
        tmp_path / "none.ipynb": "no such file or folder; name an executed notebook",
        words: "is not a notebook",
        other: "is not a notebook",
        source: "was not executed; run it first",
        runs: "no finished run in this folder; train one",
    }.items():
        said = refused(capsys, path)
        assert said.startswith(f"lad report: {path}: {complaint}") and "\n" not in said
    assert sorted(tmp_path.rglob("*")) == before


def test_a_page_needs_a_name_and_a_folder_and_never_replaces_its_notebook(tmp_path, capsys):
    notebook = tmp_path / "executed.ipynb"
    nbformat.write(new_notebook(cells=[code("1", prints("1"))]), notebook)
    assert "give -o a file that ends in .html" in refused(capsys, notebook, "-o", notebook)
    assert "there is no folder" in refused(capsys, notebook, "-o", tmp_path / "no" / "page.html")
    main([str(notebook)])
    assert {path.name for path in tmp_path.iterdir()} == {"executed.ipynb", "executed.html"}
    assert "executed.html" in capsys.readouterr().out


def test_a_page_that_cannot_be_finished_leaves_the_older_one(tmp_path, monkeypatch):
    page_of(tmp_path, code("1", prints("1")))
    older = (tmp_path / "page.html").read_text()
    monkeypatch.setattr("lad.utils.atomic_io.os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        page_of(tmp_path, code("2", prints("2")))
    assert (tmp_path / "page.html").read_text() == older
    assert {path.name for path in tmp_path.iterdir()} == {"executed.ipynb", "page.html"}


def test_a_missing_nbconvert_is_one_clear_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "lad.report.html", raising=False)
    monkeypatch.setitem(sys.modules, "nbconvert", None)
    said = refused(capsys, tmp_path / "any.ipynb")
    assert "nbconvert is not installed; pip install 'lad[notebooks]' brings it" in said


def tiny(shapes: Path, out: Path, **changes) -> Parameters:
    return make_parameters(
        {
            "data": str(shapes), "out": str(out), "method": "baseline", "student": "r18", "epochs": 1, "batch_size": 4,
            "width": 0.125, "short_sides": [96], "test_short_side": 96, "long_side": 96, "accelerator": "cpu",
            "save_epochs": False, **changes,
        }
    )  # fmt: skip


def copy_run(run: Run, parameters: Parameters, hour: int) -> None:
    """The folder of a run as if it had other parameters and finished at that hour: a page asks for no more, and one
    training will do."""
    folder = Path(parameters.out) / parameters.run_name
    shutil.copytree(run.folder, folder)
    shutil.copy(folder / WEIGHTS_FILE, folder / SECOND_WEIGHTS_FILE)
    results = {
        **run.results,
        "finished": f"2030-01-02T{hour:02}:00:00+00:00",
        "teacher_metrics": run.results["metrics"],
    }
    for file, content in ((PARAMETERS_FILE, parameters.model_dump()), (RESULTS_FILE, results)):
        (folder / file).write_text(json.dumps(content))


@pytest.fixture(scope="module")
def one_run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("one")
    write_shapes(folder / "shapes", "toy", {"train": 8, "val": 4})
    return run_experiment(tiny(folder / "shapes", folder / "runs"))


@pytest.fixture(scope="module")
def trained(one_run, tmp_path_factory) -> Path:
    """A folder of four runs: a plain student with two seeds, a teacher, and a student that LAD taught."""
    out = tmp_path_factory.mktemp("trained")
    taught = tiny(one_run.parameters.data, out, method="lad", teacher="r18", teacher_epochs=2)
    for hour, parameters in enumerate((taught.plain(), taught.plain(seed=1), taught.of_teacher(), taught)):
        copy_run(one_run, parameters, hour)
    return out


def test_a_folder_of_runs_becomes_one_page_with_every_run(trained, capsys):
    main([str(trained)])
    page = BeautifulSoup((trained / "report.html").read_text(), "html.parser")
    text = page.main.get_text()
    names = [run.parameters.run_name for run in finished_runs(trained)]
    assert len(names) == 4 and all(name in text for name in names)
    assert "4 runs in 3 settings" in text and not page.select(".error")
    assert len(page.select("main figure img")) == 3 and len(page.select("main table")) == 3
    assert all("*" not in row[0] for name, row in footer_rows(page).items() if name != "out")  # versions are recorded
    assert [row.td.get_text() for row in page.select("footer .given")] == ["out"]
    assert {one.name for one in trained.iterdir() if one.is_file()} == {"report.html", "report.ipynb"}
    assert len(nbformat.read(trained / "report.ipynb", as_version=4).cells) > 10


def test_runs_that_differ_only_in_their_seed_belong_together(trained):
    runs = runs_in(trained)
    settings = by_setting(runs)
    titles = {"r18, plain, epochs 1": 2, "r18, plain, epochs 2": 1, "r18 ← r18, LAD": 1}
    assert {title: len(same) for title, same in settings.items()} == titles
    assert [run.parameters.seed for run in settings["r18, plain, epochs 1"]] == [0, 1]
    assert list(averages(runs)) == list(curves(runs)) == list(settings)
    assert len(averages(runs)["r18, plain, epochs 1"]) == 2 and len(curves(runs)["r18, plain, epochs 2"]) == 1
    assert headline(runs).startswith("4 runs in 3 settings, finished 2030-01-02. The highest AP: ")


def test_the_ap_of_a_page_is_written_in_one_way(trained):
    runs = runs_in(trained)
    (best,) = re.findall(r"The highest AP: (\S+), ", headline(runs))
    mean = max(sum(values) / len(values) for values in averages(runs).values())
    assert best == f"{mean:.3f}".removeprefix("0")
    (ax,) = draw_averages(runs).axes
    assert f"{mean:.3f}" in [text.get_text() for text in ax.texts] and ax.get_xlabel() == "AP"


def test_runs_have_titles_that_tell_them_apart(trained):
    runs = finished_runs(trained)
    for run in runs:
        run.results["metrics"]["AP"] = 0.5
    titles = run_titles(runs)
    assert len(set(titles)) == len(runs) and "r18 ← r18, LAD, AP .500" in titles
    assert all(title.startswith(("r18, plain, AP .500, ", "r18 ← r18, LAD, AP .500")) for title in titles)
    assert [title for title in titles if title.endswith("seed 1")] == ["r18, plain, AP .500, seed 1"]
    moved = dataclasses.replace(runs[0], folder=trained / "elsewhere" / runs[0].folder.name)
    assert len(set(run_titles([runs[0], moved]))) == 2
    assert run_titles(runs[:1]) == ["r18, plain, AP .500"]


def test_what_runs_differ_in_is_a_column_and_nothing_else(trained):
    table = differences_table(runs_in(trained))
    assert list(table.columns) == ["method", "teacher", "seed", "epochs", "teacher_epochs"]
    (taught,) = (name for name in table.index if "-lad-" in name)
    assert list(table.loc[taught]) == ["lad", "r18", "0", "1", "2"]
    alone = dict(list(runs_in(trained).items())[:1])
    assert {"method", "student", "epochs"} <= set(differences_table(alone).columns)


def test_versions_and_hardware_are_told_once_for_all_runs_that_share_them(trained):
    runs = runs_in(trained)
    table = environments_table(runs)
    assert list(table.columns) == ["4 runs"] and table.loc["memory, GB"].item() and table.loc["torch"].item()
    name, run = next(iter(runs.items()))
    run.results["versions"]["torch"] = "1.0"
    table = environments_table(runs)
    assert list(table.columns) == ["1 run", "3 runs"] and table.loc["runs"].iloc[0] == name


def test_assignments_are_drawn_wherever_the_folder_was_moved_to(trained, tmp_path, capsys):
    shutil.copytree(trained, tmp_path / "moved")
    assert draw_newest_assignments(runs_in(tmp_path / "moved")) is not None
    said = capsys.readouterr().out
    assert "LAD student: " in said and "plain student: " in said and "agreement with the teacher" in said


def test_without_a_teacher_or_its_pictures_the_report_says_so(one_run, trained, tmp_path, capsys):
    runs = runs_in(trained)
    assert draw_newest_assignments({name: run for name, run in runs.items() if "-lad-" not in name}) is None
    assert "No run here learned from a teacher" in capsys.readouterr().out
    elsewhere = tiny(tmp_path / "gone", tmp_path, method="lad", teacher="r18")
    for hour, parameters in enumerate((elsewhere.of_teacher(), elsewhere)):
        copy_run(one_run, parameters, hour)
    assert draw_newest_assignments(runs_in(tmp_path)) is None
    assert re.search(r"The pictures of .* cannot be shown: data '.*gone': no such folder", capsys.readouterr().out)


def test_a_co_learned_pair_is_two_rows_and_a_comparison(one_run, tmp_path, capsys):
    copy_run(one_run, tiny(one_run.parameters.data, tmp_path, method="colad", teacher="r18"), 0)
    runs = runs_in(tmp_path)
    assert len(runs) == 2 and list(by_setting(runs)) == ["r18 ↔ r18, CoLAD", "r18 ↔ r18, CoLAD (teacher)"]
    assert len(differences_table(runs)) == len(curves(runs)) == 1
    assert "1 run in 2 settings" in headline(runs)
    assert draw_newest_assignments(runs) is not None
    assert "CoLAD student: " in capsys.readouterr().out


def test_the_report_knows_no_other_parameter_than_its_folder(trained, tmp_path):
    cell = "# Parameters\nout = 'x'\nfolder = 'x'"
    with pytest.raises(ValueError, match="parameter 'folder' is unknown; known are out"):
        notebook_runs({"In": [cell], "out": "x", "folder": "x"})
    with pytest.raises(ValueError, match=r"parameter 'out' = '.*': no finished run in this folder; train one"):
        notebook_runs({"In": ["# Parameters\nout = 'x'"], "out": str(tmp_path)})
    assert len(notebook_runs({"In": ["# Parameters\nout = 'x'"], "out": str(trained)})) == 4
