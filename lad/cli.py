"""The command `lad`: each subcommand is the `main` of the module that does the work.

lad run FILE           run one experiment from a parameter file
lad table TABLE        run a whole table of the paper
lad results [FOLDER]   print the finished runs of a folder
lad report [PATH]      make an HTML page of an executed notebook or a folder of runs
lad validate FOLDER    check a data set, and write a corrected copy if wanted
lad replay FILE        rerun a training step that failed
"""

import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "lad.experiments.runner",
    "table": "lad.paper.runner",
    "results": "lad.experiments.leaderboard",
    "report": "lad.report.cli",
    "validate": "lad.data.validation.report",
    "replay": "lad.experiments.replay",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names, and return its exit status.

    Args:
        arguments: The words after `lad`; None reads them from the command line.

    Returns:
        0 on success, 2 for a subcommand that does not exist.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] not in COMMANDS:
        asks_for_help = bool(words) and words[0] in ("-h", "--help")
        print(__doc__, file=sys.stdout if asks_for_help else sys.stderr)
        if words and not asks_for_help:
            print(f"lad: '{words[0]}' is not one of {', '.join(COMMANDS)}", file=sys.stderr)
        return 0 if asks_for_help else 2
    command = importlib.import_module(COMMANDS[words[0]])
    return command.main(words[1:]) or 0


if __name__ == "__main__":
    sys.exit(main())
