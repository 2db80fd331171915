"""The old spelling of a command, `python -m lad.<module>`, for one release."""

import importlib
import sys


def run_command(name: str) -> int:
    """Run the subcommand of `lad` that replaces the module that was started, after a hint on standard error.

    Args:
        name: The subcommand.

    Returns:
        Its exit status.
    """
    module = getattr(sys.modules["__main__"].__spec__, "name", "…")
    print(f"hint: `python -m {module}` is now `lad {name}`; the next release removes it", file=sys.stderr)
    return int(importlib.import_module("lad.cli").main([name, *sys.argv[1:]]))
