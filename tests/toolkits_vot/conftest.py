"""The VOT toolkit at work: run by `make test-vot`, the toolkit in an environment of its own.

`make test` does not look in here. Where these tests are asked for and the toolkit is missing they
fail.
"""

from __future__ import annotations

import os

if not os.environ.get("MIXFORMERV2_VOT"):
    collect_ignore_glob = ["test_*.py"]
