"""Training samples from labelled videos of any layout that `data.datasets` reads.

Frames are picked as in the published training: `causal` takes the templates before the search, for
the box; `trident` takes the first template and the search anywhere and the online template near the
search, for the score. Crops are jittered as there. What a sample is depends on the random generator
alone.
"""

from __future__ import annotations

import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from .cache import local_copies
from .datasets import AnnotatedSequence, Dataset, Findings, choose, read_dataset
from .draft import Draft, Layout, Recipe, visible_share
from .pairs import Shot
from .store import VideoStore
from .warp import Pose, box_outline

__all__ = ["SamplingConfig", "SetConfig", "SetSampler", "causal", "trident"]

log = logging.getLogger(__name__)
Indices = NDArray[np.int64]
Moments = tuple[int, int, int]  # frames of the first template, the online template, the search
KEPT = 2048  # sequences whose labels stay in memory
TRIES = 50
WIDER = 5  # frames by which a gap grows where it holds no visible one, as published


@dataclass(frozen=True, slots=True)
class SetConfig:
    """One labelled data set to train on.

    Attributes:
        root: Folder, `.zip`, `.lmdb` or export; or several shards by one pattern
            (`got10k-*.zip`), here or at an address of fsspec, of which copies are kept.
        name: Its layout, a name of `mixformerv2 data layouts`; found out where not given.
        split: One split, such as "train"; all where not given.
        names: File with the names or numbers of the sequences to use.
        ratio: How often it is drawn from, over the sum of all ratios.
    """

    root: str | Path
    name: str | None = None
    split: str | None = None
    names: Path | None = None
    ratio: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.ratio < math.inf:
            raise ConfigError(f"the ratio of {self.root} must be above 0, got {self.ratio}")


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How frames of labelled videos are picked and cropped.

    Attributes:
        mode: "causal" for the box, "trident" for the score.
        max_gap: Most frames between the online template and the others (causal), or between it and
            the search (trident).
        centre_jitter: The target's centre lies up to half of this share of the search crop from
            its middle (published: 4.5 target sizes of a crop of 5).
        scale_jitter: Spread of the logarithm of the target's width and height in the search crop.
        flip: Share of samples that are mirrored.
        hidden: Of the samples that shall not show their target, the share that shows the very
            sequence in a frame where it is marked absent, where there is one; the others show
            another sequence.
    """

    mode: Literal["causal", "trident"] = "causal"
    max_gap: int = 200
    centre_jitter: float = 0.9
    scale_jitter: float = 0.5
    flip: float = 0.5
    hidden: float = 0.5

    def __post_init__(self) -> None:
        if self.max_gap < 1:
            raise ConfigError(f"sampling.max_gap must be at least 1 frame, got {self.max_gap}")
        for name in ("centre_jitter", "scale_jitter", "flip", "hidden"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"sampling.{name} must lie in 0..1, got {getattr(self, name)}")


def causal(rng: np.random.Generator, visible: Indices, max_gap: int) -> Moments:
    """Templates before the search, each at most `max_gap` frames from the online one.

    Args:
        rng: Its only source of chance.
        visible: Numbers of the frames that show the target, rising; at least two.
        max_gap: Grows by 5 where no visible frame follows within it.
    """
    place = int(rng.integers(len(visible) - 1))
    base = int(visible[place])
    earlier = visible[(visible >= base - max_gap) & (visible < base)]
    first = int(rng.choice(earlier)) if len(earlier) else base
    gap = max(max_gap, WIDER * math.ceil((int(visible[place + 1]) - base) / WIDER))
    later = visible[(visible > base) & (visible <= base + gap)]
    return first, base, int(rng.choice(later))


def trident(rng: np.random.Generator, visible: Indices, max_gap: int) -> Moments:
    """First template and search anywhere, the online template up to `max_gap` from the search.

    The online template lies on that side of the search on which the first template does.
    """
    first, search = (int(rng.choice(visible)) for _ in range(2))
    low, high = (search, search + max_gap) if first >= search else (search - max_gap, search)
    near = visible[(visible >= low) & (visible <= high)]
    return first, int(rng.choice(near)), search


@dataclass
class SetSampler:
    """Makes drafts of samples from labelled data sets.

    Args:
        sets: Where they lie and how often each is drawn from.
        config: How frames are picked.

    Raises:
        DataError: a set cannot be read.
    """

    sets: Sequence[SetConfig]
    config: SamplingConfig = field(default_factory=SamplingConfig)

    def __post_init__(self) -> None:
        self.datasets: list[Dataset] = []
        chances: list[float] = []
        for one in self.sets:
            shards = [
                read_dataset(shard, layout=one.name, split=one.split)
                for shard in local_copies(one.root)
            ]
            if one.names is not None:  # which is a list for all shards together
                shards = choose(shards, one.names)
            self.datasets += shards
            # Each sequence of a set equally often, in however large a shard.
            count = sum(map(len, shards))
            chances += [one.ratio * len(shard) / count for shard in shards]
        self._chance = np.array(chances) / sum(chances)
        self._loaded: OrderedDict[tuple[int, int], AnnotatedSequence] = OrderedDict()
        self._told: set[str] = set()
        for dataset in self.datasets:
            log.info("%r", dataset)
            if _holds_clips(dataset):
                log.warning(
                    "%s holds clips: to pick frames at random is slow there; "
                    "`mixformerv2 data pack %s OUT.zip --frames` takes them apart",
                    dataset.store.place, dataset.store.place,
                )  # fmt: skip

    def draft(self, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
        """One sample before light and noise.

        Raises:
            DataError: no sequence shows its target twice, or none of many could be read.
        """
        problem: DataError | None = None
        for _ in range(TRIES):
            try:
                made = self._draft(recipe, rng, absent)
            except DataError as error:
                # One damaged picture among millions must not end a run of days.
                problem = error
                if str(error) not in self._told:
                    self._told.add(str(error))
                    log.warning("left out: %s", error)
                continue
            if made is not None:
                return made
        places = ", ".join(str(one.root) for one in self.sets)
        lack = "none shows its target in two frames"
        if absent:
            lack = (
                "a sample without its target needs a second video, or frames that are marked "
                "absent; data.absent=0 trains without such samples"
            )
        raise DataError(
            f"{TRIES} sequences of {places} in a row gave no sample"
            + (f" ({problem})" if problem else f": {lack}")
            + "; see `mixformerv2 data check`"
        )

    def _draft(self, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft | None:
        sequence = self._sequence(rng)
        visible = np.flatnonzero(sequence.visible)
        if not len(visible) or (len(visible) < 2 and len(sequence) > 1):
            return None
        if len(visible) == 1:  # a video made of a still
            moments = (int(visible[0]),) * 3
        else:
            pick = causal if self.config.mode == "causal" else trident
            moments = pick(rng, visible, self.config.max_gap)
        shots = {moment: _shot(sequence, moment) for moment in dict.fromkeys(moments)}
        first, online, search = (shots[moment] for moment in moments)
        if absent:
            stranger = self._without(rng, sequence)
            if stranger is None:
                return None
            search = stranger
        pose = Pose(flip=bool(rng.random() < self.config.flip))
        half = 0.5 * recipe.template_size
        middle = Layout(
            recipe.template_size / recipe.template_factor, (half, half), recipe.template_size
        )
        template, now = (shot.view(rng, pose, middle, None).image for shot in (first, online))
        view = search.view(rng, pose, self._jittered(recipe, rng), None)
        return Draft(
            template, now, view.image, view.box, view.window, not absent,
            f"set:{sequence.source}", visible_share(view.box, view.window), sequence.name,
        )  # fmt: skip

    def _jittered(self, recipe: Recipe, rng: np.random.Generator) -> Layout:
        side = recipe.search_size
        change = 0.5 * self.config.scale_jitter * float(rng.standard_normal(2).sum())
        x, y = side * (0.5 + self.config.centre_jitter * rng.uniform(-0.5, 0.5, 2))
        return Layout(side / recipe.search_factor * math.exp(-change), (float(x), float(y)), side)

    def _sequence(self, rng: np.random.Generator) -> AnnotatedSequence:
        which = int(rng.choice(len(self.datasets), p=self._chance))
        key = (which, int(rng.integers(len(self.datasets[which]))))
        found = self._loaded.get(key)
        if found is None:
            loaded: AnnotatedSequence = self.datasets[which][key[1]]
            found = self._loaded[key] = loaded
            if len(self._loaded) > KEPT:
                self._loaded.popitem(last=False)
        return found

    def _without(self, rng: np.random.Generator, sequence: AnnotatedSequence) -> Shot | None:
        """A frame in which the target of a sequence cannot be seen."""
        gone = np.flatnonzero(sequence.absent)
        seen = np.flatnonzero(sequence.visible)
        if rng.random() < self.config.hidden and len(gone):
            moment = int(rng.choice(gone))
            # A tracker looks where it saw the target last.
            last = seen[max(int(np.searchsorted(seen, moment)) - 1, 0)]
            return _shot(sequence, moment, int(last))
        other = self._sequence(rng)
        theirs = np.flatnonzero(other.visible)
        if not len(theirs) or other.frames.where(0) == sequence.frames.where(0):
            return None  # another object of the same video: the target is there too
        return _shot(other, int(rng.choice(theirs)))


def _holds_clips(dataset: Dataset) -> bool:
    """By its first sequence; one whose labels are wrong is told of when it is drawn."""
    try:
        first = dataset.entries[0].load(Findings(strict=False))
    except DataError:
        return False
    return isinstance(first.frames.store, VideoStore)


def _shot(sequence: AnnotatedSequence, moment: int, box_of: int | None = None) -> Shot:
    """A frame with the box of this or of another moment.

    Raises:
        DataError: it cannot be read, or shows nothing of its own box.
    """
    box = sequence.boxes[moment if box_of is None else box_of]
    frame = sequence.frames[moment]
    if box_of is None:
        said = sequence.outside(moment, frame.shape[1], frame.shape[0])
        if said is not None:  # its crop would be black, and nothing is found by that
            raise DataError(said)
    return Shot(frame, box_outline(*(float(v) for v in box)))
