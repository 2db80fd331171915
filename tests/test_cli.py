"""The command `lad`: every subcommand has its help, succeeds with status 0, and fails with one line and its status."""

import csv
import io
import json
import os
import subprocess
import sys

import pytest
from commands import error_line, run
from tiny_runs import TINY, fabricate

import lad
from lad.cli import COMMANDS, experiments, main, notebooks
from lad.cli.options import join_changes, split_changes
from lad.cli.parameters import EVALUATION_PARAMETERS, PROFILES, RUN_PARAMETERS
from lad.cli.parameters import TABLES as TABLE_NAMES
from lad.config.evaluation import EvaluationConfig
from lad.config.experiment import Parameters, make_parameters
from lad.config.profiles import PROFILES as ALL_PROFILES
from lad.models.serialization import load_detector
from lad.models.zoo import WEIGHTS_FILE
from lad.paper.definitions import TABLES
from lad.paper.tables import open_table


@pytest.fixture
def words(trained_runs) -> list[str]:
    """Return `-p NAME=VALUE` of the plain run, of which there is a finished one."""
    plain = trained_runs["plain"].parameters
    given = {**TINY, "data": plain.data, "out": plain.out, "seed": 1}
    return [word for name, value in given.items() for word in ("-p", f"{name}={value}")]


def test_help_lists_every_subcommand(capsys):
    assert main(["--help"]) == main(["-h"]) == 0
    printed = capsys.readouterr()
    assert all(f"\n  {name} " in printed.out for name in COMMANDS) and printed.err == ""
    assert printed.out.count("...") == printed.out.count("[ARGS]...") == 2, "a summary is cut off"


def test_the_version_is_the_packages(capsys):
    run("--version")
    assert capsys.readouterr().out == f"lad {lad.__version__}\n"


def test_without_a_subcommand_the_help_is_an_error(capsys):
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("Usage: lad ") and printed.out == ""


@pytest.mark.parametrize(("word", "hint"), [("reslts", " Did you mean 'results'?"), ("x", "")])
def test_an_unknown_subcommand_is_one_line_with_the_nearest(word, hint, capsys):
    assert error_line(capsys, word, status=2) == f"lad: error: No such command '{word}'.{hint}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_subcommand_shows_its_full_name_and_its_options(name, capsys):
    run(name, "--help")
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: lad {name} ") and "--help" in printed
    assert "unknown" in error_line(capsys, name, "--unknown", status=2)


def test_help_does_not_import_torch():
    check = "assert not {'torch', 'pandas', 'rich'} & sys.modules.keys()"
    code = f"import sys, lad.cli; [lad.cli.main([*word, '--help']) for word in ([], ['run'], ['table'])]; {check}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_help_names_parameters_profiles_and_tables_that_exist_with_their_defaults():
    assert RUN_PARAMETERS.keys() <= Parameters.model_fields.keys() and tuple(ALL_PROFILES) == PROFILES
    assert tuple(TABLES) == TABLE_NAMES
    assert EVALUATION_PARAMETERS.keys() <= EvaluationConfig.model_fields.keys()
    defaults = make_parameters({})
    for name, (default, _) in RUN_PARAMETERS.items():
        value = getattr(defaults, name)
        assert default in {str(value), "profile's", "runs/"} or (value is None and default in ("–", "all")), name
    for name, (default, _) in EVALUATION_PARAMETERS.items():
        value = EvaluationConfig.model_fields[name].default
        assert default in {str(value), str(value).lower()} or value is None or name == "out"


def test_parameters_are_completed_in_a_shell():
    environment = {"_LAD_COMPLETE": "complete_bash", "COMP_WORDS": "lad run -p teacher_c", "COMP_CWORD": "3"}
    command = [sys.executable, "-c", "from lad.cli import main; main()"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.stdout.split() == ["teacher_checkpoint="]


def test_a_parameter_is_given_in_one_word_or_two():
    given = ["run", "-p", "teacher", "r101", "-p", "epochs=4", "-p", "data", "a=b"]
    joined = ["run", "-p", "teacher=r101", "-p", "epochs=4", "-p", "data=a=b"]
    assert join_changes(given) == join_changes(joined) == joined
    assert split_changes(["data=a=b", "epochs=4"]) == [("data", "a=b"), ("epochs", "4")]
    assert join_changes(["table", "x", "--job", "slurm_partition", "gpu"]) == [
        "table",
        "x",
        "--job",
        "slurm_partition=gpu",
    ]


def test_without_a_file_the_runs_of_the_notebook_are_compared(words, trained_runs, capsys):
    """The runs of `lad.compare`: in a baseline's case, one, which is finished."""
    run("run", *words)
    *_, heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["network", "method", "AP"] and row.startswith("plain student")
    run("run", *words, "--json")
    printed = capsys.readouterr()
    (content,) = json.loads(printed.out)
    assert content["folder"] == str(trained_runs["plain"].folder) and "already trained" in printed.err
    assert content["metrics"] == trained_runs["plain"].metrics


def test_a_file_is_one_experiment_and_a_profile_can_be_chosen(tmp_path, monkeypatch):
    received = []
    monkeypatch.setattr("lad.experiments.runner.run_experiment", lambda given: received.append(given) or 1 / 0)
    (tmp_path / "lad.yaml").write_text("method: lad\nprofiles: {mini: {epochs: 3}}\n")
    with pytest.raises(ZeroDivisionError):
        main(["run", str(tmp_path / "lad.yaml"), "--profile", "mini", "-p", "seed=7"])
    (parameters,) = received
    assert (parameters.profile, parameters.epochs, parameters.seed) == ("mini", 3, 7)


def test_a_file_can_be_compared_and_a_run_without_one_can_be_single(words, trained_runs, monkeypatch, capsys):
    monkeypatch.setattr("lad.experiments.runner.compare", lambda given: {"compared": trained_runs["plain"]})
    run("run", trained_runs["plain"].folder / "params.json", "--compare", "--format", "csv")
    assert capsys.readouterr().out.splitlines()[1].startswith("compared,r18,baseline,")
    run("run", *words, "--no-compare", "--format", "csv")
    assert capsys.readouterr().out.splitlines()[1].startswith("student,r18,baseline,")


def test_a_notebook_gets_the_same_parameters(words, trained_runs, tmp_path, monkeypatch):
    received = []
    monkeypatch.setattr(experiments, "execute", lambda *given: received.append(given))
    run("run", *words, "--notebook", "-o", tmp_path / "out.ipynb")
    ((name, output, given),) = received
    assert (name, output, given["compare"]) == ("run_lad.ipynb", tmp_path / "out.ipynb", True)
    assert make_parameters(given["settings"]) == trained_runs["plain"].parameters


@pytest.mark.notebook
def test_the_notebook_is_executed_and_kept(words, tmp_path):
    run("run", *words, "--no-compare", "--notebook", "-o", tmp_path / "out.ipynb")
    cells = json.loads((tmp_path / "out.ipynb").read_text())["cells"]
    assert any("image/png" in output.get("data", {}) for cell in cells for output in cell.get("outputs", []))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["-p", "epoch=3"], "parameter 'epoch' is unknown; did you mean 'epochs'?"),
        (["-p", "epochs"], "-p epochs: has no value; give -p NAME=VALUE, such as -p epochs=4"),
        (["--profile", "toys"], "parameter 'profile' = 'toys' is not one of toy, mini, coco_1x, coco_2x_ms; did you"),
        (["nowhere.yaml"], "nowhere.yaml: cannot be read (No such file or directory)"),
        (["-o", "x.ipynb"], "--output is for --notebook"),
    ],
)
def test_wrong_parameters_are_wrong_usage(given, message, capsys):
    assert error_line(capsys, "run", *given, status=2).startswith(f"lad run: error: {message}")


def test_a_run_that_fails_is_one_line(words, tmp_path, capsys):
    assert main(["run", *words, "-p", f"data={tmp_path / 'nowhere'}", "-p", f"out={tmp_path}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("lad run: ") and "nowhere" in line


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_full_disk_and_an_interrupt_have_their_status(words, monkeypatch, capsys, error):
    def fail(_parameters: Parameters) -> None:
        raise error

    monkeypatch.setattr("lad.experiments.runner.compare", fail)
    assert main(["run", *words]) == (130 if isinstance(error, KeyboardInterrupt) else 1)
    expected = "lad run: No space left on device; the same command resumes the run from its last checkpoint\n"
    assert capsys.readouterr().err == ("" if isinstance(error, KeyboardInterrupt) else expected)


def test_results_are_printed_in_each_format(trained_runs, capsys):
    folder = trained_runs["plain"].folder.parent
    printed = {}
    for form in ("text", "csv", "latex", "markdown"):
        run("results", folder, "--format", form)
        printed[form] = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(printed["csv"])))
    assert [row["name"] for row in rows] == [run.name for run in trained_runs.values()]
    assert float(rows[0]["AP"]) == trained_runs["plain"].metrics["AP"]
    assert "\\toprule" in printed["latex"] and "| --- |" in printed["markdown"]
    run("results", folder, "--json")
    assert len(json.loads(capsys.readouterr().out)) == len(trained_runs)


def test_a_checkpoint_is_evaluated_as_by_the_notebook(trained_runs, tmp_path, capsys):
    folder = trained_runs["lad"].folder
    given = ["evaluate", folder, "-p", f"out={tmp_path}", "-p", "accelerator", "cpu"]
    run(*given, "--json")
    content = json.loads(capsys.readouterr().out)
    assert content["metrics"]["AP"] == pytest.approx(trained_runs["lad"].metrics["AP"], abs=1e-6)
    run(*given)
    printed = capsys.readouterr().out
    assert "AP50" in printed and "classification" in printed and printed.rstrip().endswith(content["folder"])
    run(*given, "--format", "markdown")
    assert capsys.readouterr().out.startswith("|  | AP |")


def test_an_evaluation_that_is_not_possible_is_one_line(tmp_path, capsys):
    line = error_line(capsys, "evaluate", tmp_path / "nowhere.pth", status=2)
    assert line.startswith("lad evaluate: error: parameter 'checkpoint'")
    line = error_line(capsys, "evaluate", __file__, "--data", "toy", "-p", "split=/x", status=2)
    assert "parameter 'split' = '/x'" in line
    assert "split '/x': is no name of a split" in error_line(capsys, "validate", tmp_path, "--split", "/x")
    (tmp_path / "text.pth").write_text("no checkpoint")
    line = error_line(capsys, "evaluate", tmp_path / "text.pth", "--data", "toy", "-p", f"out={tmp_path}")
    assert line.startswith("lad evaluate: ") and "text.pth" in line


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_an_exported_detector_has_the_same_weights(trained_runs, tmp_path, suffix, capsys):
    out = tmp_path / "new" / f"detector{suffix}"
    run("export", trained_runs["plain"].folder, out)
    assert capsys.readouterr().out == f"written to {out}\n"
    exported, own = load_detector(out).state_dict(), trained_runs["plain"].load_detector().state_dict()
    assert all(exported[name].equal(value) for name, value in own.items() if "num_batches" not in name)
    assert "already exists" in error_line(capsys, "export", trained_runs["plain"].folder, out)


def test_onnx_gets_its_size_and_another_ending_is_wrong_usage(trained_runs, tmp_path, monkeypatch, capsys):
    received = []
    monkeypatch.setattr("lad.inference.onnx.export_onnx", lambda _detector, *given: received.append(given))
    file = trained_runs["plain"].folder / WEIGHTS_FILE
    run("export", file, tmp_path / "a.onnx", "--size", 64, 96, "--no-vote")
    assert received == [(tmp_path / "a.onnx", (64, 96), False)]
    line = error_line(capsys, "export", file, tmp_path / "a.pt", status=2)
    assert line.endswith("a.pt: must end with .safetensors, .pth, .onnx")


def test_a_tilde_is_the_home_folder_after_an_equals_sign_too(trained_runs, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert main(["init", "~/suite"]) == 0 and (tmp_path / "suite" / "notebooks").is_dir()
    assert main(["report", str(tmp_path / "none.ipynb"), "--output=~/page.html"]) == 1
    assert "none.ipynb: no such file" in capsys.readouterr().err
    assert main(["report", "~/suite/notebooks/run_lad.ipynb", "--output=~/nowhere/page.html"]) == 1
    assert f"the folder {tmp_path / 'nowhere'} does not exist" in capsys.readouterr().err


def test_the_current_folder_is_a_folder_of_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["report", "."]) == 1
    assert ".: no finished run in this folder" in capsys.readouterr().err


def test_a_notebook_is_not_written_over_itself(tmp_path, monkeypatch, capsys):
    assert main(["init", str(tmp_path)]) == 0
    monkeypatch.chdir(tmp_path)
    notebook = tmp_path / "notebooks" / "run_lad.ipynb"
    before = notebook.read_bytes()
    assert main(["run", "--notebook", "-o", "notebooks/run_lad.ipynb"]) == 1
    assert "is the notebook itself; give another file" in capsys.readouterr().err
    assert notebook.read_bytes() == before


def test_checkpoints_and_validate_print_json(shapes, capsys):
    run("checkpoints", "--json")
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    run("validate", shapes, "--json")
    assert "paa_r50_1x" in names and json.loads(capsys.readouterr().out)["splits"].keys() == {"train", "val"}
    assert "unexpected extra argument" in error_line(capsys, "checkpoints", "x", status=2)


def test_jupyterlab_starts_at_a_notebook(monkeypatch, capsys):
    received = []
    monkeypatch.setattr(notebooks.subprocess, "call", lambda command: received.append(command) or 0)
    run("lab", "evaluate", "--no-browser")
    (command,) = received
    assert command[:3] == [sys.executable, "-m", "jupyterlab"] and "--no-browser" in command
    assert "--LabApp.default_url=/lab/tree/notebooks/evaluate.ipynb" in command
    assert "no such notebook; there are 00_label" in error_line(capsys, "lab", "nowhere")


def test_a_suite_is_written_into_a_new_folder_and_changed_files_stop_it(tmp_path, capsys):
    run("init", tmp_path / "suite")
    (tmp_path / "suite" / "params" / "README.md").write_text("mine")
    assert "differs from the file of lad-suite" in error_line(capsys, "init", tmp_path / "suite")


@pytest.mark.parametrize(("module", "command"), [("data.validation.report", "validate"), ("inference.cli", "predict")])
def test_an_old_module_is_the_same_command_with_a_hint(module, command, tmp_path):
    words = [sys.executable, "-m", f"lad.{module}", str(tmp_path / "nowhere")]
    done = subprocess.run(words, capture_output=True, text=True)
    hint, line = done.stderr.splitlines()
    assert hint == f"hint: `python -m lad.{module}` is now `lad {command}`; the next release removes it"
    assert line.startswith(f"lad {command}: ") and done.returncode in (1, 2) and done.stdout == ""


def test_python_m_runs_the_same_command(tmp_path):
    command = [sys.executable, "-m", "lad.cli", "results", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"lad results: {tmp_path}: no finished run in this folder; train one with `make run`\n"


TABLE_2 = "table2_soft_label_vs_lad"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([TABLE_2, "-p", "epoch", "3"], "parameter 'epoch' is unknown; did you mean 'epochs'?"),
        ([TABLE_2, "-p", "short_sides", "[96"], "parameter 'short_sides': line 1: while parsing a flow sequence"),
        ([TABLE_2, "-p", "lr", ".nan"], "parameter 'lr': line 1: .nan is not a plain decimal number"),
        ([TABLE_2, "--jobs", "0"], "Invalid value for '--jobs': Input should be greater than or equal to 1"),
        ([TABLE_2, "--engine", "dask"], "--engine dask needs --scheduler, the address that `dask scheduler` prints"),
        ([TABLE_2, "--engine", "ray"], "Invalid value for '--engine': 'ray' is not one of 'local', 'slurm', 'dask'."),
        ([TABLE_2, "--scheduler", "tcp://127.0.0.1:1"], "--scheduler needs --engine dask"),
        ([TABLE_2, "--job", "slurm_partition", "gpu"], "--job needs --engine slurm"),
        ([TABLE_2, "--job", "slurm_partition"], "--job slurm_partition: has no value; give --job NAME=VALUE, such as "),
        ([TABLE_2, "--engine", "slurm"], '--engine slurm: Could not detect "srun"'),
        ([TABLE_2, "--seeds", "0"], "parameter 'seeds' = 0 must be a whole number from 1 to 1000"),
        (["table_2"], "parameter 'table' = 'table_2' is not one of table2_soft_label_vs_lad, "),
        ([], "Missing argument 'TABLE'."),
    ],
)
def test_invalid_arguments_of_a_table_are_one_line_before_any_work(given, message, capsys):
    assert error_line(capsys, "table", *given, status=2).startswith(f"lad table: error: {message}")


@pytest.fixture
def finished_table(tmp_path) -> list[str]:
    """Return the words of a table whose runs are all finished."""
    changes = {"epochs": 1, "out": str(tmp_path)}
    for (parameters,) in open_table(TABLE_2, changes=changes).parameters.values():
        fabricate(parameters)
    return ["table", TABLE_2, *(word for name, value in changes.items() for word in ("-p", f"{name}={value}"))]


def test_a_table_is_printed_for_programs(finished_table, tmp_path, capsys):
    run(*finished_table, "--json")
    printed = capsys.readouterr()
    content = json.loads(printed.out)
    assert content == json.loads((tmp_path / "results" / "toy" / f"{TABLE_2}.json").read_text())
    assert content["command"] == f"lad {subprocess.list2cmdline(finished_table)} --json"
    assert [row["title"] for row in content["rows"]] == ["teacher", "baseline", "soft label", "LAD", "SoLAD"]
    assert "5 runs, 5 already finished" in printed.err
    run(*finished_table, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert len(rows) == 5 and rows[0]["network"] == "r101"
