"""`python -m lad.cli`, the command `lad` without its installed script."""

import sys

from lad.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
