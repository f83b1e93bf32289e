"""What somebody has changed in a label tool is found against the journal of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from mixformerv2.box import Box
from mixformerv2.tracking.result import TargetState, TrackResult
from mixformerv2.video.formats.changes import find_changes
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader
from mixformerv2.video.formats.keyed import Keyed

FRAMES = range(10)
LOST = (6, 7)


def box_of(number: int, frame: int) -> Box:
    return Box(40.0 * number, 10.0 + frame, 20.0, 30.0)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    """Two objects, given on frame 0; the second was given anew on 5 and lost soon after."""
    with JournalWriter(tmp_path / "run.jsonl", RunHeader("clip.mp4", 200, 100)) as writer:
        for frame in FRAMES:
            for number in (1, 2):
                given = frame == 0 or (number == 2 and frame == 5)
                state = "lost" if number == 2 and frame in LOST else "tracked"
                score = 1.0 if given else 0.9
                box = box_of(number, frame)
                writer.write(number, TrackResult(tuple(box), score, state, frame, frame / 25))
    return Journal(tmp_path / "run.jsonl")


def keyed(number: int, frames: Sequence[int] = FRAMES, label: str | None = None) -> Keyed:
    """As a label tool has it after nothing was done; CVAT rounds to a hundredth."""
    keys: dict[int, Box | None] = {f: Box(*(v + 0.005 for v in box_of(number, f))) for f in frames}
    if number == 2:
        keys |= {frame: None for frame in LOST if frame in keys}
    return Keyed(label, keys)


def test_where_nothing_was_changed_nothing_is_to_be_tracked(journal: Journal) -> None:
    for frames in (FRAMES, [0, 3, 6, 8, 9]):  # thinned
        one, two = find_changes([keyed(1, frames), keyed(2, frames)], journal)
        assert (one.id, two.id, one.known, two.known) == (1, 2, True, True)
        assert not one.prompts
        assert not one.hidden
        assert one.first == 0
        assert not two.prompts
        assert not two.hidden


def test_moved_boxes_hold_and_so_does_what_was_given_before(journal: Journal) -> None:
    mended = keyed(2)
    mended.keys[3] = Box(80.0, 13.0, 22.0, 30.0)
    mended.keys[8] = Box(*(value + 0.4 for value in box_of(2, 8)))  # nobody mends by so little
    one, two = find_changes([keyed(1), mended], journal)
    assert not one.prompts
    assert two.prompts == {0: box_of(2, 0), 3: mended.keys[3], 5: box_of(2, 5)}
    assert list(two.prompts) == [0, 3, 5]
    assert two.corrected == 1
    mended.keys[5] = Box(70.0, 15.0, 20.0, 30.0)  # the given box itself
    _, two = find_changes([keyed(1), mended], journal)
    assert two.prompts[5] == mended.keys[5]
    assert two.corrected == 2


def test_objects_that_a_tool_numbers_anew_are_known_by_their_boxes(journal: Journal) -> None:
    (only,) = find_changes([keyed(2, label="cat")], journal)  # the first one was thrown away
    assert (only.id, only.label, only.prompts) == (2, "cat", {})
    fresh = Keyed("dog", {4: Box(150.0, 50.0, 20.0, 20.0), 6: Box(155.0, 50.0, 20.0, 20.0)})
    two, new = find_changes([fresh, keyed(2)], journal)
    assert (two.id, new.id, new.known, new.first) == (2, 3, False, 4)
    assert new.prompts == fresh.keys
    assert new.corrected == 2
    (new,) = find_changes([fresh], journal)
    assert (new.id, new.known) == (1, False)


def test_hidden_stretches_are_those_that_the_run_did_not_lose(journal: Journal) -> None:
    mended = keyed(2)
    mended.keys.update({4: None, 5: None})
    (two,) = find_changes([mended], journal)
    assert two.hidden == ((4, 8),)
    assert [two.hides(frame) for frame in (3, 4, 7, 8)] == [False, True, True, False]
    # Where it is seen again somebody has looked; what was given on frame 5 is thrown out.
    assert two.prompts == {0: box_of(2, 0), 8: mended.keys[8]}
    gone = keyed(1, [0, 3])
    gone.keys[4] = None
    (one,) = find_changes([gone], journal)
    assert one.hidden == ((4, None),)
    assert one.hides(99)
    assert not one.prompts


def test_a_box_shown_where_the_run_had_lost_the_object_holds(journal: Journal) -> None:
    found = keyed(2)
    found.keys[6] = box_of(2, 6)
    (two,) = find_changes([found], journal)
    assert two.prompts == {0: box_of(2, 0), 5: box_of(2, 5), 6: box_of(2, 6)}
    # A format without a word for it says nothing by a row.
    rows = {frame: box_of(2, frame) for frame in FRAMES}
    (two,) = find_changes([Keyed(None, dict(rows), tells=False)], journal)
    assert not two.prompts
    rows[6] = Box(90.0, 16.0, 20.0, 30.0)
    (two,) = find_changes([Keyed(None, dict(rows), tells=False)], journal)
    assert two.prompts[6] == rows[6]


def test_an_object_that_begins_later_now_begins_there(journal: Journal) -> None:
    late = keyed(1, range(3, 10))
    (one,) = find_changes([late], journal)
    assert (one.first, one.prompts) == (3, {})
    late.keys[7] = Box(30.0, 17.0, 20.0, 30.0)
    (one,) = find_changes([late], journal)
    assert (one.first, one.prompts) == (3, {7: late.keys[7]})


def test_without_a_journal_every_box_holds() -> None:
    one = replace(keyed(2), label="cat")
    (two,) = find_changes([one], None)
    assert two.prompts == {frame: box for frame, box in one.keys.items() if box}
    assert (two.id, two.known, two.hidden) == (1, False, ((6, 8),))


def written(path: Path, rows: Sequence[tuple[int, float, TargetState]]) -> Journal:
    """One object; frame, score and state of each row."""
    with JournalWriter(path, RunHeader("clip.mp4", 200, 100)) as writer:
        for frame, score, state in rows:
            writer.write(1, TrackResult(tuple(box_of(1, frame)), score, state, frame, frame / 25))
    return Journal(path)


def test_of_a_network_without_a_score_the_first_box_is_the_given_one(tmp_path: Path) -> None:
    journal = written(tmp_path / "run.jsonl", [(frame, 1.0, "tracked") for frame in FRAMES])
    mended = keyed(1)
    mended.keys[4] = Box(20.0, 14.0, 20.0, 30.0)
    (one,) = find_changes([mended], journal)
    assert list(one.prompts) == [0, 4]


def test_a_network_that_is_quite_sure_gives_no_box(tmp_path: Path) -> None:
    """A score of half precision is soon 1; what was given, the journal has noted."""
    header = RunHeader("clip.mp4", 200, 100, given=((1, 0), (1, 5)))
    with JournalWriter(tmp_path / "run.jsonl", header) as writer:
        for frame in FRAMES:
            # The box of frame 5 has waited for the next one that could be decoded.
            score, state = (0.0, "lost") if frame == 5 else (1.0 - (frame == 9) / 8, "tracked")
            box = tuple(box_of(1, frame))
            writer.write(1, TrackResult(box, score, state, frame, frame / 25))  # type: ignore[arg-type]
    mended = keyed(1)
    mended.keys[3] = Box(20.0, 14.0, 20.0, 30.0)
    mended.keys.pop(5)
    (one,) = find_changes([mended], Journal(tmp_path / "run.jsonl"))
    assert list(one.prompts) == [0, 3, 6]


def test_what_was_lost_from_the_beginning_on_is_no_later_beginning(tmp_path: Path) -> None:
    states: list[TargetState] = ["lost", "lost", *["tracked"] * 8]  # type: ignore[list-item]
    rows = [(frame, float(frame == 5), state) for frame, state in enumerate(states)]
    journal = written(tmp_path / "run.jsonl", rows)
    shown = keyed(1, range(2, 10))
    for start in ({}, {0: None, 1: None}, {0: None}):  # as CVAT has it, whole and thinned
        (one,) = find_changes([replace(shown, keys=start | shown.keys)], journal)
        assert (one.first, one.hidden, one.prompts) == (0, (), {})
    (one,) = find_changes([keyed(1, range(3, 10))], journal)
    assert one.first == 3  # somebody has taken the second frame away
