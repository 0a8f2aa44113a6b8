"""`python -m generator` in `docs`: builds the site into build/docs/html. Warnings are errors."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sphinx.cmd.build import build_main

from .sources import DOCS, ROOT, assemble


def main() -> int:
    """Exit status of Sphinx."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "docs", help="where everything is made")
    parser.add_argument(
        "--no-outputs", action="store_true", help="leave the tutorials' code as it is, without running it"
    )
    options = parser.parse_args()
    source, folder = options.folder / "source", options.folder
    assemble(source)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    settings = [f"nb_execution_cache_path={folder / 'notebooks'}"]
    if options.no_outputs:
        settings.append("nb_execution_mode=off")
    arguments = ["-W", "-n", "--keep-going", "-q", "-b", "html", "-c", str(DOCS), "-d", str(folder / "doctrees")]
    arguments += [word for setting in settings for word in ("-D", setting)]
    status: int = build_main([*arguments, str(source), str(folder / "html")])
    if status == 0:
        print(f"{folder / 'html' / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())
