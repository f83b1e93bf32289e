"""label-studio-ml serves our backend, and the SDK's own check passes what we give out.

The release on the package index is 1.0.9; the later ones, from its repository, call `predict` with
the same arguments and take lists of dictionaries too.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from label_studio_ml.api import init_app
from label_studio_ml.model import LabelStudioMLBase
from label_studio_sdk.label_interface import LabelInterface

from mixformerv2 import iou, track
from mixformerv2.integrations.label_studio import backend
from mixformerv2.video import open_source
from mixformerv2.video.formats import export
from mixformerv2.video.formats.journal import Journal, JournalWriter, RunHeader

from .conftest import DEMO, FIRST

CONFIG = """
<View>
  <Labels name="labels" toName="film"><Label value="toy"/></Labels>
  <Video name="film" value="$clip" framerate="30"/>
  <VideoRectangle name="rect" toName="film"/>
</View>
"""
SIZE = (512, 288)


def drawn(size: tuple[int, int]) -> dict[str, Any]:
    """What Label Studio sends when somebody has drawn the target on the first frame."""
    x, y, w, h = FIRST
    width, height = size
    key = {
        "frame": 1,
        "time": 1 / 30,
        "enabled": True,
        "rotation": 0,
        "x": 100 * x / width,
        "y": 100 * y / height,
        "width": 100 * w / width,
        "height": 100 * h / height,
    }
    return {
        "id": "Xy1",
        "type": "videorectangle",
        "from_name": "rect",
        "to_name": "film",
        "origin": "manual",
        "value": {"labels": ["toy"], "framesCount": 100, "duration": 100 / 30, "sequence": [key]},
    }


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The demo clip as Label Studio serves it; the backend's cache goes to a folder of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    handler = partial(SimpleHTTPRequestHandler, directory=str(DEMO.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{DEMO.name}"
        server.shutdown()
        thread.join()


@pytest.fixture
def size() -> tuple[int, int]:
    with open_source(DEMO) as source:
        assert source.size is not None
        return source.size


def test_the_server_of_label_studio_ml_answers(
    size: tuple[int, int], address: str, tmp_path: Path
) -> None:
    made = backend("t", "onnx", frames=6)
    assert issubclass(made, LabelStudioMLBase)
    app = init_app(model_class=made, model_dir=str(tmp_path), redis_host=None)
    client = app.test_client()
    assert client.get("/health").get_json()["status"] == "UP"
    setup = {"project": "1.1", "schema": CONFIG, "hostname": "", "access_token": ""}
    assert client.post("/setup", json=setup).status_code == 200
    ask = {
        "tasks": [{"id": 4, "data": {"clip": address}}],
        "project": "1.1",
        "label_config": CONFIG,
        "params": {"context": {"result": [drawn(size)]}},
    }
    reply = client.post("/predict", json=ask)
    assert reply.status_code == 200, reply.data
    (prediction,) = reply.get_json()["results"]
    (region,) = prediction["result"]
    assert {name: region[name] for name in ("id", "from_name", "to_name")} == {
        "id": "Xy1",
        "from_name": "rect",
        "to_name": "film",
    }
    keys = region["value"]["sequence"]
    assert [key["frame"] for key in keys] == [1, 2, 3, 4, 5, 6, 7]
    width, height = size
    for key, result in zip(keys, track(DEMO, FIRST, engine="onnx"), strict=False):
        box = (key["x"] * width, key["y"] * height, key["width"] * width, key["height"] * height)
        assert iou([value / 100 for value in box], result.box) > 0.999
    assert LabelInterface(CONFIG).validate_prediction(prediction)
    ask["params"] = {"context": {}}
    assert client.post("/predict", json=ask).get_json()["results"] == []


def test_the_import_file_is_a_task_that_the_sdk_takes(tmp_path: Path) -> None:
    with JournalWriter(tmp_path / "run.jsonl", RunHeader("clip.mp4", *SIZE, fps=30.0)) as out:
        for result, _ in zip(track(DEMO, FIRST, engine="onnx"), range(3), strict=False):
            out.write(1, result)
    export(Journal(tmp_path / "run.jsonl"), tmp_path / "run.labelstudio.json")
    (task,) = json.loads((tmp_path / "run.labelstudio.json").read_text())
    config = CONFIG.replace("rect", "box").replace("film", "video").replace("$clip", "$video")
    interface = LabelInterface(config.replace('value="toy"', 'value="object"'))
    # 2.1.2 forgets to hand predictions on when it checks a task that has some.
    assert interface.validate_task({"data": task["data"]})
    assert not interface.validate_task({"data": {"film": "clip.mp4"}})
    assert interface.validate_prediction(task["predictions"][0])
    wrong = json.loads(json.dumps(task["predictions"][0]).replace('"box"', '"nobody"'))
    assert not interface.validate_prediction(wrong)
