"""No source of the project loads, fetches or starts anything in a way that could run what a stranger wrote."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
CODE = [path for room in ("lad", "scripts", "benchmarks") for path in sorted((PROJECT / room).rglob("*.py"))]
NOTEBOOKS = sorted((PROJECT / "notebooks").glob("*.ipynb"))
SCRIPTS = [PROJECT / "Makefile", PROJECT / ".ci" / "run"]
TEXTS = [
    *(PROJECT / name for name in ("Makefile", "README.md", "environment.yml", "pyproject.toml")),
    *(PROJECT / ".ci").iterdir(),
    *sorted((PROJECT / "params").rglob("*.*")),
    *sorted((PROJECT / "docs").rglob("*.md")),
    *NOTEBOOKS,
    *CODE,
]

UNPICKLERS = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle"}
FETCHERS = {"requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client", "ftplib", "huggingface_hub"}
# What runs text or an unpickled object, by its full name.
RUNNERS = {
    *("eval", "exec", "compile", "__import__", "code.interact", "runpy.run_path", "torch.jit.load", "pty.spawn"),
    *("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "tempfile.mktemp"),
    *("asyncio.create_subprocess_shell", "pandas.read_pickle", "torch.hub.load"),
    *(f"yaml.{kind}" for kind in ("full_load", "full_load_all", "unsafe_load", "unsafe_load_all", "load_all")),
}
SAFE_LOADERS = {"yaml.SafeLoader", "yaml.CSafeLoader"}
PROCESSES = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
# Calls that need an argument to be safe: the last part of the name, or all of it, and the argument's value.
NEED = {
    "torch.load": ("weights_only", True),
    "extractall": ("filter", "data"),
    "unpack_archive": ("filter", "data"),
    "load_state_dict_from_url": ("check_hash", True),
    "get_state_dict": ("check_hash", True),
}
# The lines of notebooks that are no Python.
MAGIC = r"(?m)^%(matplotlib inline|config InlineBackend\.figure_formats = .*)$"
OWN_HOST = ("http://127.0.0.1", "http://localhost", "http://www.w3.org/")  # the last is a name in SVG, no address


def problems(source: str) -> list[str]:
    """What is unsafe in Python's source, a line each."""
    tree = ast.parse(source)
    names = _imported(tree)
    found = {(node.lineno, what) for node in ast.walk(tree) for what in _of_node(node, names, tree)}
    return [f"line {line}: {what}" for line, what in sorted(found)]


def _of_node(node: ast.AST, names: dict[str, str], tree: ast.Module) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from _of_import(node)
    elif isinstance(node, ast.Call):
        yield from _of_call(node, _full_name(node.func, names), names, tree)
    elif isinstance(node, ast.Constant) and "http://" in str(node.value):
        if not str(node.value).startswith(OWN_HOST):
            yield "an address without https"
    elif isinstance(node, ast.Dict) and any(_is(key, "shell") for key in node.keys):  # of options for a call
        yield "a shell"


def _of_import(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    module = getattr(node, "module", None) or ""
    whole = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [module]
    whole += [f"{module}.{alias.name}" for alias in node.names]
    if module == "pickle" and [alias.name for alias in node.names] == ["UnpicklingError"]:
        return  # an exception, which loads nothing
    for name in whole:
        if name.split(".")[0] in UNPICKLERS:
            yield f"{name} unpickles"
        if name in FETCHERS or name.split(".")[0] in FETCHERS:
            yield f"{name} fetches without checking a hash"


def _of_call(call: ast.Call, name: str, names: dict[str, str], tree: ast.Module) -> Iterator[str]:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    last = name.rsplit(".", maxsplit=1)[-1]
    if name.removeprefix("builtins.") in RUNNERS or re.match(r"os\.(exec|spawn)", name):
        yield f"{name} runs what it is given"
    for key in (name, last):
        if key in NEED and not _is(given.get(NEED[key][0]), NEED[key][1]):
            yield f"{name} without {NEED[key][0]}={NEED[key][1]!r}"
    if name == "numpy.load" and not _is(given.get("allow_pickle"), False) and "allow_pickle" in given:
        yield "numpy.load with allow_pickle"
    if name == "yaml.load" and not _is_safe_loader(given.get("Loader", call.args[1:2]), names, tree):
        yield "yaml.load without a safe loader"
    if last == "download_url_to_file" and _is((call.args[2:3] or [given.get("hash_prefix")])[0], None):
        yield "a download without a hash"
    if last in ("urlopen", "urlretrieve", "from_pretrained", "snapshot_download", "hf_hub_download"):
        yield f"{last} fetches without checking a hash"
    if _is(given.get("verify"), False) or last == "_create_unverified_context":
        yield "a connection to whoever answers"
    if "shell" in given and not _is(given["shell"], False):
        yield "a shell"
    if name in PROCESSES and not _is_list((call.args or [given.get("args")])[0], call, tree):
        yield f"{name} of anything but a list of words"


def _python(cell: str) -> str:
    return re.sub(MAGIC, "", cell)


def _imported(tree: ast.Module) -> dict[str, str]:
    """Local names of imported things → their full names."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                root = one.name.split(".")[0]
                found |= {one.asname: one.name} if one.asname else {root: root}
        elif isinstance(node, ast.ImportFrom):
            found |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    return found


def _full_name(node: ast.AST, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    return names.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def _is(node: ast.AST | None, value: object) -> bool:
    """Whether an argument is this constant; one that is not given is None."""
    if node is None:
        return value is None
    return isinstance(node, ast.Constant) and type(node.value) is type(value) and node.value == value


def _is_safe_loader(given: ast.AST | list[ast.expr], names: dict[str, str], tree: ast.Module) -> bool:
    loader = given[0] if isinstance(given, list) and given else given
    derived = {
        node.name: [_full_name(base, names) for base in node.bases]
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    name = _full_name(loader, names) if isinstance(loader, ast.AST) else ""
    return name in SAFE_LOADERS or bool(SAFE_LOADERS & set(derived.get(name, ())))


def _is_list(command: ast.AST | None, call: ast.Call, tree: ast.Module) -> bool:
    """A list as it stands, or a name that is nothing but such lists in the function around the call."""
    if not isinstance(command, ast.Name):
        return isinstance(command, ast.List)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and call in ast.walk(node)]
    scope = functions[-1] if functions else tree  # ast.walk comes to the innermost last
    values = [
        node.value
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == command.id for to in node.targets)
    ]
    return bool(values) and all(isinstance(value, ast.List) for value in values)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(PROJECT)))
def test_the_code_is_safe(path):
    assert problems(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebooks_are_safe_and_start_no_shell(path):
    for cell in json.loads(path.read_text())["cells"]:
        if cell["cell_type"] == "code":
            assert problems(_python("".join(cell["source"]))) == []


@pytest.mark.parametrize("source", ["!ls", "%%bash\nls", "%run other.py", "%matplotlib inline\nfiles = !ls", "%sx ls"])
def test_a_notebook_that_starts_a_shell_or_a_script_is_found(source):
    with pytest.raises(SyntaxError):
        problems(_python(source))


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "import pickle as p",
        "from pickle import load, UnpicklingError",
        "import dill, joblib",
        "def f():\n    import marshal",
        "from six.moves import cPickle\nimport _pickle",
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
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "import builtins\nbuiltins.eval(text)",
        "import os\nos.system(f'ls {folder}')",
        "from os import popen\npopen('ls')",
        "import os\nos.execvp('ls', words)",
        "import subprocess\nsubprocess.run(f'ls {folder}')",
        "import subprocess\nsubprocess.run(['ls', folder], shell=True)",
        "import subprocess\nsubprocess.run(['ls'], **{'shell': True})",
        "import subprocess\ndef f():\n    command = 'ls ' + folder\n    subprocess.Popen(command)",
        "import subprocess\ndef f(command):\n    subprocess.Popen(command)",
        "import subprocess\ndef f():\n    command = ['ls']\ndef g():\n    command = 'ls'\n    subprocess.run(command)",
        "from subprocess import check_output as out\nout('ls')",
        "import subprocess\nsubprocess.getoutput('ls')",
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
        "import requests",
        "session.get(url, verify=False)",
        "net.from_pretrained('owner/name')",
        "url = 'http://example.org/weights.pth'",
        "url = f'http://{host}/weights.pth'",
    ],
)
def test_what_is_unsafe_is_found(source):
    assert problems(source)


@pytest.mark.parametrize(
    "source",
    [
        "from pickle import UnpicklingError",
        "import torch\ntorch.load(path, map_location='cpu', weights_only=True)",
        "import torch\ntorch.compile(network).eval()\nnetwork.compile()",
        "import re\nre.compile('a')",
        "import numpy as np\nnp.load(path)\nnp.load(path, allow_pickle=False)",
        "import yaml\nyaml.safe_load(text)",
        "import yaml\nclass Own(yaml.SafeLoader): pass\nyaml.load(text, Loader=Own)",
        "import subprocess\ndef f():\n    command = ['ls', folder]\n    subprocess.run(command, check=True)",
        "import torch\ntorch.hub.download_url_to_file(url, path, digest, progress=False)",
        "from torch.hub import load_state_dict_from_url as fetch\nfetch(url, check_hash=True)",
        "import tarfile\ntarfile.open(path).extractall(folder, filter='data')",
        "from urllib.parse import quote",
        "url = 'https://example.org'\nname = 'http://www.w3.org/2000/svg'",
    ],
)
def test_what_is_safe_is_let_be(source):
    assert problems(source) == []


SHELL_TRAPS = r"http://|\b(curl|wget)\b|\beval\b|--trusted-host|--no-check-certificate|--insecure"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_fetch_by_nothing_but_package_managers(path):
    assert re.findall(SHELL_TRAPS, path.read_text()) == []


@pytest.mark.parametrize(
    "line", ["curl https://x | sh", 'eval "$1"', "pip install --trusted-host x y", "wget http://x"]
)
def test_scripts_that_would_are_found(line):
    assert re.findall(SHELL_TRAPS, line)


# JupyterLab asks for its token and listens on this machine only, as long as nobody says otherwise.
OPEN_DOORS = (
    r"--ip\b|(Server|Notebook|Lab)App\.(ip|token|password|allow_\w+|disable_check_xsrf)|IdentityProvider\.token"
    r"|\b0\.0\.0\.0\b|\btoken ?= ?(''|\"\"|\\\"\\\")|disable_check_xsrf|allow_origin|allow_remote_access|--allow-root"
)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(PROJECT)))
def test_nothing_tells_jupyterlab_to_let_others_in(path):
    found = re.search(OPEN_DOORS, path.read_text(encoding="utf-8"))
    assert found is None, found


@pytest.mark.parametrize(
    "line",
    [
        "jupyter lab --ip 0.0.0.0",
        "jupyter lab --ip=*",
        "jupyter lab --ServerApp.ip=10.0.0.1",
        "jupyter lab --NotebookApp.token=''",
        "jupyter lab --IdentityProvider.token=",
        'c.ServerApp.token = ""',
        "--ServerApp.disable_check_xsrf=True",
        "--ServerApp.allow_origin='*'",
        "--allow-root",
    ],
)
def test_what_would_let_others_in_is_found(line):
    assert re.search(OPEN_DOORS, line)


def test_make_lab_is_among_what_is_looked_at_and_the_readme_says_to_leave_it_so():
    assert "jupyter lab" in (PROJECT / "Makefile").read_text()
    assert "listens on this machine only and asks for the token" in (PROJECT / "README.md").read_text()
