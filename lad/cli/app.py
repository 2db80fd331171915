"""The table of subcommands, and what they have in common: messages of one line and exit statuses.

0: done. 1: failed; the last line on standard error says why. 2: unknown command, option or parameter. 130: interrupted.
"""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

import lad
from lad.cli import data, detectors, experiments, notebooks, tables
from lad.cli.options import join_changes
from lad.cli.parameters import EVALUATION_PARAMETERS, RUN_PARAMETERS, parameters_help

COMMANDS: dict[str, Callable[..., int | None]] = {
    "run": experiments.run,
    "table": tables.table,
    "results": experiments.results,
    "evaluate": detectors.evaluate,
    "predict": detectors.predict,
    "export": detectors.export,
    "checkpoints": detectors.checkpoints,
    "import": data.import_data,
    "validate": data.validate,
    "doctor": experiments.doctor,
    "replay": experiments.replay,
    "report": notebooks.report,
    "lab": notebooks.lab,
    "init": notebooks.init,
}
PARAMETERS = {
    "run": parameters_help(RUN_PARAMETERS, "docs/methods.md and docs/own_data.md name more"),
    "evaluate": parameters_help(EVALUATION_PARAMETERS, "docs/checkpoints.md says more"),
}
UsageError: Any = typer.BadParameter.__base__  # click's; Typer has no public name for it

app = typer.Typer(
    name="lad",
    help="Train, compare and report the detectors of the LAD paper.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_given: bool) -> None:
    if is_given:
        print(f"lad {lad.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass  # its help is the app's


for _name, _function in COMMANDS.items():
    app.command(_name, epilog=PARAMETERS.get(_name))(_function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names.

    Args:
        arguments: The words after `lad`; None reads them from the command line.

    Returns:
        Exit status: 0, 1, 2 or 130, as above.
    """
    words = [_expand_home(word) for word in (sys.argv[1:] if arguments is None else arguments)]
    try:
        return app(join_changes(words), prog_name="lad", standalone_mode=False, obj=words) or 0
    except UsageError as error:
        if not words:
            print(error.ctx.get_help(), file=sys.stderr)
            return 2
        command = error.ctx.command_path if error.ctx is not None else "lad"
        problem = error.message if type(error) is typer.BadParameter and error.param is None else error.format_message()
        problem = problem.replace("Value error, ", "")  # pydantic's, in Typer's messages
        return _fail(f"{command}: error: {problem}", 2)
    except (KeyboardInterrupt, typer.Abort):
        return 130
    except (ValueError, OSError) as error:
        return _fail(f"lad {words[0]}: {error}", 1)


def _expand_home(word: str) -> str:
    """Return a word with a leading ~ expanded, and that of --option=~/…, which shells leave as it is."""
    option, equals, value = word.partition("=")
    is_option = option.startswith("--") and equals
    return f"{option}={os.path.expanduser(value)}" if is_option else os.path.expanduser(word)


def _fail(message: str, status: int) -> int:
    from lad.utils.messages import one_line  # imports pydantic, half of the time of `lad --help`

    print(one_line(message), file=sys.stderr)
    return status
