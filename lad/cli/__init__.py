"""The command `lad`: one console command over typed functions, one for each subcommand.

Typer makes the options, the help and the shell completion from the functions' signatures. The parameters of experiments
and evaluations are no options: `-p NAME=VALUE` passes them to the models of `lad.config`, whose limits and messages are
those of notebooks and parameter files, too. (pydantic-settings and tyro would make an option of each of the 80
parameters, with messages of their own, and would have to import torch for `lad --help`.)

A function imports what it needs when it is called, so that help and completion do not load torch.
"""

from lad.cli.app import COMMANDS, main

__all__ = ["COMMANDS", "main"]
