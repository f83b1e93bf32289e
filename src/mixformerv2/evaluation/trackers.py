"""What can be evaluated: bundles, OpenCV's trackers, a class of one's own, other people's results.

A `TrackerSpec` is the text of the command line as a value; called, it makes a fresh tracker.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..box import XYWH, Box
from ..errors import ConfigError

__all__ = ["Answer", "Factory", "Followable", "Followed", "TrackerSpec"]

Frame = NDArray[np.uint8]


class Followed(Protocol):
    """What `update` answers: `TrackResult` is one."""

    @property
    def box(self) -> XYWH:
        """x, y, w, h in pixels."""
        ...

    @property
    def score(self) -> float:
        """Confidence, 0 to 1."""
        ...


class Followable(Protocol):
    """What can be evaluated: `mixformerv2.Tracker` is one."""

    def init(self, frame: Frame, box: XYWH, /) -> object:
        """Start on the first frame, BGR."""
        ...

    def update(self, frame: Frame, /) -> Followed:
        """Find the target in the next frame, BGR."""
        ...


Factory = Callable[[], Followable]


class Answer(NamedTuple):
    """A box and its score, for trackers that have no result type of their own."""

    box: XYWH
    score: float


@dataclass(frozen=True)
class TrackerSpec:
    """A tracker by name: call it to make one.

    Attributes:
        spec: A bundle's name or folder; `still`, a box that never moves; `MODULE:CLASS`, a class
            whose objects have `init(frame, box)` and `update(frame)`; `opencv:NAME`, one of csrt,
            kcf, mil, boosting, medianflow, mosse, tld (where OpenCV has them), `opencv:nano:FOLDER`
            with NanoTrack's backbone and head as ONNX files, `opencv:vit:FILE`;
            `results:FOLDER`, result files that another program wrote. `LABEL=SPEC` names it.
        engine: Inference engine, for bundles.
        threads: Threads of the engine or of OpenCV; None leaves it to them.
        settings: Tracker settings of a bundle that replace its own, as pairs of name and value.

    Example:
        >>> tracker = TrackerSpec("still")()
        >>> _ = tracker.init(np.zeros((9, 9, 3), np.uint8), (1, 2, 3, 4))
        >>> tracker.update(np.zeros((9, 9, 3), np.uint8)).box
        (1, 2, 3, 4)
    """

    spec: str
    engine: str = "auto"
    threads: int | None = None
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        """`bundle`, `still`, `opencv`, `results` or `class`."""
        first, colon, _ = self.what.partition(":")
        if not colon:
            return "still" if self.what == "still" else "bundle"
        if first in ("opencv", "results"):
            return first
        # A drive letter of Windows is no module.
        return "class" if re.fullmatch(r"[\w.]+:[\w.:]*", self.what) else "bundle"

    @property
    def what(self) -> str:
        """The text without a label of one's own; a folder such as `lr=1e-4` has none."""
        label, equals, rest = self.spec.partition("=")
        named = equals and re.fullmatch(r"[\w. +-]+", label) and not os.path.isdir(self.spec)
        return rest if named else self.spec

    @property
    def label(self) -> str:
        """A short name, fit for a folder and a table."""
        if self.what != self.spec:
            return self.spec.partition("=")[0].strip()
        _, _, rest = self.what.partition(":")
        if self.kind == "opencv":
            return f"opencv-{rest.partition(':')[0]}"
        if self.kind == "class":
            return rest.rpartition(":")[2]
        if self.settings:
            changes = "-".join(f"{name}-{value}" for name, value in self.settings)
            return f"{Path(self.what).resolve().name}-{changes}"
        if self.kind == "results":
            return Path(rest).resolve().name
        plain = "/" not in self.what and self.what not in (".", "..")
        return self.what if plain else Path(self.what).resolve().name

    @property
    def is_bundle(self) -> bool:
        """Whether it is one of our own."""
        return self.kind == "bundle"

    @property
    def folder(self) -> Path | None:
        """Where the results lie, for `results:FOLDER`."""
        return Path(self.what.partition(":")[2]) if self.kind == "results" else None

    def __call__(self) -> Followable:
        """Make a fresh tracker.

        Raises:
            ConfigError: the text names no tracker, or what it names cannot be had.
        """
        _, _, rest = self.what.partition(":")
        if self.kind == "still":
            return Still()
        if self.kind == "opencv":
            return OpenCVTracker(rest, self.threads)
        if self.kind == "class":
            return OwnClass(self.what.removeprefix("python:"))
        if self.kind == "results":
            raise ConfigError(f"{self.spec} is a folder of results: it cannot be run, only read")
        from ..tracking import Tracker

        tracker: Followable = Tracker(
            self.what, engine=self.engine, threads=self.threads, settings=dict(self.settings)
        )
        return tracker

    def anywhere(self) -> TrackerSpec:
        """The same for workers in other folders and on other machines.

        A bundle's folder is named whole, and "auto" is decided here, once for all of them.
        """
        if not self.is_bundle:
            return self
        from ..runtime.select import load_engine, name_of

        engine = name_of(load_engine(self.what, self.engine, self.threads)[0].info)
        # Only a name that was given: that of a folder may hold what a name cannot.
        given = f"{self.label}=" if self.what != self.spec else ""
        return replace(self, spec=f"{given}{self.whole}", engine=engine)

    @property
    def whole(self) -> str:
        """The text without a label and with full paths, for processes that start elsewhere."""
        if self.is_bundle:
            from ..weights.bundle import list_bundles

            return self.what if self.what in list_bundles() else str(Path(self.what).resolve())
        if self.kind == "opencv":
            name, colon, files = self.what.removeprefix("opencv:").partition(":")
            return f"opencv:{name}:{Path(files).resolve()}" if colon and files else self.what
        return self.what

    def identity(self) -> dict[str, Any]:
        """What decides the boxes: results of equal identity may be mixed.

        The tracker is made, once, so that one that cannot be had is said before anything runs.

        Raises:
            ConfigError, WeightsError, EngineError: there is no such tracker, or not with these
                options.
        """
        from ..runtime.select import check_threads

        check_threads(self.threads)
        identity: dict[str, Any] = {"tracker": self.what}
        if self.folder is not None:
            if not self.folder.is_dir():
                raise ConfigError(f"{self.spec}: there is no folder {self.folder}")
            return identity
        if self.settings and not self.is_bundle:
            raise ConfigError(f"{self.spec} is no bundle and takes no tracker settings")
        identity["threads"] = self.threads
        tracker = self()
        if self.is_bundle:
            return identity | self._identity_of_bundle(tracker)
        if isinstance(tracker, OpenCVTracker):
            tracker.load()
            identity["opencv"] = tracker.version
        if isinstance(tracker, OpenCVTracker | OwnClass):
            identity["files"] = {name: _sha256(file) for name, file in tracker.files.items()}
        return identity

    def _identity_of_bundle(self, tracker: Any) -> dict[str, Any]:
        from .. import __version__
        from ..runtime.select import name_of
        from ..weights.bundle import find_bundle

        folder = find_bundle(self.what)
        files = sorted([folder / "config.json", *folder.glob("*.onnx")])
        identity = {
            "engine": name_of(tracker.info),  # what "auto" takes, here and now
            "files": {file.name: _sha256(file) for file in files},
            "version": __version__,
        }
        return identity | ({"settings": dict(self.settings)} if self.settings else {})


class Still:
    """A box that never moves: the floor under every figure."""

    def init(self, frame: Frame, box: XYWH) -> None:
        """Keep the box."""
        self._box = box

    def update(self, frame: Frame) -> Answer:
        """Answer the given box."""
        return Answer(self._box, 1.0)


class OpenCVTracker:
    """One of OpenCV's trackers, which take and answer whole pixels.

    Attributes:
        version: OpenCV's.
        files: Its networks, by name.
    """

    def __init__(self, name: str, threads: int | None = None) -> None:
        import cv2

        kind, _, files = name.partition(":")
        self.version: str = cv2.__version__
        self.files: dict[str, Path] = {}
        if threads is not None:
            cv2.setNumThreads(threads)
        # OpenCV 5 warns at each creation that it cannot choose a target for these networks.
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        self._has_score = kind in ("nano", "vit")
        self._make: Callable[[], Any]
        if kind == "nano" and hasattr(cv2, "TrackerNano"):
            parameters = cv2.TrackerNano.Params()
            self.files = {part: _one_file(files, part) for part in ("backbone", "head")}
            parameters.backbone = str(self.files["backbone"])
            parameters.neckhead = str(self.files["head"])
            self._make = lambda: cv2.TrackerNano.create(parameters)
        elif kind == "vit" and hasattr(cv2, "TrackerVit"):
            if not Path(files).is_file():
                raise ConfigError(f"opencv:vit:{files} must name its network's ONNX file")
            vit = cv2.TrackerVit.Params()
            vit.net = files
            self.files = {"net": Path(files)}
            self._make = lambda: cv2.TrackerVit.create(vit)
        else:
            self._make = _plain_tracker(cv2, kind, name)

    def load(self) -> None:
        """Make OpenCV's object, with its networks.

        Raises:
            ConfigError: OpenCV cannot read them.
        """
        try:
            self._tracker = self._make()
        except Exception as error:
            files = " and ".join(map(str, self.files.values()))
            raise ConfigError(f"OpenCV cannot load {files}: {_told(error)}") from error

    def init(self, frame: Frame, box: XYWH) -> None:
        """Start; the box is rounded, as OpenCV wants it."""
        x, y, w, h = (round(v) for v in box)
        self._box: XYWH = box
        self.load()
        self._tracker.init(frame, (x, y, max(w, 1), max(h, 1)))

    def update(self, frame: Frame) -> Answer:
        """Follow; where OpenCV says it failed the last box is repeated with score 0."""
        found, box = self._tracker.update(frame)
        if not found:
            return Answer(self._box, 0.0)
        self._box = Box(*(float(v) for v in box)).xywh
        return Answer(
            self._box, float(self._tracker.getTrackingScore()) if self._has_score else 1.0
        )


class OwnClass:
    """A class of the user's own; `update` may answer a plain box or something with one.

    Attributes:
        files: The source of its module, and of the one that it comes from, by name of the module.
    """

    def __init__(self, path: str) -> None:
        module_name, _, class_name = path.partition(":")
        if "" not in sys.path:  # as with `python -m`: modules lie where the user stands
            sys.path.insert(0, "")
        try:
            make = getattr(importlib.import_module(module_name), class_name)
        except Exception as error:  # whatever the user's module does when it is loaded
            raise ConfigError(
                f"{path} cannot be imported ({_told(error)}); write MODULE:CLASS of a class "
                "that Python finds from here"
            ) from error
        wanted = "give a class that is made without arguments and has init and update"
        try:
            self._tracker = make()
        except Exception as error:
            raise ConfigError(f"{path} cannot be made ({_told(error)}); {wanted}") from error
        for method in ("init", "update"):
            if not callable(getattr(self._tracker, method, None)):
                raise ConfigError(f"{path} has no method {method}; {wanted}")
        names = (module_name, str(getattr(make, "__module__", module_name)))
        sources = {name: getattr(sys.modules.get(name), "__file__", None) for name in names}
        self.files = {name: Path(file) for name, file in sources.items() if file is not None}

    def init(self, frame: Frame, box: XYWH) -> None:
        """Start the user's tracker."""
        self._tracker.init(frame, box)

    def update(self, frame: Frame) -> Answer:
        """Follow; a plain box gets score 1."""
        answer = self._tracker.update(frame)
        box = Box(*(float(v) for v in getattr(answer, "box", answer)))
        return Answer(box.xywh, float(getattr(answer, "score", 1.0)))


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


PLAIN = {
    "csrt": "CSRT",
    "kcf": "KCF",
    "mil": "MIL",
    "boosting": "Boosting",
    "medianflow": "MedianFlow",
    "mosse": "MOSSE",
    "tld": "TLD",
}
"""OpenCV's trackers that need no files, and how it writes them."""


def _plain_tracker(cv2: Any, kind: str, name: str) -> Callable[[], Any]:
    for module in (cv2, getattr(cv2, "legacy", None)):
        make = getattr(module, f"Tracker{PLAIN.get(kind, '?')}", None)
        if make is not None:
            return lambda: make.create()
    here = [one for one in PLAIN if hasattr(cv2, f"Tracker{PLAIN[one]}")]
    more = "" if len(here) > 1 else "; its contrib wheel has more, see benchmarks/peers.py"
    raise ConfigError(
        f"opencv:{name} is not known here (OpenCV {cv2.__version__}); choose "
        f"{', '.join(f'opencv:{one}' for one in here)} or opencv:nano:FOLDER{more}"
    )


def _one_file(folder: str, part: str) -> Path:
    files = sorted(Path(folder).glob(f"*{part}*.onnx")) if folder else []
    if len(files) != 1:
        raise ConfigError(
            f"opencv:nano:{folder} must name a folder with one *{part}*.onnx, found {len(files)}"
        )
    return files[0]
