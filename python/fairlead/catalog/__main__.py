"""`python -m fairlead.catalog`: judges the TOML files and writes the compiled file anew."""

import sys
from pathlib import Path

from fairlead.catalog.compiled import write
from fairlead.catalog.document import Mistakes


def main() -> int:
    """0: written; 1: a file has a mistake."""
    try:
        write(Path(__file__).parent)
    except Mistakes as mistakes:
        for problem in mistakes.problems:
            sys.stderr.write(f"{problem.file}:{problem.line or 1}: {problem.path}: {problem.message}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
