"""The state of one tracked target: a value, and its form on disk.

On disk: four bytes of magic, the length of a JSON header, the header, and the templates' pixels
compressed with zlib. Nothing in it is ever executed, and no length in it is believed before it
has been checked, so bytes from elsewhere can do no more than be refused.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ..box import Box
from ..errors import StateError
from .first import Style
from .motion import Motion, Smooth
from .policy import Templates
from .redetect import Trust
from .result import TargetState
from .settings import TrackerSettings
from .still import Seen

__all__ = ["TrackState", "refuse_other_settings"]

_MAGIC = b"MFT1"
_LENGTH = struct.Struct("<I")
_MAX_HEADER = 65536
_MAX_FRAME = 1 << 53
_MAX_GROWTH = 8.0
_FAR = float(1 << 24)
"""Pixels: no target is further away, or faster."""
_MAX_MIN_SIZE = 256.0
"""The largest `min_size`: answers may be so wide in pictures that are smaller."""
_ROUNDING = 1.01
"""Generous: a given box may stand out by a thousandth of a pixel, and sizes are scaled."""
_SHORTCUTS = ("keep_tokens", "keep_after", "exit_after", "exit_score")
"""Of an architecture: what `export` sets without touching the weights."""
_AT_REST = Motion()
_AS_FOUND = Style()
_NOT_OURS = "these bytes are not a saved tracker state; make one with Tracker.save_state()"


@dataclass(frozen=True, slots=True, eq=False)
class TrackState:
    """All that a tracker carries from one frame to the next.

    Attributes:
        box: The target in the last frame, pixels.
        target: Whether it was tracked, uncertain or lost there.
        frame: Number of the last frame; the one of the given box is 0.
        time: Seconds of the last one that could be read.
        frame_size: Its width and height in pixels.
        templates: What the target looks like.
        weights_sha256: The weights that the scores came from; other weights refuse the state.
        motion: How the target moves; all at rest where no setting asks for it.
        trust: Where it was last seen for certain; None where long-term tracking is off.
        seen: What the last look saw; None where still frames are looked at too.
        style: How the boxes wanted differ from the network's.
        given: Whether the box is still the given one, which was drawn in that style.
    """

    box: Box
    target: TargetState
    frame: int
    time: float
    frame_size: tuple[int, int]
    templates: Templates
    weights_sha256: str
    motion: Motion = _AT_REST
    trust: Trust | None = None
    seen: Seen | None = None
    style: Style = _AS_FOUND
    given: bool = False

    @property
    def found(self) -> Box:
        """The box as the network answers it: of a given one, without its style."""
        return self.style.undone(self.box) if self.given else self.box

    def answer(self, min_size: float) -> Box:
        """The box that was answered: the target's, smoothed where that is on, and in its style.

        Args:
            min_size: As in `TrackerSettings`.
        """
        if self.given:
            return self.box
        box, smooth = self.box, self.motion.smooth
        if smooth is not None:
            # Centre and size come at speeds of their own, past the border too.
            box = smooth.box.seen(*self.frame_size)
        if self.style == _AS_FOUND:
            return box
        return self.style.of(box).clip(*self.frame_size, min_size)

    @property
    def widest(self) -> Box:
        """A box at the origin with the largest width and height that a target may have."""
        width, height = (_ROUNDING * max(side, _MAX_MIN_SIZE) for side in self.frame_size)
        return Box(0.0, 0.0, width, height)

    def resized(self, width: int, height: int) -> TrackState:
        """The state in a picture of another size: streams change theirs while they run."""
        before = self.frame_size
        if before == (width, height):
            return self
        sx, sy = width / before[0], height / before[1]
        after = replace(self, frame_size=(width, height), seen=None)
        _, _, widest, highest = after.widest

        def scaled(box: Box) -> Box:
            # From a picture smaller than its target it could grow to any size.
            x, y, w, h = box
            return Box(x * sx, y * sy, min(w * sx, widest), min(h * sy, highest))

        trust = self.trust
        return replace(
            after,
            box=scaled(self.box),
            motion=self.motion.resized(sx, sy),
            trust=None if trust is None else replace(trust, home=scaled(trust.home)),
        )

    def to_bytes(
        self, settings: TrackerSettings | None = None, arch: Mapping[str, Any] | None = None
    ) -> bytes:
        """A few dozen kilobytes from which `from_bytes` makes the same state.

        With the settings of the tracker and the architecture of its network,
        `refuse_other_settings` knows them again.
        """
        templates = self.templates
        crops = [templates.pair[0]]
        if not templates.online_is_first:
            crops.append(templates.pair[1])
        if templates.candidate is not None:
            crops.append(templates.candidate)
        pixels = zlib.compress(np.stack(crops).tobytes(), 6)
        header = {
            "weights_sha256": self.weights_sha256,
            "box": list(self.box),
            "target": self.target,
            "frame": self.frame,
            "time": self.time,
            "frame_size": list(self.frame_size),
            "template_size": int(templates.pair.shape[1]),
            "online": not templates.online_is_first,
            "candidate": templates.candidate is not None,
            "best": templates.best,
            "pixels_sha256": hashlib.sha256(pixels).hexdigest(),
        }
        if self.motion != _AT_REST:
            header["motion"] = _motion_header(self.motion)
        if self.trust is not None:
            header["trust"] = {"home": list(self.trust.home), "confirmed": self.trust.confirmed}
        if self.seen is not None:
            header["seen"] = self.seen.header()
        if self.style != _AS_FOUND:
            header["style"] = list(astuple(self.style))
        if self.given:
            header["given"] = True
        if settings is not None:
            header["settings"] = asdict(settings)
        if arch is not None:
            header["shortcuts"] = _shortcuts(arch)
        text = json.dumps(header, allow_nan=False).encode()
        return _MAGIC + _LENGTH.pack(len(text)) + text + pixels

    @classmethod
    def from_bytes(cls, data: bytes) -> TrackState:
        """The state that `to_bytes` wrote.

        Raises:
            StateError: the bytes are cut short, damaged or something else.
        """
        header, pixels = _open(data)
        try:
            return _read(header, pixels)
        except (KeyError, TypeError, ValueError, OverflowError, zlib.error) as error:
            raise StateError(f"{_NOT_OURS} ({type(error).__name__}: {error})") from error


def refuse_other_settings(
    data: bytes, settings: TrackerSettings, arch: Mapping[str, Any] | None = None
) -> None:
    """Refuse a saved state whose tracker went by other settings: it would go on otherwise.

    So it would where a network of the same weights takes shortcuts.

    Args:
        data: The saved state.
        settings: Of the tracker here.
        arch: Of its network; None for one without shortcuts.

    Raises:
        StateError: as `TrackState.from_bytes`; or other settings, which are named.
    """
    header = _open(data)[0]
    saved, taken = header.get("settings", {}), header.get("shortcuts", {})
    if not (isinstance(saved, dict) and isinstance(taken, dict)):
        raise StateError(_NOT_OURS)
    # States of earlier versions have neither.
    here = {**asdict(settings), **dict.fromkeys(_SHORTCUTS, 0), **_shortcuts(arch or {})}
    saved = {**saved, **dict.fromkeys(_SHORTCUTS, 0), **taken}
    other = [name for name in here if name in saved and saved[name] != here[name]]
    if other:
        was, now = (", ".join(f"{n}={of[n]!r:.40}" for n in other) for of in (saved, here))
        raise StateError(
            f"this state was saved with {was}, and this tracker has {now}: give it the same "
            "settings, and a model exported alike"
        )


def _shortcuts(arch: Mapping[str, Any]) -> dict[str, Any]:
    """By which a network leaves out a part of its work, and answers a little otherwise."""
    return {name: arch[name] for name in _SHORTCUTS if arch.get(name)}


def _open(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and compressed pixels, once they are known to be whole."""
    if not isinstance(data, bytes | bytearray | memoryview):
        raise StateError(f"a saved state is bytes, got {type(data).__name__}")
    data = bytes(data)
    start = len(_MAGIC) + _LENGTH.size
    if len(data) < start or not data.startswith(_MAGIC):
        raise StateError(_NOT_OURS)
    (length,) = _LENGTH.unpack_from(data, len(_MAGIC))
    if length > _MAX_HEADER or start + length > len(data):
        raise StateError("this saved tracker state is cut short or damaged; save it again")
    try:
        header = json.loads(data[start : start + length])
    except (ValueError, RecursionError) as error:
        raise StateError("this saved tracker state has a damaged header; save it again") from error
    pixels = data[start + length :]
    if not isinstance(header, dict):
        raise StateError(_NOT_OURS)
    if hashlib.sha256(pixels).hexdigest() != header.get("pixels_sha256"):
        raise StateError("this saved tracker state is cut short or damaged; save it again")
    return header, pixels


def _read(header: dict[str, Any], pixels: bytes) -> TrackState:
    size = _whole(header["template_size"], 1, 4096)
    online, candidate = header["online"] is True, header["candidate"] is True
    crops = _inflate(pixels, 1 + online + candidate, size)
    target = header["target"]
    if target not in get_args(TargetState):
        raise ValueError(f"unknown target state {target!r}")
    width, height = header["frame_size"]
    state = TrackState(
        box=Box.parse(header["box"]),
        target=target,
        frame=_whole(header["frame"], 0, _MAX_FRAME),
        time=_real(header["time"]),
        frame_size=(_whole(width, 1, 1 << 20), _whole(height, 1, 1 << 20)),
        templates=Templates(
            np.stack([crops[0], crops[1 if online else 0]]),
            online_is_first=not online,
            candidate=crops[-1].copy() if candidate else None,
            best=_real(header["best"]),
        ),
        weights_sha256=str(header["weights_sha256"]),
        motion=_read_motion(header["motion"]) if "motion" in header else _AT_REST,
        trust=_read_trust(header["trust"]) if "trust" in header else None,
        seen=Seen.read(header["seen"]) if "seen" in header else None,
        style=Style.read(_reals(header["style"], 4)) if "style" in header else _AS_FOUND,
        given=header.get("given") is True,
    )
    for box in (state.box, *([] if state.trust is None else [state.trust.home])):
        _check_size(box, state)
    return state


def _check_size(box: Box, state: TrackState) -> None:
    """Refuse what no tracker answers; a look at it could take more than all memory."""
    if box.w > state.widest.w or box.h > state.widest.h or max(map(abs, box.xywh)) > _FAR:
        raise ValueError(f"box {box.xywh} does not fit a picture of {state.frame_size} pixels")


def _motion_header(motion: Motion) -> dict[str, Any]:
    smooth = motion.smooth
    return {
        "speed": list(motion.speed),
        "growth": motion.growth,
        "smooth": None if smooth is None else [*smooth.values, *smooth.speeds],
        "calm": motion.calm,
    }


def _read_motion(header: dict[str, Any]) -> Motion:
    smooth = header["smooth"]
    if smooth is not None:
        cx, cy, w, h, *speeds = _reals(smooth, 8)
        _near(cx, cy, w, h)
        if min(w, h) <= 0.0:
            raise ValueError(f"a smoothed box has a size above 0, got {w!r}, {h!r}")
        a, b, c, d = speeds
        smooth = Smooth((cx, cy, w, h), (a, b, c, d))
    x, y = _reals(header["speed"], 2)
    _near(x, y)
    growth = _real(header["growth"])
    if not 1.0 <= growth <= _MAX_GROWTH:
        raise ValueError(f"a search grows by 1 to {_MAX_GROWTH}, got {growth!r}")
    # States of earlier versions do not have it.
    return Motion((x, y), growth, smooth, _whole(header.get("calm", 0), 0, 1000))


def _read_trust(header: dict[str, Any]) -> Trust:
    return Trust(Box.parse(header["home"]), _whole(header["confirmed"], 0, _MAX_FRAME))


def _near(*values: float) -> None:
    if max(map(abs, values)) > _FAR:
        raise ValueError(f"expected numbers of pixels, got {values!r}")


def _reals(values: Any, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"expected {count} numbers, got {values!r}")
    return [_real(value) for value in values]


def _inflate(pixels: bytes, count: int, size: int) -> NDArray[np.uint8]:
    """`[count, size, size, 3]`; never inflates more than that, whatever the bytes say."""
    expected = count * size * size * 3
    inflater = zlib.decompressobj()
    raw = inflater.decompress(pixels, expected + 1)
    if len(raw) != expected:
        raise ValueError(f"{count} templates of {size} pixels are {expected} bytes")
    return np.frombuffer(raw, np.uint8).reshape(count, size, size, 3)


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ValueError(f"expected a whole number from {low} to {high}, got {value!r}")
    return value


def _real(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, got {value!r}")
    return float(value)
