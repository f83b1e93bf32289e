"""The sound of the source stays with its pictures."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from mixformerv2.video import VideoWriter, open_source
from mixformerv2.video.sound import carry_sound
from tests.clips import BEEP, SECONDS, sounding_clip


def drawn(source: Path, out: Path, start: int = 0, count: int = 1000) -> VideoWriter:
    with open_source(source, start=start) as frames, VideoWriter(out, fps=frames.fps) as writer:
        for frame in list(frames)[:count]:
            assert frame.image is not None
            writer.write(frame.image, frame.time)
    return writer


def heard(path: Path) -> tuple[float, float]:
    """When the beep begins and when the sound ends, in seconds."""
    with av.open(str(path)) as file:
        loud, end = [], 0.0
        for frame in file.decode(audio=0):
            wave = frame.to_ndarray().astype(float)[0]
            begin = float(frame.pts * frame.time_base)
            end = begin + len(wave) / frame.sample_rate
            loud += [begin + index / frame.sample_rate for index in np.flatnonzero(wave > 0.3)[:1]]
        return loud[0], end


def seen(path: Path) -> list[tuple[float, bool]]:
    """Time and brightness of each picture."""
    with open_source(path) as frames:
        return [(f.time, bool(f.image is not None and f.image.mean() > 128)) for f in frames]


@pytest.mark.parametrize(("start", "count"), [(0, 1000), (10, 1000), (0, 40), (20, 20)])
@pytest.mark.parametrize(("codec", "suffix"), [("aac", ".mp4"), ("libmp3lame", ".mkv")])
def test_it_is_heard_when_it_is_seen(
    tmp_path: Path, start: int, count: int, codec: str, suffix: str
) -> None:
    source, out = sounding_clip(tmp_path / f"in{suffix}", codec), tmp_path / "out.mp4"
    writer = drawn(source, out, start, count)
    before = seen(out)
    assert writer.began == pytest.approx(start / 25, abs=1e-3)
    assert carry_sound(source, out, writer.began) is None
    assert seen(out) == before
    white = next(time for time, bright in before if bright)
    beep, end = heard(out)
    assert beep == pytest.approx(white, abs=0.06)
    assert end == pytest.approx(len(before) / 25, abs=0.08)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([source.name, "out.mp4"])


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    source = sounding_clip(tmp_path / "in.mp4")
    drawn(source, tmp_path / "real.mp4")
    (tmp_path / "out.mp4").symlink_to("real.mp4")
    assert carry_sound(source, tmp_path / "out.mp4") is None
    assert (tmp_path / "out.mp4").is_symlink()
    assert heard(tmp_path / "real.mp4")[0] == pytest.approx(BEEP, abs=0.06)


def test_a_colon_in_a_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sounding_clip(tmp_path / "in.mp4").rename("2024-01-01T10:00:00.mp4")
    drawn(Path("2024-01-01T10:00:00.mp4"), Path("out.mp4"))
    assert carry_sound("2024-01-01T10:00:00.mp4", "out.mp4") is None
    assert heard(tmp_path / "out.mp4")[0] == pytest.approx(BEEP, abs=0.06)


def test_what_has_no_sound_stays_as_it_is(tmp_path: Path) -> None:
    source, out = sounding_clip(tmp_path / "in.mp4", None), tmp_path / "out.mp4"
    drawn(source, out)
    before = out.read_bytes()
    assert carry_sound(source, out) is None
    assert out.read_bytes() == before


def test_sound_that_cannot_be_copied_costs_no_pictures(tmp_path: Path) -> None:
    source, out = sounding_clip(tmp_path / "in.mkv", "pcm_s16le"), tmp_path / "out.mp4"
    drawn(source, out)
    before = out.read_bytes()
    assert carry_sound(source, out) == "pcm_s16le cannot stand in an MP4"
    (tmp_path / "text.mp4").write_text("no video")
    assert str(carry_sound(tmp_path / "text.mp4", out)).startswith("it cannot be copied")
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_source_that_is_cut_off_sounds_as_far_as_it_goes(tmp_path: Path) -> None:
    source, out = sounding_clip(tmp_path / "in.mkv"), tmp_path / "out.mp4"
    drawn(source, out)
    data = source.read_bytes()
    source.write_bytes(data[: len(data) * 3 // 4])
    assert carry_sound(source, out) is None
    assert 0.5 < heard(out)[1] <= SECONDS + 0.1


def test_a_full_disk_costs_no_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, out = sounding_clip(tmp_path / "in.mp4"), tmp_path / "out.mp4"
    drawn(source, out)
    before = out.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mixformerv2.video.sound.os.replace", full)
    assert "No space left" in str(carry_sound(source, out))
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.mp4", "out.mp4"]
