"""The order of packages: every import points down, lazy and TYPE_CHECKING ones too, and none form a circle."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

LAD = Path(__file__).parents[1] / "lad"
PACKAGES = (  # a package imports itself and the packages below it in this list
    "cli", "suite", "explorer", "report", "paper", "figures", "analysis", "experiments", "training", "config",
    "evaluation", "distillation", "inference", "assigners", "losses", "models", "data", "geometry", "structures",
    "utils",
)  # fmt: skip
MODULES = {
    ".".join(("lad", *path.relative_to(LAD).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in LAD.rglob("*.py")
}


def imports(path: Path) -> set[str]:
    """Return the modules of `lad` that a file imports anywhere in it: at its top, in functions, under TYPE_CHECKING."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            submodules = {f"{node.module}.{alias.name}" for alias in node.names}
            modules |= submodules & MODULES.keys() or {str(node.module)}
    return modules & MODULES.keys()


def package(module: str) -> str:
    """Return the name of a module's package, or of a module at the top of `lad`."""
    return module.split(".")[1]


def test_every_package_is_in_the_list():
    assert {package(module) for module in MODULES if module != "lad"} == set(PACKAGES)


def test_every_import_points_down():
    upward = [
        f"{module} imports {imported}"
        for module, path in MODULES.items()
        if module != "lad"  # the public API, which may import anything
        for imported in imports(path)
        if imported != "lad" and PACKAGES.index(package(imported)) < PACKAGES.index(package(module))
    ]
    assert upward == []


def test_no_modules_import_in_a_circle():
    modules = {module: path for module, path in MODULES.items() if path.name != "__init__.py"}
    TopologicalSorter({module: imports(path) & modules.keys() for module, path in modules.items()}).prepare()


def test_only_three_modules_are_outside_a_package():
    assert {path.stem for path in LAD.glob("*.py")} == {"__init__", "geometry", "losses", "structures"}


def test_the_public_api_is_importable_without_loading_torch():
    code = "import sys, lad; assert 'torch' not in sys.modules; print([getattr(lad, name) for name in lad.__all__])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
