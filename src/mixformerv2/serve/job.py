"""One job: a video, the boxes given by hand, and how far the tracking is."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..box import XYWH, Box
from ..video.formats.journal import JournalWriter, RunHeader, label_of
from .folder import JobFolder
from .refused import RefusedError, writing
from .tracks import Direction, Tracks, neighbours, plan

__all__ = ["Job", "Status"]

logger = logging.getLogger(__name__)

Status = Literal["preparing", "ready", "waiting", "tracking", "rendering", "failed"]
_RUNNING = ("preparing", "waiting", "tracking", "rendering")
_SAVED = (
    *("name", "source", "created", "status", "video", "backward", "revision"),
    *("rendered", "engine", "error", "wanted"),
)
_LONGEST_QUEUE = 2000  # messages; a page that reads none of them is left behind


@dataclass(eq=False)
class Job:
    """A job and its folder.

    Attributes:
        folder: Where its files are.
        name: What the video was called, for people.
        source: The video where it is not the job's own upload.
        created: Seconds since the epoch.
        status: What it is at.
        video: Size, rate and length once they are known.
        prompts: Boxes given by hand: object, then frame.
        names: What the objects are, of those that somebody has named.
        backward: Whether frames before an object's first prompt are tracked too.
        revision: Counts changes that undo results, or the annotated video.
        rendered: Revision of the annotated video that is there; -1 where there is none of its rows.
        engine: What tracked last.
        error: Why the last thing failed.
        progress: Frames done and in all.
        wanted: Whether tracking shall begin, or go on after a restart.
        answer: Status of HTTP for whoever sent a video that failed.
    """

    folder: JobFolder
    name: str
    source: str | None = None
    created: float = field(default_factory=time.time)
    status: Status = "preparing"
    video: dict[str, Any] = field(default_factory=dict)
    prompts: dict[int, dict[int, XYWH]] = field(default_factory=dict)
    names: dict[int, str] = field(default_factory=dict)
    backward: bool = True
    revision: int = 0
    rendered: int = -1
    engine: dict[str, str] = field(default_factory=dict)
    error: str | None = None
    progress: tuple[int, int | None] | None = None
    wanted: bool = False
    answer: int = 415
    task: asyncio.Task[None] | None = None
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    listeners: set[asyncio.Queue[dict[str, Any] | None]] = field(default_factory=set)

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def path(self) -> Path:
        """The video."""
        return Path(self.source) if self.source else self.folder.file("upload")

    @property
    def prepared(self) -> bool:
        return "count" in self.video and "broken" in self.video

    @property
    def outdated(self) -> bool:
        """Whether the annotated video is of before a change, as of a name given meanwhile."""
        return self.rendered not in (-1, self.revision)

    @property
    def tracks(self) -> Tracks:
        """The rows on disk; workers alone add to them."""
        return Tracks(self.folder.path, self.video["count"])

    def times(self) -> NDArray[np.float64]:
        """Seconds of each frame."""
        return np.frombuffer(self.folder.read("times.bin") or b"", np.float64)

    def pending(self) -> int:
        """Frames that `track` would go over; those between two boxes count once each way."""
        if not self.prepared or not self.prompts:
            return 0
        return sum(run.frames for run in plan(self.prompts, self.tracks, backward=self.backward))

    def public(self) -> dict[str, Any]:
        """What the API tells."""
        progress = self.progress
        return {
            "id": self.id,
            "name": self.name,
            "created": self.created,
            "status": self.status,
            "video": self.video or None,
            "objects": [
                {
                    "id": n,
                    "name": self.names.get(n),
                    "prompts": [{"frame": f, "box": list(b)} for f, b in sorted(g.items())],
                }
                for n, g in sorted(self.prompts.items())
            ],
            "backward": self.backward,
            "wanted": self.wanted and bool(self.prompts),
            "revision": self.revision,
            "rendered": self.rendered == self.revision,
            "outdated": self.outdated,
            "engine": self.engine or None,
            "error": self.error,
            "pending": self.pending(),
            "progress": progress and {"done": progress[0], "total": progress[1]},
        }

    def save(self) -> None:
        """Write down all that a restart needs.

        Raises:
            RefusedError: it cannot be written.
        """
        content = {name: getattr(self, name) for name in _SAVED}
        content["prompts"] = {
            n: {f: list(b) for f, b in g.items()} for n, g in self.prompts.items()
        }
        content["names"] = self.names
        with writing():
            self.folder.write_json("job.json", content)

    def try_to_save(self) -> None:
        """The same where nobody waits for an answer."""
        try:
            self.save()
        except RefusedError as error:
            logger.warning("job %s is not saved: %s", self.id, error)

    @classmethod
    def load(cls, folder: JobFolder) -> Job | None:
        """A job as it was saved, by a later version too; None where its file is damaged."""
        content = folder.read_json("job.json")
        try:
            if content is None:
                return None
            prompts = {
                int(n): {int(f): Box.parse(b).xywh for f, b in g.items()}
                for n, g in content["prompts"].items()
            }
            names = {int(n): str(name) for n, name in content.get("names", {}).items()}
            known = {name: content[name] for name in _SAVED if name in content}
            return cls(folder, prompts=prompts, names=names, **known)
        except (TypeError, ValueError, KeyError, AttributeError):
            return None

    def tell(self, message: dict[str, Any] | None = None) -> None:
        """Pass a message to everybody who watches; the job itself without one."""
        message = message or {"type": "job", "job": self.public()}
        for queue in list(self.listeners):
            if queue.qsize() < _LONGEST_QUEUE:
                queue.put_nowait(message)
            else:
                self.listeners.discard(queue)
                queue.put_nowait(None)

    def tell_rows(self, rows: list[list[float]]) -> None:
        """Tell the page the merged results of the frames that came in.

        Args:
            rows: Object and frame, then `COLUMNS`.
        """
        tracks = self.tracks
        for number in sorted({int(row[0]) for row in rows}):
            given = self.prompts.get(number)
            if given is None:
                continue
            frames = [int(row[1]) for row in rows if row[0] == number]
            start, stop = min(frames), max(frames) + 1
            merged = tracks.merged(number, given, start, stop).tolist()
            total = self.progress and {"done": self.progress[0], "total": self.progress[1]}
            self.tell(
                {
                    "type": "rows",
                    "id": number,
                    "start": start,
                    "rows": [row if row[0] == row[0] else None for row in merged],
                    "progress": total,
                    "revision": self.revision,
                }
            )

    def drop_beyond_end(self) -> None:
        """Take back boxes on frames that the video turned out not to have, and say so."""
        if not self.prepared:
            return
        count = self.video["count"]
        late = max((frame for given in self.prompts.values() for frame in given), default=0)
        if late < count:
            return
        kept = {n: {f: b for f, b in g.items() if f < count} for n, g in self.prompts.items()}
        self.prompts = {number: given for number, given in kept.items() if given}
        self.wanted = self.wanted and bool(self.prompts)
        self.revision += 1
        self.error = (
            f"the video has frames 0 to {count - 1}; the box on frame {late} and others beyond "
            "its end were taken back"
        )

    def set_prompt(self, number: int, frame: int, box: Box, most: int) -> None:
        """Take a box from hand, and undo what it makes wrong.

        Raises:
            RefusedError: a frame that the video has not, a box outside of it, or too many objects.
        """
        if not self.video:
            raise RefusedError(409, "this video has not been opened yet; wait a moment")
        count = self.video.get("count")
        if count is not None and frame >= count:
            raise RefusedError(
                422, f"the video has frames 0 to {count - 1}, there is no frame {frame}"
            )
        width, height = self.video["width"], self.video["height"]
        inside = box.intersect(width, height)
        if inside is None:
            raise RefusedError(422, f"box {box.xywh} lies outside of frames of {width} x {height}")
        if number not in self.prompts and len(self.prompts) >= most:
            raise RefusedError(409, f"a job has at most {most} objects; delete one first")
        if inside.w < 1 or inside.h < 1:
            raise RefusedError(422, f"box {box.xywh} covers less than a pixel; draw a larger one")
        # Bits of float error are not worth another box.
        whole = min(box.x, box.y) >= 0 and box.x + box.w <= width and box.y + box.h <= height
        self.prompts.setdefault(number, {})[frame] = (box if whole else inside).xywh
        self._undo(number, frame)

    def remove_prompt(self, number: int, frame: int) -> None:
        """Take a box back; an object without any is gone.

        Raises:
            RefusedError: there is no such box.
        """
        given = self.prompts.get(number, {})
        if frame not in given:
            raise RefusedError(404, f"object {number} has no box on frame {frame}")
        del given[frame]
        if given:
            self._undo(number, frame)
        else:
            self.remove_object(number)

    def set_name(self, number: int, name: str) -> None:
        """Say what an object is, for the annotated video and label tools; no name takes it back.

        Raises:
            RefusedError: there is no such object, or it is no name that can be shown.
        """
        if number not in self.prompts:
            raise RefusedError(404, f"there is no object {number}")
        if not name.isprintable():
            raise RefusedError(422, f"{name!r} is no name that can be shown; use letters")
        self.names.pop(number, None)
        if name.strip():
            self.names[number] = name.strip()
        self.revision += 1

    def remove_object(self, number: int) -> None:
        """Drop an object.

        Raises:
            RefusedError: there is no such object.
        """
        if self.prompts.pop(number, None) is None:
            raise RefusedError(404, f"there is no object {number}")
        self.names.pop(number, None)
        if self.prepared:
            self.tracks.remove(number)
        self.revision += 1

    def _undo(self, number: int, frame: int) -> None:
        """Forget results that a box on this frame changes: up to its neighbours."""
        self.revision += 1
        self.error = None
        for direction in ("forward", "backward"):
            self.folder.file(f"state-{number}-{direction}.bin").unlink(missing_ok=True)
            for path in self.folder.path.glob(f"look-{number}-{direction}-{frame}-*.bin"):
                path.unlink(missing_ok=True)
        if not self.prepared:
            return
        others = [one for one in self.prompts[number] if one != frame]
        before, after = neighbours(others, frame, self.video["count"])
        tracks = self.tracks
        tracks.forget(number, "forward", frame, after)
        tracks.forget(number, "backward", before + 1, frame + 1)

    def look_from(self, number: int, frame: int) -> dict[str, Any]:
        """From which box and templates the network would look at a frame.

        Raises:
            RefusedError: there is no such object or frame.
        """
        given = self.prompts.get(number)
        if not given or not self.prepared or not 0 <= frame < self.video["count"]:
            raise RefusedError(404, f"there is no frame {frame} with object {number}")
        earlier = [one for one in given if one <= frame]
        direction: Direction = "forward" if earlier else "backward"
        prompt = max(earlier) if earlier else min(given)
        step = 1 if earlier else -1
        rows = self.tracks.rows(number, direction)
        box, as_given = list(given[prompt]), True
        if frame != prompt and not np.isnan(rows[frame - step, 0]):
            box = rows[frame - step, :4].tolist()
            as_given = box == rows[prompt, :4].tolist()  # a frame that cannot be read repeats it
        best: tuple[int, Path] | None = None
        for path in self.folder.path.glob(f"look-{number}-{direction}-{prompt}-*.bin"):
            made = int(path.stem.rpartition("-")[2])
            known = made == prompt or (frame - made) * step > 0
            if known and (best is None or (made - best[0]) * step > 0):
                best = (made, path)
        state = str(best[1]) if best else None
        return {
            "frame": frame,
            "box": box,
            "given": as_given,
            "state": state,
            "prompt": [prompt, *given[prompt]],
        }

    def labels(self) -> tuple[str, ...]:
        """Names of objects 1, 2, ...; none where none has one."""
        numbers = range(1, max(self.names, default=0) + 1)
        return tuple(self.names.get(number) or label_of((), number) for number in numbers)

    def write_journal(self, tool: str) -> Path:
        """The results as a journal, from which all formats are made.

        It appears whole or not at all: a worker may be drawing the video of an earlier one.

        Raises:
            RefusedError: it cannot be written.
        """
        from ..tracking.result import TrackResult

        times, tracks = self.times(), self.tracks
        frames: dict[int, dict[int, TrackResult]] = {}
        for number, given in sorted(self.prompts.items()):
            for result in tracks.results(number, given, times):
                frames.setdefault(result.frame, {})[number] = result
        header = RunHeader(
            source=self.name,
            width=self.video["width"],
            height=self.video["height"],
            fps=self.video["fps"],
            model=self.engine.get("name", ""),
            engine=self.engine.get("engine", ""),
            tool=tool,
            labels=self.labels(),
        )
        path, part = self.folder.file("results.jsonl"), self.folder.file("results.part.jsonl")
        with writing():
            part.unlink(missing_ok=True)
            with JournalWriter(part, header) as journal:
                for _, results in sorted(frames.items()):
                    for number, result in results.items():
                        journal.write(number, result)
                journal.end("source", frames=self.video["count"], broken=len(self.video["broken"]))
            os.replace(part, path)
        return path
