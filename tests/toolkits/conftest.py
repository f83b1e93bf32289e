"""Comparisons with toolkits of others: run by `make test-toolkits`, in an environment of its own.

`make test` does not look in here, because the toolkit is not among its packages. Where these tests
are asked for and the toolkit is missing they fail.
"""

from __future__ import annotations

import os

if not os.environ.get("MIXFORMERV2_TOOLKITS"):
    collect_ignore_glob = ["test_*.py"]
