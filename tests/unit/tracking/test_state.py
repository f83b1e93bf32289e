"""The state is a value that survives a trip through bytes, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from mixformerv2.box import Box
from mixformerv2.errors import StateError
from mixformerv2.tracking.policy import Templates
from mixformerv2.tracking.settings import TrackerSettings
from mixformerv2.tracking.state import TrackState, refuse_other_settings

DRAW = np.random.default_rng(4)


def picture() -> NDArray[np.uint8]:
    return DRAW.integers(0, 256, (16, 16, 3)).astype(np.uint8)


def state(templates: Templates) -> TrackState:
    box = Box(1 / 3, -2.5, 1e-3, 700.1)
    return TrackState(box, "uncertain", 41, 41 / 29.97, (1280, 720), templates, "cd" * 32)


FIRST, ONLINE, CANDIDATE = picture(), picture(), picture()
TEMPLATES = {
    "start": Templates.of(FIRST),
    "candidate": Templates(np.stack([FIRST, FIRST]), True, CANDIDATE, 0.75),
    "online": Templates(np.stack([FIRST, ONLINE]), False),
    "both": Templates(np.stack([FIRST, ONLINE]), False, CANDIDATE, 0.75),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_there_and_back(name: str) -> None:
    before = state(TEMPLATES[name])
    after = TrackState.from_bytes(before.to_bytes())
    for field in ("box", "target", "frame", "time", "frame_size", "weights_sha256"):
        assert getattr(after, field) == getattr(before, field)
    np.testing.assert_array_equal(after.templates.pair, before.templates.pair)
    assert after.templates.online_is_first == before.templates.online_is_first
    assert after.templates.best == before.templates.best
    if before.templates.candidate is None:
        assert after.templates.candidate is None
    else:
        assert after.templates.candidate is not None
        np.testing.assert_array_equal(after.templates.candidate, before.templates.candidate)


def test_bytes_are_few_and_the_same_each_time() -> None:
    one = state(TEMPLATES["start"])
    assert one.to_bytes() == one.to_bytes()
    assert len(one.to_bytes()) < 16 * 16 * 3 + 600  # noise does not compress; once, not twice


WHOLE = state(TEMPLATES["both"]).to_bytes()


@given(st.integers(0, len(WHOLE) - 1))
def test_cut_short(length: int) -> None:
    with pytest.raises(StateError):
        TrackState.from_bytes(WHOLE[:length])


@given(st.binary(max_size=300))
@example(b"")
@example(b"MFT1")
@example(b"MFT1\xff\xff\xff\xff")
@example(b"\x80\x04\x95")  # how a pickle starts
@example(b"PK\x03\x04")  # how an npz starts
def test_anything_else(data: bytes) -> None:
    with pytest.raises(StateError):
        TrackState.from_bytes(data)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_is_refused_or_leaves_a_sound_state(place: int, flip: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= flip
    try:
        found = TrackState.from_bytes(bytes(data))
    except StateError:
        return
    assert all(np.isfinite(found.box))
    assert found.templates.pair.shape == (2, 16, 16, 3)


def forged(pixels: bytes | None = None, **changes: Any) -> bytes:
    """The whole state with another header, whose sums are right."""
    (length,) = struct.unpack_from("<I", WHOLE, 4)
    header = json.loads(WHOLE[8 : 8 + length])
    pixels = WHOLE[8 + length :] if pixels is None else pixels
    header.update(changes, pixels_sha256=hashlib.sha256(pixels).hexdigest())
    text = json.dumps({k: v for k, v in header.items() if v != "absent"}).encode()
    return WHOLE[:4] + struct.pack("<I", len(text)) + text + pixels


def test_the_forger_can_make_a_sound_one() -> None:
    assert TrackState.from_bytes(forged(frame=7)).frame == 7


@pytest.mark.parametrize(
    "changes",
    [
        {"box": [1, 2, float("nan"), 4]},
        {"box": [1, 2, 0, 4]},
        {"box": [1, 2, 3]},
        {"box": "here"},
        {"box": None},
        {"box": [0, 0, 30000, 30000]},
        {"box": [0, 0, 1280, 1e200]},
        {"box": [1e200, 0, 10, 10]},
        {"frame_size": [1, 1]},
        {"trust": {"home": [0, 0, 30000, 30], "confirmed": 0}},
        {"target": "found"},
        {"target": ["lost"]},
        {"frame": -1},
        {"frame": 1.5},
        {"frame": True},
        {"frame": 10**400},
        {"time": "noon"},
        {"time": float("inf")},
        {"frame_size": [0, 720]},
        {"frame_size": [1, 2, 3]},
        {"frame_size": 5},
        {"template_size": 0},
        {"template_size": 17},
        {"template_size": 10**9},
        {"candidate": False},
        {"best": None},
        {"weights_sha256": "absent"},
        {"box": "absent"},
        {"pixels": b"not zlib"},
        {"pixels": zlib.compress(bytes(10**8))},
    ],
    ids=str,
)
def test_forged_values(changes: dict[str, Any]) -> None:
    with pytest.raises(StateError):
        TrackState.from_bytes(forged(**changes))


@pytest.mark.parametrize("settings", [[1], {"long_term": "x" * 9999}, {"long_term": [[[]]]}])
def test_forged_settings(settings: Any) -> None:
    with pytest.raises(StateError) as caught:
        refuse_other_settings(forged(settings=settings), TrackerSettings(16, 32))
    assert len(str(caught.value)) < 200


def test_settings_that_only_another_version_has_are_no_other_ones() -> None:
    refuse_other_settings(forged(settings={"new": 1, "mirror": False}), TrackerSettings(16, 32))
    refuse_other_settings(WHOLE, TrackerSettings(16, 32))


@pytest.mark.parametrize("header", [b"[1]", b"[" * 60000, b"null", b"{", b"\xff"])
def test_forged_headers(header: bytes) -> None:
    with pytest.raises(StateError):
        TrackState.from_bytes(b"MFT1" + struct.pack("<I", len(header)) + header)


def test_a_target_larger_than_its_picture_does_not_grow_without_bound() -> None:
    """Real where the picture is smaller than `min_size`, and streams change their size."""
    small = replace(state(TEMPLATES["start"]), box=Box(-3, -3, 4, 4), frame_size=(1, 1))
    again = TrackState.from_bytes(small.to_bytes())
    assert again.box == (-3, -3, 4, 4)
    large = again.resized(3840, 2160)
    assert (large.box.w, large.box.h) == pytest.approx((3840, 2160), rel=0.011)


def test_only_bytes() -> None:
    with pytest.raises(StateError, match="str"):
        TrackState.from_bytes("MFT1")  # type: ignore[arg-type]
