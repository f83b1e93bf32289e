"""Results as labels on the frames of a FiftyOne video dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..video.formats.journal import Journal

if TYPE_CHECKING:
    import fiftyone

__all__ = ["to_dataset", "to_sample"]


def to_sample(
    video: str | Path,
    journal: str | Path | Journal,
    *,
    field: str = "tracks",
    label: str | None = None,
) -> fiftyone.Sample:
    """One video with its results.

    Args:
        video: The file.
        journal: What `mixformerv2 track --boxes out.jsonl` wrote of it.
        field: Name of the field on the frames.
        label: What the objects are called; what `--label` named them, or "object", where None.

    Returns:
        A sample whose frames have `Detections` in `field`: boxes as shares of the picture,
        `confidence`, the object's number as `index`, `state`. Lost targets are among them; the
        view `filter_labels("frames.tracks", F("state") != "lost")` leaves them out.

    Raises:
        ImportError: fiftyone is not installed (`pip install fiftyone`).
        DataError: the journal is damaged.
    """
    import fiftyone as fo

    rows = journal if isinstance(journal, Journal) else Journal(journal)
    width, height = rows.header.width, rows.header.height
    frames: dict[int, list[Any]] = {}
    for number, result in rows:
        x, y, w, h = result.box
        detection = fo.Detection(
            label=rows.header.label(number) if label is None else label,
            bounding_box=[x / width, y / height, w / width, h / height],
            confidence=result.score,
            index=number,
            state=result.state,
        )
        frames.setdefault(result.frame + 1, []).append(detection)  # FiftyOne counts from 1
    sample = fo.Sample(filepath=str(Path(video).absolute()))
    for number, detections in frames.items():
        sample.frames[number] = fo.Frame(**{field: fo.Detections(detections=detections)})
    return sample


def to_dataset(
    videos: Mapping[str | Path, str | Path | Journal],
    *,
    name: str | None = None,
    field: str = "tracks",
    label: str | None = None,
) -> fiftyone.Dataset:
    """A video dataset of several runs.

    Args:
        videos: The journal of each video.
        name: Of the dataset; one that FiftyOne makes up where None.
        field: As for `to_sample`.
        label: As for `to_sample`.

    Raises:
        ImportError: fiftyone is not installed.
        ConfigError: there is a dataset of that name already.
        DataError: a journal is damaged.

    Example:
        >>> dataset = to_dataset({"clip.mp4": "clip.jsonl"}, name="runs")  # doctest: +SKIP
        >>> fiftyone.launch_app(dataset)  # doctest: +SKIP
    """
    import fiftyone as fo

    if name is not None and fo.dataset_exists(name):
        raise ConfigError(
            f"FiftyOne has a dataset {name!r} already; choose another name or delete it with "
            f"fiftyone.delete_dataset({name!r})"
        )
    # Made before the dataset: a damaged journal must not leave half of one behind.
    samples = [
        to_sample(video, journal, field=field, label=label) for video, journal in videos.items()
    ]
    dataset = fo.Dataset(name)
    dataset.media_type = "video"
    dataset.add_samples(samples)
    return dataset
