"""`python -m eapgp`, and the command `eapgp`: the command line."""

import sys


def run() -> int:
    """Run the command line; its exit code, also where it is interrupted while it is still being imported."""
    try:
        from eapgp.cli import main

        return main()
    except KeyboardInterrupt:
        sys.stderr.write("eapgp: interrupted.\n")
        if "--json" in sys.argv:
            sys.stdout.write('{"error": {"type": "Cancelled", "message": "interrupted."}}\n')
        return 130


if __name__ == "__main__":
    sys.exit(run())
