"""Build hook: a wheel holds notebooks/ and params/ in lad/suite/; everything else is in pyproject.toml."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithSuite(build_py):
    """Copy the package's modules, then the notebooks and parameter files."""

    def run(self) -> None:
        """Copy them to the build folder; an editable install uses those of the checkout."""
        super().run()
        if self.editable_mode:
            return
        for name in ("notebooks", "params"):
            target = Path(self.build_lib, "lad", "suite", name)
            shutil.rmtree(target, ignore_errors=True)  # of an earlier build
            shutil.copytree(
                name, target, ignore=shutil.ignore_patterns(".*", "runs", "*.out.ipynb", "*.executed.ipynb")
            )


setup(cmdclass={"build_py": BuildWithSuite})
