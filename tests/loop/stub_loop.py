"""`python -m tests.loop.stub_loop loop CONFIG`: the command `mollifield` with the stubs, without torch.

Its children begin by running this file too, so they have no torch either: where it is, `vesin` imports it, which takes
each of them seconds.
"""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class NoTorch(MetaPathFinder):
    """Says of torch that there is none."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name == "torch":
            raise ImportError("there is no torch here")


sys.meta_path.insert(0, NoTorch())

if __name__ == "__main__":
    from mollifield_train.active import loop
    from mollifield_train.cli import main
    from tests.loop import stub_parts

    loop.default_parts = stub_parts.make_parts
    sys.exit(main(sys.argv[1:]))
