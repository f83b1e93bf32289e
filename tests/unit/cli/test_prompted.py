"""`track --prompt`: several given boxes on the command line, and what is written for them."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import pytest

from mixformerv2.cli.prompted import read_prompts
from mixformerv2.cli.track import run
from mixformerv2.errors import BoxError, ConfigError
from mixformerv2.video import open_source
from tests.doubles import moving_square


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(7):
        cv2.imwrite(str(folder / f"{number}.png"), moving_square()(number))
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


def test_boxes_and_video_of_a_run_both_ways(
    frames: Path, small_bundle: Path, tmp_path: Path
) -> None:
    film, table = tmp_path / "out.mp4", tmp_path / "out.csv"
    run(
        str(frames),
        prompt=["5:30,40,24,24", "2:24,40,24,24"],
        out=film,
        boxes=[table],
        model=str(small_bundle),
        engine="onnx",
        quiet=True,
    )
    found = rows(table)
    assert [int(row["frame"]) for row in found] == list(range(7))
    assert [float(found[2][side]) for side in "xywh"] == [24, 40, 24, 24]
    assert [float(found[5][side]) for side in "xywh"] == [30, 40, 24, 24]
    with open_source(film) as source:
        assert sum(frame.image is not None for frame in source) == 7


def test_forward_alone_starts_at_the_first_box(
    frames: Path, small_bundle: Path, tmp_path: Path
) -> None:
    table = tmp_path / "out.csv"
    options = {"model": str(small_bundle), "engine": "onnx", "quiet": True}
    run(str(frames), prompt=["3:26,40,24,24"], reverse=False, boxes=[table], **options)  # type: ignore[arg-type]
    assert [int(row["frame"]) for row in rows(table)] == [3, 4, 5, 6]


@pytest.mark.parametrize(
    "texts", [["1,2,3,4"], ["x:1,2,3,4"], ["-1:1,2,3,4"], ["5:1,2,3"], ["5:1,2,3,4", "05:1,2,3,4"]]
)
def test_prompts_that_cannot_be_read_are_named(texts: list[str]) -> None:
    with pytest.raises(BoxError, match=r"prompt|box"):
        read_prompts(texts)


def test_prompts_go_with_no_other_way_of_giving_boxes(frames: Path) -> None:
    with pytest.raises(ConfigError, match="--prompt"):
        run(str(frames), box=["1,2,3,4"], prompt=["0:1,2,3,4"])
