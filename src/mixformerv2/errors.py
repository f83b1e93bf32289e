"""Every error that mixformerv2 raises on purpose, in one tree.

```
MixFormerError
├── BoxError           a box that cannot be tracked
├── FrameError         a picture that cannot be used as a frame
├── SourceError        a video, folder or camera that cannot be read
├── OutputError        a result that cannot be written
├── ConfigError        a setting outside its range, or an unknown one
├── WeightsError       a bundle or checkpoint that is not what it should be
├── EngineError        an inference engine that is missing or refuses a graph
├── StateError         a saved tracker state that does not belong here, or a tracker not yet started
├── DataError          a data set that is not laid out as it should be
└── TrainingError      a training run that must not go on
```

Each message names the thing, the value that was found and the way out. The command prints it as
one line and ends with the error's `exit_code`.
"""

from __future__ import annotations

__all__ = [
    "BoxError",
    "ConfigError",
    "DataError",
    "EngineError",
    "FrameError",
    "MixFormerError",
    "OutputError",
    "SourceError",
    "StateError",
    "TrainingError",
    "WeightsError",
]


class MixFormerError(Exception):
    """Base of all errors of this package: catch it to catch them all."""

    exit_code = 1


class BoxError(MixFormerError, ValueError):
    """The given box is not finite, has no area or lies outside the picture."""

    exit_code = 3


class FrameError(MixFormerError, ValueError):
    """The given picture is empty or of a kind that cannot be turned into 8-bit colour."""

    exit_code = 4


class SourceError(MixFormerError, OSError):
    """A video, folder, camera or address cannot be opened or holds no frame."""

    exit_code = 4


class OutputError(MixFormerError, OSError):
    """A result cannot be written: the disk is full, or the folder refuses it."""

    exit_code = 5


class ConfigError(MixFormerError, ValueError):
    """A setting is unknown or has a value that cannot work."""

    exit_code = 2


class WeightsError(MixFormerError, ValueError):
    """A bundle or checkpoint is missing, damaged or made for something else."""

    exit_code = 6


class EngineError(MixFormerError, RuntimeError):
    """The inference engine is not installed or cannot run this graph."""

    exit_code = 7


class StateError(MixFormerError, ValueError):
    """A saved state was made by another bundle, or `update` came before `init`."""

    exit_code = 8


class DataError(MixFormerError, ValueError):
    """A data set or ground-truth file is not laid out as it should be."""

    exit_code = 9


class TrainingError(MixFormerError, RuntimeError):
    """A training run cannot start, or must stop because its loss is no longer finite."""

    exit_code = 10
