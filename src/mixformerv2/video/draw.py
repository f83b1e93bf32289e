"""Boxes, scores and where they came from, drawn into a frame."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from ..tracking.result import TargetState, TrackResult

__all__ = ["STATE_COLOURS", "Overlay"]

Colour = tuple[int, int, int]
Point = tuple[float, float]

STATE_COLOURS: dict[TargetState, Colour] = {
    "tracked": (106, 214, 58),
    "uncertain": (36, 182, 255),
    "lost": (74, 70, 250),
}
"""BGR. Green, amber and red differ in brightness too, for eyes that do not tell the hues."""

_OBJECT_COLOURS: tuple[Colour, ...] = (
    (240, 190, 60),
    (180, 90, 250),
    (90, 215, 250),
    (235, 135, 160),
    (170, 220, 100),
    (110, 150, 250),
)
_INK: Colour = (24, 20, 18)
_PAPER: Colour = (245, 245, 245)
_SHIFT = 4  # OpenCV draws at sixteenths of a pixel, so that a slow target does not jump
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_DASHES = 1000
_ROWS = 4  # sparklines at most; more objects than that would hide the picture
_LETTERS = 24  # of a name


class _Moment(NamedTuple):
    """What is remembered of one frame of one object."""

    centre: Point
    score: float
    state: TargetState


class Overlay:
    """Draws results into frames and remembers what trails and sparklines need.

    The size of lines and letters follows the size of the picture. A box is green, amber or red by
    its state, and broken into dashes where the target is lost. With several objects, labels and
    trails have a colour for each.

    Args:
        trail: Frames that the trail of the centre reaches back; 0 for none.
        history: Frames in the sparkline of the score; 0 for none.

    Example:
        >>> result = TrackResult((10, 20, 40, 30), 0.9, "tracked", 0, 0.0)
        >>> Overlay().draw(np.zeros((120, 160, 3), np.uint8), {1: result}).shape
        (120, 160, 3)
    """

    def __init__(self, *, trail: int = 40, history: int = 120) -> None:
        self._trail = trail
        self._history = history
        self._past: dict[int, deque[_Moment]] = {}

    def draw(
        self,
        image: NDArray[np.uint8],
        results: Mapping[int, TrackResult],
        *,
        note: str | None = None,
        labels: Mapping[int, str] | None = None,
    ) -> NDArray[np.uint8]:
        """A copy of the frame with everything drawn into it.

        Args:
            image: `[H, W, 3]` uint8, BGR. Left as it is.
            results: By the number of the object.
            note: A remark at the bottom, such as that the frame is a repeated one.
            labels: What the objects are, by their numbers; more than the first letters of a long
                name are not drawn.
        """
        canvas = np.ascontiguousarray(image).copy()
        pen = _Pen(canvas)
        self._remember(results)
        alone = len(self._past) == 1
        for number, result in results.items():
            colour = STATE_COLOURS[result.state]
            own = colour if alone else _OBJECT_COLOURS[(number - 1) % len(_OBJECT_COLOURS)]
            self._draw_trail(pen, number, own)
            _draw_box(pen, result, colour)
            words = [] if alone else [f"{number}"]
            if labels and number in labels:
                words.append(labels[number][:_LETTERS])
            _draw_label(pen, result, own, " ".join(words))
        if self._history:
            self._draw_scores(pen)
        if note:
            width, height = pen.chip_size(note)
            corner = (pen.width - width - 2 * pen.gap, pen.height - height - 2 * pen.gap)
            pen.chip(note, corner, _INK, _PAPER)
        return canvas

    def _remember(self, results: Mapping[int, TrackResult]) -> None:
        for number in [number for number in self._past if number not in results]:
            del self._past[number]
        for number, result in results.items():
            x, y, w, h = result.box
            past = self._past.setdefault(
                number, deque(maxlen=max(1, self._trail + 1, self._history))
            )
            past.append(_Moment((x + w / 2, y + h / 2), result.score, result.state))

    def _draw_trail(self, pen: _Pen, number: int, colour: Colour) -> None:
        past = list(self._past[number])[-(self._trail + 1) :]
        for age, (a, b) in enumerate(zip(past[-2::-1], past[:0:-1], strict=True)):
            # No line through the time in which nobody knows where the target was.
            if "lost" not in (a.state, b.state):
                freshness = 1 - age / max(1, self._trail)
                pen.line(a.centre, b.centre, colour, 0.6 + 1.4 * freshness)

    def _draw_scores(self, pen: _Pen) -> None:
        rows = list(self._past.items())[:_ROWS]
        height = 24 * pen.unit
        width = min(118 * pen.unit, pen.width - 4 * pen.gap)
        top = pen.height - 2 * pen.gap - height * len(rows)
        if width < 40 * pen.unit or top < 0.5 * pen.height:
            return  # too small a picture: the scores at the boxes have to do
        pen.shade((2 * pen.gap, top), (2 * pen.gap + width, pen.height - 2 * pen.gap))
        for row, (number, past) in enumerate(rows):
            label = None if len(self._past) == 1 else f"{number}"
            _draw_sparkline(
                pen,
                list(past)[-self._history :],
                corner=(2 * pen.gap, top + row * height),
                size=(width, height),
                steps=self._history,
                label=label,
            )


def _draw_sparkline(
    pen: _Pen,
    past: list[_Moment],
    *,
    corner: Point,
    size: Point,
    steps: int,
    label: str | None,
) -> None:
    """Scores from left to right, 0 at the bottom and 1 at the top; the last as a number."""
    value = f"{past[-1].score:.2f}"
    room = pen.text_size("0.00")[0] + 3 * pen.gap
    left = corner[0] + 2 * pen.gap + (pen.text_size("0")[0] + pen.gap if label else 0)
    right = corner[0] + size[0] - room
    top, bottom = corner[1] + 1.5 * pen.gap, corner[1] + size[1] - 1.5 * pen.gap
    pen.line((left, bottom), (right, bottom), (110, 110, 110), 0.5)

    def place(index: int) -> Point:
        score = min(max(past[index].score, 0.0), 1.0)
        x = right - (len(past) - 1 - index) * (right - left) / max(1, steps - 1)
        return (x, bottom - score * (bottom - top))

    for index in range(1, len(past)):
        pen.line(place(index - 1), place(index), STATE_COLOURS[past[index].state], 1.2)
    pen.dot(place(len(past) - 1), STATE_COLOURS[past[-1].state], 2.0)
    middle = (top + bottom) / 2
    pen.text(value, (right + 1.5 * pen.gap, middle), _PAPER)
    if label:
        pen.text(label, (corner[0] + 1.5 * pen.gap, middle), _PAPER)


def _draw_box(pen: _Pen, result: TrackResult, colour: Colour) -> None:
    x, y, w, h = result.box
    corners: list[Point] = [(x, y), (x + w, y), (x + w, y + h), (x, y + h)]
    sides = list(zip(corners, corners[1:] + corners[:1], strict=True))
    draw = pen.dashes if result.state == "lost" else pen.line
    for ink, edge in ((_INK, 0.9), (colour, 0.0)):  # a dark edge, seen on any background
        for a, b in sides:
            draw(a, b, ink, 1.6, edge)


def _draw_label(pen: _Pen, result: TrackResult, colour: Colour, who: str) -> None:
    words = [f"{who}:"] if who else []
    words.append(f"{result.score:.2f}")
    if result.state != "tracked":
        words.append(result.state)
    text = " ".join(words)
    width, height = pen.chip_size(text)
    x, y, _, h = result.box
    left = min(max(x - pen.gap / 2, 0), pen.width - width)
    top = y - height - pen.gap
    if top < 0:  # no room above: below, or inside when the box fills the picture
        top = y + h + pen.gap if y + h + pen.gap + height <= pen.height else max(y, 0) + pen.gap
    pen.chip(text, (left, top), colour, _INK)


class _Pen:
    """Draws in real pixels, with thicknesses in units of the picture's size."""

    def __init__(self, canvas: NDArray[np.uint8]) -> None:
        self.canvas = canvas
        self.height, self.width = canvas.shape[:2]
        self.unit = max(0.75, min(self.height, self.width) / 360)
        self.gap = 3.0 * self.unit
        self._scale = 0.4 * self.unit
        self._weight = max(1, round(self.unit))

    def line(self, a: Point, b: Point, colour: Colour, units: float, edge: float = 0.0) -> None:
        """A line, wider by `edge` units on both sides."""
        thickness = max(1, round(units * self.unit))
        if edge:
            thickness += 2 * max(1, round(edge * self.unit))
        cv2.line(self.canvas, _fixed(a), _fixed(b), colour, thickness, cv2.LINE_AA, _SHIFT)

    def dashes(self, a: Point, b: Point, colour: Colour, units: float, edge: float = 0.0) -> None:
        """A line of an odd number of dashes and gaps, so that it ends as it begins."""
        length = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
        pieces = 2 * round(length / (14 * self.unit)) + 1
        if pieces > _DASHES:  # far out of the picture: there is no end to see
            self.line(a, b, colour, units, edge)
            return
        for piece in range(0, pieces, 2):
            ends = [piece / pieces, (piece + 1) / pieces]
            c, d = ((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for t in ends)
            self.line(c, d, colour, units, edge)

    def dot(self, centre: Point, colour: Colour, units: float) -> None:
        radius = round(units * self.unit * (1 << _SHIFT))
        cv2.circle(self.canvas, _fixed(centre), radius, colour, -1, cv2.LINE_AA, _SHIFT)

    def shade(self, a: Point, b: Point) -> None:
        """Darken a rectangle, so that light lines are seen on it."""
        part = self.canvas[max(0, round(a[1])) : round(b[1]), max(0, round(a[0])) : round(b[0])]
        part[:] = (part >> 2) + 12

    def text_size(self, text: str) -> tuple[int, int]:
        (width, height), _ = cv2.getTextSize(text, _FONT, self._scale, self._weight)
        return (int(width), int(height))

    def text(self, text: str, left_middle: Point, colour: Colour) -> None:
        height = self.text_size("0")[1]
        origin = (round(left_middle[0]), round(left_middle[1] + height / 2))
        cv2.putText(
            self.canvas, text, origin, _FONT, self._scale, colour, self._weight, cv2.LINE_AA
        )

    def chip_size(self, text: str) -> Point:
        width, height = self.text_size(text)
        return (width + 2.4 * self.gap, height + 2.4 * self.gap)

    def chip(self, text: str, corner: Point, colour: Colour, ink: Colour) -> None:
        """Letters on a filled plate."""
        width, height = self.chip_size(text)
        far = (corner[0] + width, corner[1] + height)
        cv2.rectangle(
            self.canvas, _fixed(corner), _fixed(far), colour, cv2.FILLED, cv2.LINE_AA, _SHIFT
        )
        self.text(text, (corner[0] + 1.2 * self.gap, corner[1] + height / 2), ink)


def _fixed(point: Point) -> tuple[int, int]:
    # OpenCV keeps these as 32-bit numbers with the shift inside.
    limit = 1 << 26
    x, y = (min(max(round(v * (1 << _SHIFT)), -limit), limit) for v in point)
    return (x, y)
