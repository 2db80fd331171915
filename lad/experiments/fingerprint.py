"""The fingerprint of the code that decides a run's numbers, which shows which code a result belongs to.

It covers every definition (function, class, constant) in the modules that training imports, and in those of the run's
own assigner, method, backbones and heads. Of a definition, it hashes the syntax tree without docstrings, comments,
messages and imports: documenting it, or moving it to another file, does not change the fingerprint.
"""

import ast
import functools
import hashlib
import inspect
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lad.assigners import ASSIGNERS
from lad.config.experiment import Parameters
from lad.distillation import METHODS, TERMS
from lad.models.backbones.registry import BACKBONES
from lad.models.heads import HEADS
from lad.utils.paths import package_folder

ROOTS = ("lad.experiments.setup", "lad.training.trainer")
# Imported by training without effect on its numbers: files, messages, and parameters, which are stored with the run.
IGNORED = (
    "lad.config", "lad.utils", "lad.data.synthetic", "lad.data.validation", "lad.models.openmmlab",
    "lad.models.safe_load", "lad.models.serialization", "lad.training.checkpoint", "lad.training.devices",
    "lad.training.failed_step", "lad.training.interrupt", "lad.experiments.run_store", "lad.experiments.fingerprint",
)  # fmt: skip
SAME_CODE = {"lightning_fabric": "lightning.fabric"}  # distributed alone, and as a part of Lightning
LOADED_AT = time.time()  # seconds; a file edited after it is not the code that this process runs
LOADED: dict[Path, dict[str, str]] = {}  # digests of the definitions that this process runs, by file


@dataclass(frozen=True)
class Fingerprint:
    """The code that decides a run's numbers.

    Attributes:
        modules: Digest of each definition, by module, then by name.
    """

    modules: dict[str, dict[str, str]]

    @property
    def digest(self) -> str:
        """Return twelve hex digits of the hash of all definitions, independent of their modules."""
        return hashlib.sha256(repr(sorted(_pairs(self.modules))).encode()).hexdigest()[:12]

    def to_json(self) -> dict[str, Any]:
        """Return the content of a JSON file."""
        return {"digest": self.digest, "modules": self.modules}


def read_fingerprint(content: Any) -> Fingerprint | None:
    """Return the fingerprint that `Fingerprint.to_json` made; None for anything else."""
    modules = content.get("modules") if isinstance(content, dict) else None
    is_valid = isinstance(modules, dict) and all(isinstance(definitions, dict) for definitions in modules.values())
    return Fingerprint(modules) if is_valid and modules is not None else None


def differing_modules(first: Fingerprint, second: Fingerprint) -> list[str]:
    """Return the modules with a definition that is missing or different in the other fingerprint."""
    pairs = {True: _pairs(first.modules), False: _pairs(second.modules)}
    return sorted(
        {
            module
            for is_first, fingerprint in ((True, first), (False, second))
            for module, definitions in fingerprint.modules.items()
            if not definitions.items() <= pairs[not is_first]
        }
    )


def are_same_code(first: Fingerprint, second: Fingerprint) -> bool:
    """Return whether the code of two runs is the same in the modules that both use.

    Runs with different backbones or assigners use different modules; that does not count as different code.
    """
    shared = first.modules.keys() & second.modules.keys()
    pairs = [_pairs(fingerprint.modules) for fingerprint in (first, second)]
    own = [_pairs({module: fingerprint.modules[module] for module in shared}) for fingerprint in (first, second)]
    return own[0] <= pairs[1] and own[1] <= pairs[0]


def fingerprint(parameters: Parameters) -> Fingerprint:
    """Return the fingerprint of the code that decides this run's numbers.

    Raises:
        ValueError: A file was edited after this process loaded it.
    """
    entries: list[Any] = [ASSIGNERS[parameters.assigner], METHODS[parameters.method].loss]
    entries += [TERMS[name].loss for name in parameters.distill]
    backbones = (parameters.student, parameters.teacher, *parameters.other_teachers)
    entries += [BACKBONES[name].build for name in backbones if name in BACKBONES]
    entries += [HEADS[name].build for name in (parameters.head, parameters.teacher_head) if name]
    entries = [entry.func if isinstance(entry, functools.partial) else entry for entry in entries]
    own = [entry for entry in entries if not entry.__module__.startswith("lad.")]  # registered from elsewhere
    roots = (*ROOTS, *(entry.__module__ for entry in entries if entry not in own))
    modules = _definitions(roots)
    for entry in own:
        modules.setdefault(entry.__module__, {})[entry.__name__] = _digest(
            ast.parse(textwrap.dedent(inspect.getsource(entry))), {}
        )
    return Fingerprint(modules)


def code_of_inference(backbone: str, head: str) -> str:
    """Return the digest of the code that decides the detections of a network.

    Raises:
        ValueError: A file was edited after this process loaded it.
    """
    entries: list[Any] = [BACKBONES[backbone].build, HEADS[head].build]
    modules = [getattr(entry, "func", entry).__module__ for entry in entries]  # that of a partial, too
    own = [module for module in modules if module.startswith("lad.")]
    return Fingerprint(_definitions(("lad.inference.predictor", *own))).digest


def _definitions(roots: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """Return the digest of each definition, by name, of all modules that the roots import."""
    return {module: dict(LOADED[path]) for module, path in _import_closure(roots).items()}


def _pairs(modules: dict[str, dict[str, str]]) -> set[tuple[str, str]]:
    """Return the definitions of all modules as (name, digest)."""
    return {pair for definitions in modules.values() for pair in definitions.items()}


def _import_closure(roots: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of all modules that the roots import, directly or indirectly, at any place in a file."""
    closure: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in closure or module.startswith(IGNORED):
            continue
        path = _module_file(module)
        if path is None:
            continue
        if path.stat().st_mtime > LOADED_AT and LOADED.get(path) != _read_definitions(path):
            raise ValueError(
                f"{path}: was edited after this process loaded it; restart the kernel or the command, so that results "
                "belong to the code that made them"
            )
        closure[module] = path
        if path not in LOADED:
            LOADED[path] = _read_definitions(path)
        waiting += _imported_modules(path)
    return closure


def _module_file(module: str) -> Path | None:
    """Return the file of a module of this package; None if there is no such module."""
    parts = module.split(".")[1:]
    base = package_folder().joinpath(*parts)
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if parts and path.is_file():
            return path
    return None


@functools.cache
def _imported_modules(path: Path) -> tuple[str, ...]:
    modules: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names if alias.name.startswith("lad.")]
        elif isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] == "lad":
            modules += [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return tuple(modules)


def _read_definitions(path: Path) -> dict[str, str]:
    """Return the digest of each definition of a module, by name."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = _imported_names(tree)
    definitions = {}
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node) or _is_guard(node):
            continue
        definitions[_name(node)] = _digest(node, names)
    return definitions


def _imported_names(tree: ast.AST) -> dict[str, str]:
    """Return the full name of each imported name or, for imports from this package, its last part."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            package, _, module = str(node.module).partition(".")
            library = ".".join(filter(None, (SAME_CODE.get(package, package), module)))
            prefix = "" if package == "lad" else f"{library}."
            names |= {alias.asname or alias.name: f"{prefix}{alias.name}" for alias in node.names}
    return names


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return ", ".join(ast.unparse(target) for target in targets if target is not None) or ast.unparse(node)[:60]


def _digest(node: ast.AST, names: dict[str, str]) -> str:
    text = ast.unparse(_Normalizer(names).visit(node))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


class _Normalizer(ast.NodeTransformer):
    """Removes code without effect on numbers: docstrings, imports, messages of exceptions, logs and callbacks."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def visit_Name(self, node: ast.Name) -> ast.AST:  # ast calls the method by this name
        return ast.copy_location(ast.Name(self.names.get(node.id, node.id), node.ctx), node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.copy_location(ast.Raise(None, None), node)

    def visit_Import(self, node: ast.Import) -> None:
        return None

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        return None

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_log = isinstance(node.value, ast.Call) and ast.unparse(node.value.func) in (
            "log",
            "logger.warning",
            "fabric.call",
        )
        if _is_docstring(node) or is_log:
            return None
        return self.generic_visit(node)


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_guard(node: ast.AST) -> bool:
    """Return whether a statement is `if TYPE_CHECKING:` or `if __name__ == "__main__":`."""
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
