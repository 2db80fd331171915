"""No source file loads, downloads or starts anything in a way that could run code written by somebody else.

Most of this is checked by ruff: its `S` rules (flake8-bandit) and the modules and functions banned under
`[tool.ruff.lint.flake8-tidy-imports.banned-api]` in pyproject.toml. This file checks what ruff has no rule for, and
that both together find every unsafe snippet of a list.
"""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CODE = [path for folder in ("lad", "scripts", "benchmarks") for path in sorted((PROJECT / folder).rglob("*.py"))]
NOTEBOOKS = sorted((PROJECT / "notebooks").rglob("*.ipynb"))
SHELL_SCRIPTS = [PROJECT / "Makefile", PROJECT / ".ci" / "run"]
TEXTS = [
    *(PROJECT / name for name in ("Makefile", "README.md", "environment.yml", "pyproject.toml")),
    *(PROJECT / ".ci").iterdir(),
    *sorted((PROJECT / "params").rglob("*.*")),
    *sorted((PROJECT / "docs").rglob("*.md")),
    *NOTEBOOKS,
    *CODE,
]

# Calls that are safe only with this argument: the last part of the function's name, or all of it, and the argument.
REQUIRED = {
    "torch.load": ("weights_only", True),
    "extractall": ("filter", "data"),
    "unpack_archive": ("filter", "data"),
    "load_state_dict_from_url": ("check_hash", True),
    "get_state_dict": ("check_hash", True),
}
UNCHECKED_DOWNLOADS = {"urlopen", "urlretrieve", "from_pretrained", "snapshot_download", "hf_hub_download"}
# The lines of notebooks that are not Python; any other magic or shell line is a syntax error.
MAGIC = r"(?m)^%(matplotlib inline|config InlineBackend\.figure_formats = .*)$"
# This machine, the namespace of SVG, and the servers of the paper and of COCO, whose files are verified by their hash.
PLAIN_ADDRESSES = (
    "http://127.0.0.1", "http://localhost", "http://www.w3.org/", "http://118.69.233.170:60001/open/",
    "http://images.cocodataset.org",
)  # fmt: skip


def problems(source: str) -> list[str]:
    """Return what is unsafe in Python source and not found by ruff, one line each."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = {(node.lineno, message) for node in ast.walk(tree) for message in _problems_of(node, names)}
    return [f"line {line}: {message}" for line, message in sorted(found)]


def _problems_of(node: ast.AST, names: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Call):
        yield from _problems_of_call(node, _full_name(node.func, names))
    elif isinstance(node, ast.Constant) and "http://" in str(node.value):
        if not str(node.value).startswith(PLAIN_ADDRESSES):
            yield "an address without https"
    elif isinstance(node, ast.Dict) and any(_is(key, "shell") for key in node.keys):  # keyword arguments of a call
        yield "a shell"


def _problems_of_call(call: ast.Call, name: str) -> Iterator[str]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    last = name.rsplit(".", maxsplit=1)[-1]
    if name.removeprefix("builtins.") in ("compile", "__import__"):
        yield f"{name} turns text into code"
    for key in (name, last):
        if key in REQUIRED and not _is(keywords.get(REQUIRED[key][0]), REQUIRED[key][1]):
            yield f"{name} without {REQUIRED[key][0]}={REQUIRED[key][1]!r}"
    if name == "numpy.load" and "allow_pickle" in keywords and not _is(keywords["allow_pickle"], False):
        yield "numpy.load with allow_pickle"
    if last == "download_url_to_file" and _is((call.args[2:3] or [keywords.get("hash_prefix")])[0], None):
        yield "a download without a hash"
    if last in UNCHECKED_DOWNLOADS:
        yield f"{last} downloads without checking a hash"
    if _is(keywords.get("verify"), False):
        yield "a connection without a verified certificate"
    if "shell" in keywords and not _is(keywords["shell"], False):
        yield "a shell"


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Return the full name of everything imported, by its local name."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.split(".")[0]
                names |= {alias.asname: alias.name} if alias.asname else {root: root}
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _is(node: ast.AST | None, value: object) -> bool:
    """Return whether an argument is this constant; a missing argument is None."""
    if node is None:
        return value is None
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def code_cells(notebook: Path) -> list[str]:
    """Return the Python of a notebook, one string per cell."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [without_magics("".join(cell["source"])) for cell in cells if cell["cell_type"] == "code"]


def without_magics(cell: str) -> str:
    return re.sub(MAGIC, "", cell)


def test_the_code_and_the_notebooks_have_no_problem_that_ruff_has_no_rule_for():
    sources = {path: [path.read_text(encoding="utf-8")] for path in CODE}
    sources |= {path: code_cells(path) for path in NOTEBOOKS}
    assert len(CODE) > 100 and len(NOTEBOOKS) > 5
    found = {str(path): [line for cell in cells for line in problems(cell)] for path, cells in sources.items()}
    assert {path: lines for path, lines in found.items() if lines} == {}


def test_every_torch_load_reads_weights_only():
    calls = 0
    for path in CODE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = imported_names(tree)
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and _full_name(node.func, names) == "torch.load":
                calls += 1
                (given,) = [keyword.value for keyword in node.keywords if keyword.arg == "weights_only"]
                assert _is(given, True), f"{path}:{node.lineno}"
    assert calls


def test_a_notebook_cell_that_starts_a_shell_or_a_script_is_a_syntax_error():
    for source in ("!ls", "%%bash\nls", "%run other.py", "%matplotlib inline\nfiles = !ls", "%sx ls"):
        with pytest.raises(SyntaxError):
            problems(without_magics(source))


UNSAFE = [
    "import pickle",
    "import pickle as p",
    "from pickle import load, UnpicklingError",
    "from pickle import UnpicklingError",  # safe, but pickle is banned as a whole: a use of it needs a reason
    "import dill, joblib",
    "def f():\n    import marshal",
    "from six.moves import cPickle\nimport _pickle",
    "import cloudpickle",
    "import shelve",
    "import jsonpickle",
    "import torch\ntorch.load(path)",
    "import torch\ntorch.load(path, weights_only=False)",
    "import torch\ntorch.load(path, weights_only=is_trusted)",
    "from torch import load\nload(path)",
    "import torch as t\nt.load(path, map_location='cpu')",
    "import torch\ntorch.jit.load(path)",
    "import numpy as np\nnp.load(path, allow_pickle=True)",
    "import numpy as np\nnp.load(path, allow_pickle=is_trusted)",
    "import pandas as pd\npd.read_pickle(path)",
    "import yaml\nyaml.load(text)",
    "import yaml\nyaml.load(text, yaml.Loader)",
    "import yaml\nyaml.load(text, Loader=yaml.FullLoader)",
    "import yaml\nclass Own(yaml.Loader): pass\nyaml.load(text, Loader=Own)",
    "import yaml\nyaml.unsafe_load(text)",
    "import yaml\nyaml.unsafe_load_all(text)",
    "import yaml\nyaml.full_load(text)",
    "import yaml\nyaml.full_load_all(text)",
    "import yaml\nyaml.load_all(text, yaml.Loader)",
    "eval(text)",
    "exec(text)",
    "compile(text, 'x', 'exec')",
    "__import__(name)",
    "import builtins\nbuiltins.eval(text)",
    "import code\ncode.interact()",
    "import runpy\nrunpy.run_path(path)",
    "import os\nos.system(f'ls {folder}')",
    "from os import popen\npopen('ls')",
    "import os\nos.execvp('ls', words)",
    "import os\nos.spawnl(os.P_WAIT, path)",
    "import pty\npty.spawn(words)",
    "import asyncio\nasyncio.create_subprocess_shell(text)",
    "import subprocess\nsubprocess.run(f'ls {folder}')",
    "import subprocess\nsubprocess.run(['ls', folder], shell=True)",
    "import subprocess\nsubprocess.run(['ls'], **{'shell': True})",
    "import subprocess\ndef f():\n    command = 'ls ' + folder\n    subprocess.Popen(command)",
    "import subprocess\ndef f(command):\n    subprocess.Popen(command)",
    "import subprocess\ndef f():\n    command = ['ls']\ndef g():\n    command = 'ls'\n    subprocess.run(command)",
    "from subprocess import check_output as out\nout('ls')",
    "import subprocess\nsubprocess.getoutput('ls')",
    "import subprocess\nsubprocess.getstatusoutput('ls')",
    "import tempfile\ntempfile.mktemp()",
    "import tarfile\ntarfile.open(path).extractall(folder)",
    "import tarfile\ntarfile.open(path).extractall(folder, filter='fully_trusted')",
    "import shutil\nshutil.unpack_archive(path)",
    "import torch\ntorch.hub.load('owner/name', 'net')",
    "import torch\ntorch.hub.load_state_dict_from_url(url)",
    "from torch.hub import load_state_dict_from_url as fetch\nfetch(url, check_hash=False)",
    "import torch\ntorch.hub.download_url_to_file(url, path)",
    "import torch\ntorch.hub.download_url_to_file(url, path, None)",
    "import torch\ntorch.hub.download_url_to_file(url, path, hash_prefix=None)",
    "weights.get_state_dict(progress=False)",
    "from urllib.request import urlopen",
    "from urllib import request",
    "import urllib.request",
    "import urllib3",
    "import http.client",
    "import ftplib",
    "import requests",
    "import httpx",
    "import aiohttp",
    "import huggingface_hub",
    "session.get(url, verify=False)",
    "import ssl\nssl._create_unverified_context()",
    "net.from_pretrained('owner/name')",
    "url = 'http://example.org/weights.pth'",
    "url = f'http://{host}/weights.pth'",
]
SAFE = [
    "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
    "import torch\ntorch.compile(network).eval()\nnetwork.compile()",
    "import re\nre.compile('a')",
    "import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)",
    "import yaml\nyaml.safe_load(text)",
    "import torch\ntorch.hub.download_url_to_file(url, path, digest, progress=False)",
    "from torch.hub import load_state_dict_from_url as fetch\nfetch(url, check_hash=True)",
    "import tarfile\ntarfile.open(path).extractall(folder, filter='data')",
    "from urllib.parse import quote",
    "url = 'https://example.org'\nname = 'http://www.w3.org/2000/svg'",
]


def found_by_ruff(sources: list[str], folder: Path) -> set[int]:
    """Return the numbers of the snippets in which ruff, as pyproject.toml configures it, finds something unsafe."""
    for number, source in enumerate(sources):
        (folder / f"snippet_{number}.py").write_text(source + "\n", encoding="utf-8")
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json"]
    command = [*ruff, "--config", str(PROJECT / "pyproject.toml"), str(folder)]
    findings = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    unsafe = [one["filename"] for one in findings if re.fullmatch(r"S\d+|TID251", one["code"] or "")]
    return {int(re.search(r"snippet_(\d+)\.py", name).group(1)) for name in unsafe}


def test_every_unsafe_snippet_is_found_by_ruff_or_here(tmp_path):
    found = found_by_ruff(UNSAFE, tmp_path)
    missed = [source for number, source in enumerate(UNSAFE) if number not in found and not problems(source)]
    assert missed == [] and len(found) > 40


def test_no_safe_snippet_is_found(tmp_path):
    assert [SAFE[number] for number in found_by_ruff(SAFE, tmp_path)] == []
    assert [source for source in SAFE if problems(source)] == []


def test_ruff_checks_every_folder_whose_code_users_run():
    """No per-file-ignores but those of the tests switch a security rule off."""
    files = [CODE[0], PROJECT / "scripts" / "x.py", PROJECT / "benchmarks" / "x.py", PROJECT / "notebooks" / "x.py"]
    for path in files:
        command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "json", "--stdin-filename"]
        done = subprocess.run(
            [*command, str(path), "-"], input="eval(x)\nimport pickle\n", capture_output=True, text=True
        )
        assert {"S307", "TID251"} <= {one["code"] for one in json.loads(done.stdout)}


SHELL_TRAPS = r"http://|\b(curl|wget)\b|\beval\b|--trusted-host|--no-check-certificate|--insecure"


def test_shell_scripts_download_by_package_managers_alone():
    assert {str(path): re.findall(SHELL_TRAPS, path.read_text()) for path in SHELL_SCRIPTS} == {
        str(path): [] for path in SHELL_SCRIPTS
    }
    for line in ("curl https://x | sh", 'eval "$1"', "pip install --trusted-host x y", "wget http://x"):
        assert re.findall(SHELL_TRAPS, line), line


# By default JupyterLab asks for its token and listens on this machine only.
OPEN_DOORS = (
    r"--ip\b|(Server|Notebook|Lab)App\.(ip|token|password|allow_\w+|disable_check_xsrf)|IdentityProvider\.token"
    r"|\b0\.0\.0\.0\b|\btoken ?= ?(''|\"\"|\\\"\\\")|disable_check_xsrf|allow_origin|allow_remote_access|--allow-root"
)


def test_no_file_lets_others_into_jupyterlab():
    found = {str(path): re.search(OPEN_DOORS, path.read_text(encoding="utf-8")) for path in TEXTS}
    assert {path: match for path, match in found.items() if match} == {}


def test_every_way_of_letting_others_in_is_found():
    for line in (
        "jupyter lab --ip 0.0.0.0",
        "jupyter lab --ip=*",
        "jupyter lab --ServerApp.ip=10.0.0.1",
        "jupyter lab --NotebookApp.token=''",
        "jupyter lab --IdentityProvider.token=",
        'c.ServerApp.token = ""',
        "--ServerApp.disable_check_xsrf=True",
        "--ServerApp.allow_origin='*'",
        "--allow-root",
    ):
        assert re.search(OPEN_DOORS, line), line


def test_make_lab_is_among_the_checked_files_and_the_documentation_says_to_leave_it_so():
    assert "jupyter lab" in (PROJECT / "Makefile").read_text()
    assert "it listens on this machine only and asks for its token" in (PROJECT / "docs" / "security.md").read_text()
    assert "leave both as they are" in (PROJECT / "docs" / "notebooks.md").read_text()
