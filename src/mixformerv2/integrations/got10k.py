"""A tracker for the experiments of the got10k toolkit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..box import XYWH
from ..tracking import Tracker, TrackerSettings

if TYPE_CHECKING:
    from got10k.trackers import Tracker as ToolkitTracker

__all__ = ["got10k_tracker"]


def got10k_tracker(
    model: str | Path = "t",
    engine: str = "auto",
    threads: int | None = None,
    settings: TrackerSettings | Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
) -> ToolkitTracker:
    """A `got10k.trackers.Tracker` for `ExperimentGOT10k`, `ExperimentOTB` and the rest.

    The toolkit keeps boxes as the files of a benchmark have them: where these call the first
    pixel 1 (OTB, LaSOT), the tracker sees the box one pixel to the lower right, as everyone's
    does there. `mixformerv2 eval` takes it off first.

    Args:
        model: As for `Tracker`.
        engine: As for `Tracker`.
        threads: As for `Tracker`.
        settings: As for `Tracker`.
        name: Of the folder of results; `mixformerv2-` and the model's where None.

    Raises:
        ImportError: the toolkit is not installed (`pip install got10k six`).
        WeightsError, EngineError, ConfigError: as `Tracker` does.

    Example:
        >>> from got10k.experiments import ExperimentGOT10k  # doctest: +SKIP
        >>> experiment = ExperimentGOT10k("data/GOT-10k", subset="val")  # doctest: +SKIP
        >>> experiment.run(got10k_tracker("t"))  # doctest: +SKIP
    """
    from got10k.trackers import Tracker as Base

    class Got10kTracker(Base):  # type: ignore[misc, unused-ignore]
        """The toolkit gives pictures of PIL, RGB, and boxes as arrays x, y, w, h."""

        def __init__(self, label: str, tracker: Tracker) -> None:
            # Deterministic: the toolkit need not repeat a sequence three times.
            super().__init__(name=label, is_deterministic=True)
            self.tracker = tracker

        def init(self, image: Any, box: Any) -> None:
            """Start on the first picture of a sequence."""
            self.tracker.init(np.asarray(image), [float(value) for value in box])

        def update(self, image: Any) -> XYWH:
            """Find the target in the next picture."""
            return self.tracker.update(np.asarray(image)).box

    label = name or f"mixformerv2-{Path(model).name}"
    return Got10kTracker(label, Tracker(model, engine, threads, "rgb", settings))
