"""`python -m eapgp` is the command line."""

import sys

from eapgp.cli import main

if __name__ == "__main__":
    sys.exit(main())
