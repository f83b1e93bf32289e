"""From a file to a bundle: whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from mixformerv2.errors import ConfigError, OutputError, WeightsError
from mixformerv2.models import load
from mixformerv2.weights import from_official
from mixformerv2.weights.bundle import read_config
from mixformerv2.weights.convert import convert_checkpoint

from .published import state_dict


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "published.pth.tar"
    torch.save({"net": state_dict() | {"backbone.cls_token": torch.zeros(3)}}, path)
    return path


def test_bundle_has_the_weights_and_the_published_settings(
    checkpoint: Path, tmp_path: Path
) -> None:
    done = convert_checkpoint(checkpoint, tmp_path / "out")
    assert done.official.ignored == ("backbone.cls_token",)
    config = read_config(tmp_path / "out")
    assert config == done.bundle
    assert (config.name, config.bins, config.has_score) == ("out", 24, True)
    tracker = config.tracker
    assert (tracker.template_factor, tracker.search_factor) == (2.0, 4.5)
    assert (tracker.min_size, tracker.update_interval, tracker.update_threshold) == (10, 200, 0.5)
    assert config.provenance["converted_from"] == "published.pth.tar"
    assert set(config.graphs) == {"search.onnx", "template.onnx"}
    assert all((tmp_path / "out" / name).is_file() for name in config.graphs)
    kept, original = load(tmp_path / "out"), from_official(state_dict())
    for name, tensor in original.state_dict().items():
        assert torch.equal(kept.state_dict()[name], tensor.half().float()), name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "published.pth.tar"]


@pytest.mark.parametrize(
    ("search", "given", "expected"), [(16, None, 4.5), (324, None, 5.0), (324, 4.55, 4.55)]
)
def test_search_factor(
    search: int,
    given: float | None,
    expected: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mixformerv2.weights.convert.find_spec", lambda name: None)  # no graphs
    torch.save(state_dict(search=search), tmp_path / "it.pth")
    done = convert_checkpoint(tmp_path / "it.pth", tmp_path / "out", search_factor=given)
    assert done.bundle.tracker.search_factor == expected
    assert read_config(tmp_path / "out").graphs == {}


def test_nothing_is_written_when_anything_fails(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(ConfigError, match="search_factor must be from 1 to 16, got 99"):
        convert_checkpoint(checkpoint, tmp_path / "out", search_factor=99)

    def fails(folder: Path) -> None:
        raise WeightsError("the graph does not agree")

    monkeypatch.setattr("mixformerv2.export.export_bundle", fails)
    with pytest.raises(WeightsError, match="does not agree"):
        convert_checkpoint(checkpoint, tmp_path / "out")
    (tmp_path / "bad.pth").write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="cut short"):
        convert_checkpoint(tmp_path / "bad.pth", tmp_path / "out")
    (tmp_path / "bad.pth").unlink()
    assert sorted(tmp_path.rglob("*")) == before


def test_what_is_there_is_kept(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixformerv2.weights.convert.find_spec", lambda name: None)
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "one.jpg").touch()
    for overwrite in (False, True):
        with pytest.raises(OutputError, match="has other files in it"):
            convert_checkpoint(checkpoint, photos, overwrite=overwrite)
    with pytest.raises(OutputError, match="is a file"):
        convert_checkpoint(checkpoint, checkpoint)
    convert_checkpoint(checkpoint, tmp_path / "out")
    with pytest.raises(OutputError, match=r"holds a bundle already.*--overwrite"):
        convert_checkpoint(checkpoint, tmp_path / "out", search_factor=5)
    done = convert_checkpoint(checkpoint, tmp_path / "out", search_factor=5, overwrite=True)
    assert read_config(tmp_path / "out") == done.bundle
    assert done.bundle.tracker.search_factor == 5
    (tmp_path / "out" / "small").mkdir()
    with pytest.raises(OutputError, match=r"not replaced, for it has small in it beside a bundle"):
        convert_checkpoint(checkpoint, tmp_path / "out", overwrite=True)
    (photos / "config.json").write_text("{}")
    with pytest.raises(OutputError, match=r"photos is not replaced, for it may be no bundle"):
        convert_checkpoint(checkpoint, photos, overwrite=True)
    assert (photos / "one.jpg").exists()


def test_an_empty_folder_is_filled_and_stays_itself(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that somebody works in, or a link to another disk."""
    monkeypatch.setattr("mixformerv2.weights.convert.find_spec", lambda name: None)
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    convert_checkpoint(checkpoint, link)
    assert link.is_symlink()
    assert read_config(real).arch["width"] == 64
    convert_checkpoint(checkpoint, link, search_factor=5, overwrite=True)
    assert link.is_symlink()
    assert read_config(real).tracker.search_factor == 5
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    convert_checkpoint(checkpoint, Path())
    assert read_config(here).name == "here"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "here", "link", "published.pth.tar", "real",
    ]  # fmt: skip


def test_an_old_bundle_is_back_where_the_new_one_cannot_be_put(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mixformerv2.weights.convert.find_spec", lambda name: None)
    convert_checkpoint(checkpoint, tmp_path / "out")
    before = read_config(tmp_path / "out")
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if "part" in Path(source).name and "old" not in Path(source).name:
            raise OSError(13, "Permission denied")
        replace(source, target)

    with monkeypatch.context() as still:
        still.setattr("mixformerv2.weights.convert.os.replace", refuse)
        with pytest.raises(OutputError, match="Permission denied"):
            convert_checkpoint(checkpoint, tmp_path / "out", search_factor=5, overwrite=True)
    assert read_config(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "published.pth.tar"]
