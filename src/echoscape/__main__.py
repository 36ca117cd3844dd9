"""The command `echoscape`, also as ``python -m echoscape``.

Takes the words after it.
Gives an exit code; 2 and one sentence where the extra `cli` is missing.
"""

import sys

from echoscape.extras import missing, sentence


def main() -> int:
    """Run one command, or say that the extra it needs is missing."""
    if missing("cli"):
        print(f"echoscape: {sentence('cli', 'the command line')}", file=sys.stderr)
        return 2
    from echoscape.cli import main

    return main()


if __name__ == "__main__":
    sys.exit(main())
