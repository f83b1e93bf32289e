"""`python -m mixformerv2`, the same as the command `mixformerv2`."""

from __future__ import annotations

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
