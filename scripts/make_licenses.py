"""Writes docs/licenses.md: the license of every package that this one needs, as the installed packages say themselves.

python scripts/make_licenses.py    # in an environment with all extras, as `make setup` makes it
"""

import re
import tomllib
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = Path(__file__).parents[1]
PAGE = PROJECT / "docs" / "licenses.md"
# What packages say in words → the identifiers of SPDX.
NAMES = {
    "Apache Software License": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD",
    "BSD 3-Clause": "BSD-3-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "3-Clause BSD License": "BSD-3-Clause",
    "FreeBSD": "BSD-2-Clause",
    "ISC License (ISCL)": "ISC",
    "ISC license": "ISC",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "The MIT License": "MIT",
    "NVIDIA Proprietary Software": "LicenseRef-NVIDIA-Proprietary",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PSFL": "PSF-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Where a package says nothing in its metadata: words of its license's text.
TEXTS = {
    "Apache License": "Apache-2.0",
    "GNU AFFERO GENERAL PUBLIC": "AGPL",
    "GNU LESSER GENERAL PUBLIC": "LGPL",
    "GNU GENERAL PUBLIC": "GPL",
    "Permission is hereby granted, free of charge": "MIT",
    "Redistribution and use in source and binary forms": "BSD",
}
HEAD = """# Licenses

The suite itself is under the [MIT license](../LICENSE). Below is what it needs, each with the license that the package
states itself; `python scripts/make_licenses.py` writes this page again. No package is copied into this project.

"""
TAIL = """
Two of these bring programs under other terms than their own. The wheel of **imageio-ffmpeg** holds an `ffmpeg` that is
under the **GPL-3.0-or-later**: it is a program of its own, started only where a film is written as `.mp4`; without the
package an `ffmpeg` of the system is used, and films as `.gif` need none. On Linux **torch** brings NVIDIA's CUDA
libraries, which are proprietary; torch's builds for the CPU do without.

## What is no package

* **Reference cases.** `tests/golden/` holds numbers, and names of tensors, that OpenMMLab's mmdetection 3.3.0, which is
  under Apache-2.0, and the paper's own repository computed
  ([how](../tests/golden/README.md)); it holds none of their code.
* **Published checkpoints.** `params/published/` says where their publishers keep them; none is in this project.
  OpenMMLab's are under Apache-2.0.
* **ImageNet weights** are torchvision's, downloaded when asked for; [backbones](backbones.md) has their licenses.
* **Images.** The sets `toy` and `mini` are drawn by `lad/data/synthetic/shapes.py`: this project's own, under its
  license. COCO is not part of it; its annotations and photographs have terms of their own.
"""
UNSTATED = "not stated"


def direct() -> dict[str, list[str]]:
    """The packages of pyproject.toml by what needs them: "always", or the name of an extra."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"always": _names(project["dependencies"])} | {
        extra: _names(needed) for extra, needed in project["optional-dependencies"].items()
    }


def needed_by(names: Iterable[str]) -> list[str]:
    """All packages that these need here, at any depth and without them, sorted; those not installed are left out."""
    found, waiting = set(), [(name, frozenset[str]()) for name in names]
    seen = set(waiting)
    while waiting:
        name, extras = waiting.pop()
        for text in distribution(name).requires or ():
            one = Requirement(text)
            wanted = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
            further = (canonicalize_name(one.name), frozenset(one.extras))
            if wanted and further not in seen and _is_installed(one.name):
                seen.add(further)
                found.add(further[0])
                waiting.append(further)
    return sorted(found - set(names))


def license_of(name: str) -> str:
    """What a package says its license is, in SPDX's words where it or `NAMES` has them."""
    installed = distribution(name)
    metadata = installed.metadata
    stated = metadata["License-Expression"] or metadata["License"] or ""
    stated = "" if stated == "UNKNOWN" else stated
    classifiers = [line.split(" :: ")[-1] for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    classifiers = [one for one in classifiers if one != "OSI Approved"]
    if len(stated) > 120 or "\n" in stated or not stated.strip():  # the whole text, or nothing
        stated = " OR ".join(classifiers) or _license_in(stated) or _license_in(_text_of(installed))
    return " OR ".join(NAMES.get(one.strip(), one.strip()) for one in stated.split(" OR ")) or UNSTATED


def is_copyleft(license: str) -> bool:
    """Whether there is no choice but the GPL or the AGPL; the LGPL is another."""
    choices = re.split(r"\bOR\b", license)
    return all(re.search(r"(?<!L)(?<!Lesser )(GPL|GNU (Affero )?General Public)", one) for one in choices)


def page() -> str:
    sections = direct()
    rows = [
        f"| {name} | {license_of(name)} | {'always' if need == 'always' else f'extra `{need}`'} |"
        for need, names in sections.items()
        for name in names
    ]
    others: dict[str, list[str]] = {}
    for name in needed_by(name for names in sections.values() for name in names):
        others.setdefault(license_of(name), []).append(name)
    told = [f"* **{license}**: {', '.join(names)}" for license, names in sorted(others.items())]
    table = "| package | license | needed |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    return HEAD + table + "\n## What these need in turn\n\nOn Linux, by license:\n\n" + "\n".join(told) + "\n" + TAIL


def _names(requirements: Iterable[str]) -> list[str]:
    return sorted(canonicalize_name(Requirement(one).name) for one in requirements)


def _is_installed(name: str) -> bool:
    try:
        return bool(distribution(name))
    except PackageNotFoundError:
        return False


def _text_of(installed: Distribution) -> str:
    files = [file for file in installed.files or () if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.IGNORECASE)]
    return "\n".join(file.read_text(encoding="utf-8") for file in files[:1])


def _license_in(text: str) -> str:
    return next((license for words, license in TEXTS.items() if words in text), "")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"written to {PAGE}")
