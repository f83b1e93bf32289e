"""The engine of a worker."""

from __future__ import annotations

from typing import Any

__all__ = ["Engines"]


class Engines:
    """The engine, loaded when it is first wanted."""

    def __init__(self, model: str, engine: str, threads: int | None) -> None:
        self.model = model
        self._wanted = (model, engine, threads)
        self._loaded: Any = None

    def get(self) -> tuple[Any, Any]:
        """Engine and config of the bundle."""
        if self._loaded is None:
            from ..runtime.select import load_engine

            self._loaded = load_engine(*self._wanted, alone=False)
        engine, config = self._loaded
        return engine, config
