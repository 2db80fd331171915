"""Options that several subcommands share."""

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from typing import Annotated, Any

import typer

from lad.cli.parameters import EVALUATION_PARAMETERS, RUN_PARAMETERS, names_starting
from lad.utils.tables import TableFormat

PAIRS = ("-p", "--job")  # options of a name and a value
CHANGES_HELP = "Set a parameter to a value in YAML; may be repeated. Also -p NAME VALUE."
RunChanges = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help=CHANGES_HELP, autocompletion=names_starting(RUN_PARAMETERS)),
]
EvaluationChanges = Annotated[
    list[str] | None,
    typer.Option("-p", metavar="NAME=VALUE", help=CHANGES_HELP, autocompletion=names_starting(EVALUATION_PARAMETERS)),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and all messages on standard error.")]
Format = Annotated[
    TableFormat, typer.Option("--format", help="How to print the table: text, csv, latex (booktabs) or markdown.")
]


def join_changes(words: Sequence[str]) -> list[str]:
    """Return the words of a command line in which each `-p NAME VALUE`, and `--job NAME VALUE`, is `-p NAME=VALUE`."""
    joined: list[str] = []
    rest = iter(words)
    for word in rest:
        joined.append(word)
        if word not in PAIRS or (name := next(rest, None)) is None:
            continue
        value = next(rest, None) if re.fullmatch(r"\w+", name) else None
        joined.append(name if value is None else f"{name}={value}")
    return joined


def split_changes(changes: Sequence[str] | None, option: str = "-p") -> list[tuple[str, str]]:
    """Return the names and values of `-p NAME=VALUE`, or of another option, for `lad.config.reading.read_changes`.

    Raises:
        ValueError: A change has no value; names it.
    """
    pairs = []
    for change in changes or ():
        name, equals, value = change.partition("=")
        if not equals:
            example = "epochs=4" if option == "-p" else "slurm_partition=gpu"
            raise ValueError(f"{option} {change}: has no value; give {option} NAME=VALUE, such as {option} {example}")
        pairs.append((name, value))
    return pairs


@contextmanager
def usage_errors() -> Iterator[None]:
    """Report a ValueError of the block, in which parameters are read, as wrong usage: exit status 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def messages_apart(as_json: bool) -> Any:
    """Return a context that prints everything on standard error, if JSON alone belongs on standard output."""
    return redirect_stdout(sys.stderr) if as_json else nullcontext()
