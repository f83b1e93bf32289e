"""Feed damaged files to everything that reads files, led by coverage: make fuzz SECONDS=600.

    python scripts/fuzz.py config --seconds 600

An error of this package is a good answer; anything else that is raised is a find, which libFuzzer
leaves as `crash-*` in the folder of the corpus.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mixformerv2"]):
    import mixformerv2.runtime.onnx  # noqa: F401 - else imported late, and seen by nobody
    from mixformerv2.batch.manifest import read_manifest
    from mixformerv2.cli.boxes import read_boxes
    from mixformerv2.errors import MixFormerError
    from mixformerv2.runtime import load_engine
    from mixformerv2.settings import build, read_yaml
    from mixformerv2.tracking import TrackerSettings
    from mixformerv2.tracking.state import TrackState
    from mixformerv2.video import open_source
    from mixformerv2.video.formats.journal import Journal
    from mixformerv2.weights.bundle import find_bundle, read_config

ASSETS = find_bundle("t")


def _config(path: Path) -> None:
    read_config(path.parent)


def _settings(path: Path) -> None:
    build(TrackerSettings, {"template_size": 64, "search_size": 128, **read_yaml(path)})


def _manifest(path: Path) -> None:
    for _ in read_manifest(str(path), str(path)):
        pass


def _journal(path: Path) -> None:
    for _ in Journal(path):
        pass


def _boxes(path: Path) -> None:
    read_boxes(path)


def _state(path: Path) -> None:
    TrackState.from_bytes(path.read_bytes())


def _video(path: Path) -> None:
    with open_source(path, read_ahead=1) as source:
        for frame in source:
            if frame.index > 20:
                break


def _bundle(path: Path) -> None:
    """A bundle whose checksums are right and whose search graph is anything at all."""
    info = {"weights_sha256": GOOD["weights_sha256"], "precision": "fp32", "parity": 0.0}
    graphs = {}
    for name, data in (("template.onnx", GRAPH), ("search.onnx", path.read_bytes())):
        (path.parent / name).write_bytes(data)
        graphs[name] = {"sha256": hashlib.sha256(data).hexdigest(), **info}
    (path.parent / "config.json").write_text(json.dumps(GOOD | {"graphs": graphs}))
    load_engine(path.parent, "onnx", threads=1)


def _field(number: int, value: bytes | int) -> bytes:
    """A field of a protobuf message; numbers and lengths below 128."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    return bytes([number << 3 | 2, len(value)]) + value


def _identity() -> bytes:
    """The smallest ONNX graph: what comes in goes out (fields as in onnx.proto)."""
    shape = _field(2, _field(1, _field(2, b"n")))
    kind = _field(2, _field(1, _field(1, 1) + shape))
    node = _field(1, b"x") + _field(2, b"y") + _field(4, b"Identity")
    graph = _field(1, node) + _field(2, b"g")
    graph += _field(11, _field(1, b"x") + kind) + _field(12, _field(1, b"y") + kind)
    return _field(1, 8) + _field(7, graph) + _field(8, _field(2, 17))


GOOD = json.loads((ASSETS / "config.json").read_text())
GRAPH = _identity()
JOURNAL = (
    b'{"journal": 1, "source": "a.mp4", "width": 64, "height": 48, "fps": 25.0}\n'
    b'{"frame": 0, "time": 0.0, "id": 1, "box": [1, 2, 3, 4], "score": 1.0, "state": "tracked"}\n'
    b'{"end": "source", "frames": 1, "broken": 0}\n'
)
TARGETS: dict[str, tuple[str, Callable[[Path], None], bytes]] = {
    "bundle": ("fuzzed.onnx", _bundle, GRAPH),
    "config": ("config.json", _config, (ASSETS / "config.json").read_bytes()),
    "settings": ("a.yaml", _settings, b"search_factor: 4.5\nmirror: true\nlost_below: 1e-1\n"),
    "manifest": ("a.csv", _manifest, b"video,x,y,w,h,start,id\na.mp4,1,2,3,4,5,6\n"),
    "rows": ("a.jsonl", _manifest, b'{"video": "a.mp4", "box": [1, 2, 3, 4], "start": 5}\n'),
    "journal": ("a.jsonl", _journal, JOURNAL),
    "boxes": ("a.txt", _boxes, b"frame,x,y,w,h\n0,1,2,3,4\n"),
    "state": ("a.bin", _state, b""),
    "video": ("a.mp4", _video, (ASSETS.parent / "demo.mp4").read_bytes()[:200_000]),
}
"""Name of the file, what reads it, and a good one to start from."""


def main() -> None:
    """Run one target for some time."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("target", choices=TARGETS)
    options.add_argument("--seconds", type=int, default=60)
    options.add_argument("--corpus", type=Path, help="keep what was found between runs")
    given = options.parse_args()
    name, read, seed = TARGETS[given.target]
    place = Path(tempfile.mkdtemp())
    corpus = given.corpus or place / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    (corpus / "seed").write_bytes(seed)
    path = place / name

    def once(data: bytes) -> None:
        path.write_bytes(data)
        with contextlib.suppress(MixFormerError):
            read(path)

    how = [f"-max_total_time={given.seconds}", f"-artifact_prefix={corpus}/", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *how, "-max_len=300000", "-timeout=60", str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
