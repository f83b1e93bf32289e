"""The paper's tables on speed and size, measured and counted again."""

from __future__ import annotations
