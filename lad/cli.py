"""The command `lad`: each subcommand is the `main` of the module that does the work."""

import difflib
import importlib
import sys
from collections.abc import Sequence

COMMANDS = {
    "run": "lad.experiments.runner",
    "table": "lad.paper.runner",
    "results": "lad.experiments.leaderboard",
    "predict": "lad.inference.cli",
    "report": "lad.report.cli",
    "checkpoints": "lad.models.checkpoint_list",
    "import": "lad.data.importing.cli",
    "validate": "lad.data.validation.report",
    "doctor": "lad.analysis.doctor.report",
    "replay": "lad.experiments.replay",
}
HELP = """usage: lad COMMAND [ARGUMENTS]

Train, compare and report the detectors of the LAD paper.

commands:
  run FILE           run one experiment from a parameter file
  table TABLE        run all experiments of one of the paper's tables
  results [FOLDER]   print the AP of all finished runs in a folder
  predict FILE …     detect the objects in images, folders, animations or videos
  report [PATH]      write an HTML page from an executed notebook or a folder of runs
  checkpoints        list the published checkpoints
  import SOURCE …    convert a data set in VOC's or YOLO's format; download COCO 2017
  validate FOLDER    check a data set; can write a corrected copy
  doctor RUN         say what is likely wrong with a run
  replay FILE        repeat a training step that failed

`lad COMMAND --help` shows the arguments of a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the subcommand that the first argument names.

    Args:
        arguments: The words after `lad`; None reads them from the command line.

    Returns:
        Exit status: 0 on success, 2 without a known subcommand, else the subcommand's own.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words and words[0] in COMMANDS:
        return importlib.import_module(COMMANDS[words[0]]).main(words[1:]) or 0
    if words and words[0] in ("-h", "--help"):
        print(HELP)
        return 0
    print(_unknown_command(words[0]) if words else HELP, file=sys.stderr)
    return 2


def _unknown_command(word: str) -> str:
    nearest = difflib.get_close_matches(word, COMMANDS, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else ""
    return f"lad: error: unknown command '{word}': choose from {', '.join(COMMANDS)}{hint}"


if __name__ == "__main__":
    sys.exit(main())
