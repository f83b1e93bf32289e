"""Follow a target through a very long stream, and say whether memory, speed and clock hold.

    python scripts/long_run.py --frames 1000000
    python scripts/long_run.py --frames 20000 --model t --video

A clip of a moving square is sent round and round through a pipe as MPEG-TS, whose clock starts
half a minute before it overflows, as it does every 26.5 hours.
"""

from __future__ import annotations

import argparse
import itertools
import os
import resource
import tempfile
import threading
import time
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from mixformerv2.box import Box
from mixformerv2.cli.follow import Outputs, follow
from mixformerv2.tracking import MultiTracker
from mixformerv2.video import open_source
from mixformerv2.video.formats.journal import Journal

FPS = 5  # slow, so that a million frames pass two overflows of the clock
SIZE = (96, 72)
LOOP = 50  # frames of the clip
CLOCK = 90_000
OVERFLOW = 1 << 33
PARTS = 20


@dataclass
class Report:
    """What a long run came to; lists have a value for each twentieth of it.

    Attributes:
        frames: In the journal.
        memory: Megabytes of the process.
        cost: Processor milliseconds a frame.
        drift: Largest difference of a time stamp from the number of its frame over the rate, in
            seconds.
        journal: Megabytes of results.
    """

    frames: int = 0
    memory: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    drift: float = 0.0
    journal: float = 0.0

    def __str__(self) -> str:
        return "\n".join(
            [
                f"frames   {self.frames:,}",
                f"memory   {_row(self.memory)} MB",
                f"cost     {_row(self.cost)} ms of processor a frame",
                f"drift    {self.drift:.6f} s at most",
                f"journal  {self.journal:.1f} MB",
            ]
        )


def _row(values: list[float]) -> str:
    return " ".join(f"{value:.2f}" if value < 10 else f"{value:.0f}" for value in values)


def send(pipe: Path, frames: int) -> None:
    """Write so many frames into a pipe; their packets are encoded once."""
    packets = _packets()
    start = OVERFLOW - 30 * CLOCK
    step = CLOCK // FPS
    try:
        with av.open(str(pipe), "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            stream.options = {"bf": "0", "g": str(LOOP)}
            for number, data in enumerate(itertools.islice(itertools.cycle(packets), frames)):
                packet = av.Packet(data)
                packet.stream = stream
                packet.time_base = Fraction(1, CLOCK)
                packet.pts = packet.dts = start + number * step
                packet.is_keyframe = number % LOOP == 0
                container.mux(packet)
    except (BrokenPipeError, av.error.BrokenPipeError):
        pass  # the reader has seen enough


def _packets() -> list[bytes]:
    """A square that goes to the right and comes back, as packets of H.264."""
    codec = av.CodecContext.create("libx264", "w")
    assert isinstance(codec, av.VideoCodecContext)
    codec.width, codec.height, codec.pix_fmt = *SIZE, "yuv420p"
    codec.time_base = Fraction(1, FPS)
    codec.options = {"bf": "0", "g": str(LOOP), "preset": "superfast", "tune": "zerolatency"}
    packets = []
    ground = np.random.default_rng(1).integers(0, 90, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    for number in range(LOOP):
        picture = ground.copy()
        left = 10 + min(number, LOOP - number)
        picture[20:40, left : left + 20] = (40, 200, 240)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24").reformat(format="yuv420p")
        packets += [bytes(packet) for packet in codec.encode(frame)]
    return packets + [bytes(packet) for packet in codec.encode(None)]


def long_run(frames: int, model: str, engine: str = "auto", *, video: bool = False) -> Report:
    """Follow the square for so many frames."""
    report = Report()
    part = max(1, frames // PARTS)
    with tempfile.TemporaryDirectory() as folder:
        pipe = Path(folder) / "stream.ts"
        os.mkfifo(pipe)
        sender = threading.Thread(target=send, args=(pipe, frames), daemon=True)
        sender.start()
        journal = Path(folder) / "run.jsonl"
        outputs = Outputs(journal, Path(folder) / "run.mp4" if video else None)
        began = time.process_time()

        def watch(results: object) -> None:
            nonlocal began
            report.frames += 1
            if report.frames % part == 0:
                now = time.process_time()
                report.cost.append(1000 * (now - began) / part)
                report.memory.append(_megabytes())
                began = now

        with open_source(pipe) as source:
            follower = MultiTracker(model, engine, 1)
            follow(source, [Box(10, 20, 20, 20)], follower, outputs, model=model, watch=watch)
        sender.join()
        report.journal = journal.stat().st_size / 1e6
        for number, (_, result) in enumerate(Journal(journal)):
            report.drift = max(report.drift, abs(result.time - result.frame / FPS))
            assert result.frame == number, f"frame {result.frame} follows {number - 1}"
    return report


def _megabytes() -> float:
    """Memory in use now; where the system does not say, the most there was."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    """Run and print."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    options.add_argument("--frames", type=int, default=1_000_000)
    options.add_argument("--model", default="t")
    options.add_argument("--engine", default="auto")
    options.add_argument("--video", action="store_true", help="write an annotated MP4 too")
    given = options.parse_args()
    print(long_run(given.frames, given.model, given.engine, video=given.video))


if __name__ == "__main__":
    main()
