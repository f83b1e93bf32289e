"""The serverless function as nuclio calls it: requests and responses are plain values there."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mixformerv2 import Tracker
from mixformerv2.integrations.cvat import handler, init_context
from tests.doubles import moving_square

FIRST = (20.0, 40.0, 44.0, 64.0)
OTHER = (100.0, 60.0, 130.0, 100.0)


class Context:
    """nuclio's: user data, a logger and the class of responses."""

    def __init__(self) -> None:
        self.user_data = SimpleNamespace()
        self.logger = SimpleNamespace(info=lambda text: None)

    class Response(SimpleNamespace):
        body: str
        status_code: int


def coded(picture: NDArray[np.uint8]) -> str:
    return base64.b64encode(cv2.imencode(".png", picture)[1].tobytes()).decode()


def ask(context: Context, **body: Any) -> tuple[int, dict[str, Any]]:
    response = handler(context, SimpleNamespace(body=body))
    assert response.content_type == "application/json"
    return response.status_code, json.loads(response.body)


@pytest.fixture
def worker(small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("MIXFORMERV2_MODEL", str(small_bundle))
    monkeypatch.setenv("MIXFORMERV2_ENGINE", "onnx")
    context = Context()
    init_context(context)
    return context


def test_any_worker_carries_on_with_the_answers_of_one_tracker(
    worker: Context, small_bundle: Path
) -> None:
    frame = moving_square()
    other = Context()
    init_context(other)
    status, said = ask(worker, image=coded(frame(0)), shapes=[list(FIRST)], states=[])
    assert status == 200
    assert said["shapes"] == [list(FIRST)]
    tracker = Tracker(small_bundle, "onnx")
    tracker.init(frame(0), (20, 40, 24, 24))
    for number in range(1, 6):
        context = (worker, other)[number % 2]
        status, said = ask(
            context, image=coded(frame(number)), shapes=said["shapes"], states=said["states"]
        )
        x, y, w, h = tracker.update(frame(number)).box
        assert status == 200
        assert said["shapes"] == [[x, y, x + w, y + h]]
        assert len(said["states"][0]) < 100_000


def test_states_alone_say_where_the_objects_are(worker: Context) -> None:
    """As CVAT asks since its pull request 9548, of June 2025: shapes only where tracking begins."""
    frame = moving_square()
    _, said = ask(worker, image=coded(frame(0)), shapes=[list(FIRST), list(OTHER)], states=[])
    image, states = coded(frame(1)), said["states"]
    old = ask(worker, image=image, shapes=said["shapes"], states=states)
    assert [len(old[1][name]) for name in ("shapes", "states")] == [2, 2]
    assert ask(worker, image=image, shapes=[None, None], states=states) == old
    assert ask(worker, image=image, shapes=[], states=states) == old
    assert ask(worker, image=image, states=states) == old


def test_an_object_begins_while_another_is_followed(worker: Context) -> None:
    frame = moving_square()
    _, said = ask(worker, image=coded(frame(0)), shapes=[list(FIRST)], states=[None])
    x1, y1, x2, y2 = OTHER
    turned = {"type": "rectangle", "points": [x2, y2, x1, y1]}
    _, both = ask(
        worker,
        image=coded(frame(1)),
        shapes=[turned, said["shapes"][0]],
        states=[None, said["states"][0]],
    )
    _, alone = ask(worker, image=coded(frame(1)), shapes=said["shapes"], states=said["states"])
    assert both["shapes"][0] == list(OTHER)
    assert both["shapes"][1] == alone["shapes"][0] != list(FIRST)
    assert ask(worker, image=coded(frame(1)), shapes=[]) == (200, {"shapes": [], "states": []})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"image": "AAAA"}, "none that OpenCV can decode"),
        ({"image": "not base64!"}, "no picture in base64"),
        ({"image": None}, "none that OpenCV can decode"),
        ({"shapes": [[1, 2, 3]]}, "four numbers"),
        ({"shapes": [[1, 2, 1, 2]]}, "above zero"),
        ({"shapes": [None]}, "neither a rectangle nor a state"),
        ({"shapes": [], "states": [None]}, "neither a rectangle nor a state"),
        ({"shapes": 5}, "the shapes of a request are a list, got a value of type int"),
        ({"states": {"a": 1}}, "the states of a request are a list"),
        ({"shapes": [[10**400, 2, 3, 4]]}, "four numbers"),
        ({"shapes": [[900, 900, 950, 950]]}, "outside"),
        ({"states": ["%%%"]}, "state is base64"),
        ({"states": [7]}, "state is base64"),
        ({"states": [base64.b64encode(b"MFT1 and more").decode()]}, "state"),
    ],
)
def test_a_bad_request_is_told_what_is_wrong(
    worker: Context, change: dict[str, Any], sentence: str
) -> None:
    body: dict[str, Any] = {"image": coded(moving_square()(0)), "shapes": [list(FIRST)]}
    status, said = ask(worker, **{**body, **change})
    assert status == 400
    assert sentence in said["error"]


def test_a_body_that_nuclio_did_not_parse_is_read_as_json(worker: Context) -> None:
    body = json.dumps({"image": coded(moving_square()(0)), "shapes": [list(FIRST)]}).encode()
    assert handler(worker, SimpleNamespace(body=body)).status_code == 200
    for wrong in (b"{", b"[]", [], None, b"[" * 100_000):
        refused = handler(worker, SimpleNamespace(body=wrong))
        assert (refused.status_code, list(json.loads(refused.body))) == (400, ["error"])
