"""A real browser, a JupyterLab and a finished run to show in it."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lad.config.experiment import make_parameters
from lad.data.synthetic.folders import write_shapes
from lad.experiments.run_store import Run
from lad.experiments.runner import run_experiment

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")

PROJECT = Path(__file__).parents[2]
ARTEFACTS = PROJECT / "test-artefacts"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# No network traffic but the page's; as root in a container, a browser cannot use its sandbox.
BROWSER_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
START_TIMEOUT = 120  # seconds for a server or a kernel to start on a busy machine
UPDATE_TIMEOUT = 30  # seconds for a panel to change


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab."""

    port: int
    token: str

    def url(self, notebook: str) -> str:
        """Return the address of a notebook by its file name; the notebooks of earlier tests are closed."""
        return f"http://127.0.0.1:{self.port}/lab/tree/notebooks/{notebook}?token={self.token}&reset"


class Tab:
    """A page with the errors of its console and all requests that it made."""

    def __init__(self, page: "sync_api.Page") -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))

    @property
    def external_requests(self) -> list[str]:
        """Requests to other hosts."""
        own = ("http://127.0.0.1:", "ws://127.0.0.1:", "file:", "data:", "blob:")
        return [url for url in self.requests if not url.startswith(own)]

    def barriers(self, part: str | None = None) -> list[str]:
        """Return what axe-core finds to be a serious or critical barrier on the page or a part of it (a selector)."""
        found = axe.Axe().run(self.page, context=part).response["violations"]
        return [
            f"{rule['id']}: {rule['help']}: {[node['html'][:200] for node in rule['nodes']]}"
            for rule in found
            if rule["impact"] in ("serious", "critical")
        ]

    def content(self, panel: str) -> str:
        """Return the HTML of one of the explorer's panels."""
        return self.page.locator(f".lad-{panel}").inner_html()

    def dropdown(self, description: str) -> "sync_api.Locator":
        """Return one of the explorer's dropdowns."""
        return self.page.locator(".lad-explorer .widget-dropdown", has_text=description).locator("select")

    def assert_changes(self, act: Callable[[], object], *panels: str) -> None:
        """Assert that an act changes each of these panels without a message of the explorer."""
        before = {panel: self.content(panel) for panel in panels}
        act()
        for panel in panels:
            end = time.monotonic() + UPDATE_TIMEOUT
            while self.content(panel) == before[panel] and time.monotonic() < end:
                self.page.wait_for_timeout(50)
            assert self.content(panel) != before[panel], f"{panel} did not change"
        sync_api.expect(self.page.locator(".lad-message")).to_have_text("")


@pytest.fixture(scope="session")
def browser() -> Iterator["sync_api.Browser"]:
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=BROWSER_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def new_tab(browser) -> Iterator[Callable[..., Tab]]:
    """Opens tabs; arguments are those of playwright's `new_context`, such as `viewport` and `color_scheme`."""
    contexts = []

    def open_tab(**options: object) -> Tab:
        contexts.append(browser.new_context(**options))
        return Tab(contexts[-1].new_page())

    yield open_tab
    for context in contexts:
        context.close()


@pytest.fixture
def tab(new_tab) -> Tab:
    return new_tab(viewport={"width": 1280, "height": 1000})


@pytest.fixture
def shoot() -> Callable[..., Path]:
    """Saves a screenshot, to look at after the test."""
    ARTEFACTS.mkdir(exist_ok=True)

    def keep(page: "sync_api.Page", name: str, **options: object) -> Path:
        path = ARTEFACTS / f"{name}.png"
        page.screenshot(path=path, **options)
        return path

    return keep


@pytest.fixture(scope="session")
def run(tmp_path_factory) -> Run:
    """A short LAD run with its teacher and its epochs saved."""
    folder = tmp_path_factory.mktemp("browser")
    write_shapes(folder / "shapes", "toy", {"train": 24, "val": 12})
    given = {"data": folder / "shapes", "out": folder / "runs", "student": "r18", "teacher": "r18", "epochs": 2}
    sizes = {"short_sides": [128], "test_short_side": 128, "long_side": 128, "batch_size": 4, "teacher_epochs": 3}
    return run_experiment(make_parameters({**given, **sizes, "accelerator": "cpu"}))


@pytest.fixture(scope="session")
def notebooks(run, tmp_path_factory) -> Path:
    """A folder with copies of the notebooks, which use the short run."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    folder.mkdir()
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        content = json.loads(path.read_text())
        for cell in content["cells"]:
            if "parameters" in cell["metadata"].get("tags", []):
                cell["source"] = [*cell["source"], f"\nout: str = {str(run.folder.parent)!r}"]
        (folder / path.name).write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="session")
def lab(notebooks) -> Iterator[Lab]:
    """JupyterLab on a free port of this machine, with settings of its own."""
    root, token, port = notebooks.parent, secrets.token_hex(16), free_port()
    settings = {
        "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
        "notebook-extension/tracker": '{"windowingMode": "none"}',  # keep cells outside the viewport in the page
    }
    for name, content in settings.items():
        file = root / "jupyterlab_settings_dir" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    own = ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR", "JUPYTERLAB_WORKSPACES_DIR")
    command = ["jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.root_dir={root}", f"--IdentityProvider.token={token}"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    with serve(command, f"http://127.0.0.1:{port}/api/status?token={token}", **{n: str(root / n.lower()) for n in own}):
        yield Lab(port, token)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def serve(module: Sequence[str], url: str, **environment: str) -> Iterator[None]:
    """Run a server, python -m …, during the block, which starts when the URL answers."""
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", *module]
        server = subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT)
        try:
            end = time.monotonic() + START_TIMEOUT
            while not answers(url):
                if time.monotonic() > end or server.poll() is not None:
                    log.seek(0)
                    pytest.fail(f"{module[0]} did not start:\n{log.read()}")
                time.sleep(0.3)
            yield
        finally:
            server.terminate()
            server.wait(timeout=START_TIMEOUT)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=60):
            return True
    except urllib.error.HTTPError:  # the server answers
        return True
    except OSError:
        return False


@pytest.fixture(scope="session")
def voila(notebooks) -> Iterator[str]:
    """The address of the explorer as Voilà serves it, without code."""
    pytest.importorskip("voila", reason="voila is not installed")
    port = free_port()
    command = ["voila", str(notebooks / "explore_assignments.ipynb"), "--no-browser", f"--port={port}"]
    with serve([*command, "--Voila.ip=127.0.0.1"], f"http://127.0.0.1:{port}/static/"):
        yield f"http://127.0.0.1:{port}/"
