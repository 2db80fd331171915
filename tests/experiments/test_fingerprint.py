"""A result belongs to the code that made it: what counts as other code, and what does not."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lad.config.experiment import make_parameters
from lad.experiments import fingerprint as module
from lad.experiments.fingerprint import Fingerprint, are_same_code, differing_modules, fingerprint, read_fingerprint

PROJECT = Path(__file__).parents[2]
SOURCE = '''"""A module."""
from torch.nn import functional as F
from lad.losses import BOX_WEIGHT as WEIGHT

TOPK = 9


def loss(x):
    """Compute it."""
    if x is None:
        raise ValueError("no x")
    return F.relu(x) * WEIGHT  # why
'''


def definitions(folder: Path, source: str, name: str = "module.py") -> dict[str, str]:
    path = folder / name
    path.write_text(source)
    return module._read_definitions(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""\n', ""),
        ('    """Compute it."""\n', ""),
        ('"""Compute it."""', '"""Compute the loss, at length."""'),
        ("  # why", ""),
        ("\n\n\ndef loss", "\n\n# a comment\ndef loss"),
        ('ValueError("no x")', 'ValueError("x is missing; give one")'),
        ("from torch.nn import functional as F", "from torch.nn import functional"),
        ("from lad.losses import BOX_WEIGHT as WEIGHT", "from lad.elsewhere import BOX_WEIGHT as WEIGHT"),
        ("from torch.nn import functional as F\n", "import math\nfrom torch.nn import functional as F\n"),
    ],
)
def test_documentation_messages_and_imports_do_not_count(tmp_path, old, new):
    changed = SOURCE.replace(old, new)
    if "F" not in re.findall(r"functional as (\w)", changed):
        changed = changed.replace("F.relu", "functional.relu")
    assert changed != SOURCE
    assert definitions(tmp_path, changed) == definitions(tmp_path, SOURCE)


def test_fabric_alone_and_as_a_part_of_lightning_is_the_same_code(tmp_path):
    old = (
        "from lightning.fabric import Fabric\nfrom lightning.fabric.plugins import precision as p\n\nUSED = Fabric, p\n"
    )
    new = old.replace("lightning.fabric", "lightning_fabric")
    other = old.replace("lightning.fabric", "lightning_fabrics")
    assert definitions(tmp_path, old) == definitions(tmp_path, new) != definitions(tmp_path, other)


def test_calls_of_callbacks_do_not_count(tmp_path):
    called = SOURCE.replace("    return", '    fabric.call("on_epoch_end", x)\n    return')
    assert definitions(tmp_path, called) == definitions(tmp_path, SOURCE)
    returned = SOURCE.replace("    return", '    x = fabric.call("on_epoch_end", x)\n    return')
    assert definitions(tmp_path, returned) != definitions(tmp_path, SOURCE)


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("TOPK = 9", "TOPK = 13", "TOPK"),
        ("F.relu(x)", "F.relu(x) + 1", "loss"),
        ("F.relu", "F.silu", "loss"),
        ("import functional as F", "import init as F", "loss"),
        ("import BOX_WEIGHT as", "import IOU_WEIGHT as", "loss"),
        ("x is None", "x is not None", "loss"),
    ],
)
def test_whatever_decides_a_number_counts(tmp_path, old, new, name):
    before, after = definitions(tmp_path, SOURCE), definitions(tmp_path, SOURCE.replace(old, new))
    assert {key for key in before if before[key] != after[key]} == {name}


def test_the_modules_of_the_runs_own_assigner_backbone_and_head_count_and_no_others():
    plain = fingerprint(make_parameters({"method": "baseline"})).modules
    assert {"lad.losses", "lad.assigners.paa", "lad.models.backbones.resnet", "lad.training.step"} <= plain.keys()
    assert not any(name.startswith(("lad.figures", "lad.report", "lad.config", "lad.utils")) for name in plain)
    tal = fingerprint(make_parameters({"assigner": "tal"})).modules
    swin = fingerprint(make_parameters({"teacher": "swin_t"})).modules
    assert "lad.assigners.tal" in tal.keys() - plain.keys()
    assert "lad.models.backbones.swin" in swin.keys() - plain.keys()


def test_moving_a_definition_changes_nothing_and_a_changed_one_names_its_module():
    first = Fingerprint({"lad.losses": {"focal": "1", "loss": "2"}, "lad.geometry": {"iou": "3"}})
    moved = Fingerprint({"lad.losses": {"loss": "2"}, "lad.geometry": {"iou": "3"}, "lad.new": {"focal": "1"}})
    changed = Fingerprint({"lad.losses": {"focal": "1", "loss": "9"}, "lad.geometry": {"iou": "3"}})
    assert moved.digest == first.digest and differing_modules(first, moved) == []
    assert changed.digest != first.digest and differing_modules(first, changed) == ["lad.losses"]
    assert differing_modules(moved, changed) == ["lad.losses"]


def test_runs_with_other_backbones_are_of_the_same_code_unless_a_shared_definition_differs():
    code = [fingerprint(make_parameters({"method": "baseline", "student": name})) for name in ("r18", "swin_t")]
    assert code[0].digest != code[1].digest and are_same_code(*code)
    losses = {**code[1].modules["lad.losses"], "detection_loss": "other"}
    assert not are_same_code(code[0], Fingerprint({**code[1].modules, "lad.losses": losses}))


def test_it_is_read_as_it_was_written_and_anything_else_is_none():
    one = fingerprint(make_parameters({}))
    assert read_fingerprint(json.loads(json.dumps(one.to_json()))) == one
    assert [read_fingerprint(content) for content in (None, {}, [], {"modules": 3}, {"modules": {"a": 1}})] == [
        None
    ] * 5


def test_a_file_that_was_edited_after_it_was_loaded_stops_the_run(monkeypatch):
    fingerprint(make_parameters({}))
    monkeypatch.setattr(module, "LOADED_AT", 0.0)
    fingerprint(make_parameters({}))  # only touched, or a comment edited
    losses = PROJECT / "lad" / "losses.py"
    monkeypatch.setitem(module.LOADED, losses, {**module.LOADED[losses], "detection_loss": "other"})
    with pytest.raises(ValueError, match=r"\.py: was edited after this process loaded it; restart the kernel"):
        fingerprint(make_parameters({}))


TRAIN = """
import sys
from lad.config.experiment import make_parameters
from lad.data.synthetic.folders import write_shapes
from lad.experiments.runner import run_experiment
from pathlib import Path
write_shapes(Path("shapes"), "toy", {"train": 4, "val": 2})
given = {"data": "shapes", "out": "runs", "method": "baseline", "student": "r18", "epochs": 1}
given |= {"batch_size": 4, "width": 0.125, "short_sides": [64], "test_short_side": 64, "long_side": 64}
run = run_experiment(make_parameters({**given, "accelerator": "cpu", "save_epochs": False, "rerun": sys.argv[1]}))
print("RUN", run.folder.name)
"""


@pytest.fixture
def train(tmp_path):
    """Trains a tiny run with a copy of the package; returns the folder's name and what was printed."""
    shutil.copytree(PROJECT / "lad", tmp_path / "lad", ignore=shutil.ignore_patterns("__pycache__"))

    def run(rerun: str = "stale") -> tuple[str, str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", TRAIN, rerun], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1], done.stdout

    return run


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.slow
def test_an_edited_constant_trains_the_run_again_and_says_why(train, tmp_path):
    """A constant that is a hyper-parameter's default changes the resolved parameters, too."""
    first, _ = train()
    edit(tmp_path / "lad" / "assigners" / "paa.py", "TOPK_PER_LEVEL = 9", "TOPK_PER_LEVEL = 13")
    second, printed = train()
    assert second != first and "epoch 1/1" in printed and (tmp_path / "runs" / first / "results.json").is_file()
    why = f"{first}: trained by other code (differing in lad.assigners.paa) with assigner_options={{'topk': 9, "
    assert why in printed and f"; training {second} beside it" in printed


def test_an_edited_loss_trains_beside_the_old_run_and_names_its_module(train, tmp_path):
    first, _ = train()
    edit(tmp_path / "lad" / "losses.py", "BOX_WEIGHT * box_loss.sum()", "2 * BOX_WEIGHT * box_loss.sum()")
    reused, printed = train("never")
    assert reused == first and "made by other code (differing in lad.losses), reused as rerun=never says" in printed
    second, printed = train()
    assert second == f"{first}-2"
    assert f"{first}: trained by other code (differing in lad.losses); training {second} beside it" in printed
    weights = [(tmp_path / "runs" / name / "model.safetensors").read_bytes() for name in (first, second)]
    assert weights[0] != weights[1]
    assert train("always")[0] == f"{first}-3"


@pytest.mark.slow
def test_a_comment_and_a_function_in_another_file_leave_the_run_as_it_is(train, tmp_path):
    first, _ = train()
    statistics = tmp_path / "lad" / "distillation" / "statistics.py"
    text = statistics.read_text(encoding="utf-8")
    function = text[text.index("def jaccard") :]
    (tmp_path / "lad" / "distillation" / "overlap.py").write_text(
        f'"""Overlap of assignments."""\n\nfrom torch import Tensor\n\n\n{function}', encoding="utf-8"
    )
    statistics.write_text(
        text.replace(function, "").replace(
            "from lad.distillation.methods",
            "from lad.distillation.overlap import jaccard\nfrom lad.distillation.methods",
        ),
        encoding="utf-8",
    )
    edit(tmp_path / "lad" / "losses.py", "ALPHA = 0.25  # of", "# A comment.\nALPHA = 0.25  # the α of")
    same, printed = train()
    assert same == first and "already trained" in printed and "epoch" not in printed
