"""The C++ example is built by `make test-cpp`, which says where; other runs leave it alone."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("MIXFORMERV2_CPP") else ["test_*.py"]
