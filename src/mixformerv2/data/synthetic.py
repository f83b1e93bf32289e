"""Training samples made on the fly from a bank of pictures and from labelled videos.

Every sample is a pure function of the seed and its index: a run that resumes at sample 120,000
sees what the run that never stopped would have seen.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, DataError
from .augment import AugmentConfig, Look, blur, cut_out, shade
from .bank import VALIDATION_VIDEOS, Bank
from .cache import local_copy
from .compose import composite
from .draft import Draft, Recipe
from .pairs import clip_pair, still, video_pair
from .sampling import SamplingConfig, SetConfig, SetSampler

__all__ = ["Sample", "SampleGenerator", "SyntheticConfig", "usable_weights"]

log = logging.getLogger(__name__)

Image = NDArray[np.uint8]
TRIES = 6


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """What samples look like and how they are mixed.

    Args:
        template_size: Side of the template crops in pixels.
        search_size: Side of the search crop in pixels.
        template_factor: Template crop side over `sqrt(w h)` of the target.
        search_factor: Search crop side over `sqrt(w h)` of the target.
        composites: Weight of cut-outs that move over other pictures.
        stills: Weight of pictures warped against themselves.
        pairs: Weight of real pairs from videos.
        clips: Weight of real pairs from unlabelled clips; counts only where there are clips.
        absent: Share of samples whose search does not show the target.
        grey: Share of samples in grey.
        min_visible: Least share of the box inside crop and frame.
        ramp: Over how many samples from the first on they grow from easy to hard; 0 for hard ones
            at once.
        augment: How strong each augmentation is.
        labelled: Weight of samples from the labelled data sets; counts only where there are some.
        sets: Labelled data sets, such as `[{name: got10k, root: GOT-10k, ratio: 1}]`.
        sampling: How their frames are picked; of no use without `sets`.
        backend: Who makes them: OpenCV, in processes beside the training, or tensors on the
            device that trains.
        at_once: Batches that the tensors back end draws at once and cuts apart: fewer and larger
            steps on a GPU. The OpenCV back end draws each by itself.

    Raises:
        ConfigError: a value that cannot work.
    """

    template_size: int = 64
    search_size: int = 128
    template_factor: float = 2.0
    search_factor: float = 4.0
    composites: float = 0.5
    stills: float = 0.2
    pairs: float = 0.3
    clips: float = 0.25
    absent: float = 0.15
    grey: float = 0.15
    min_visible: float = 0.35
    ramp: int = 0
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    labelled: float = 1.0
    sets: tuple[SetConfig, ...] = ()
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    backend: Literal["opencv", "tensors"] = "opencv"
    at_once: int = 1

    def __post_init__(self) -> None:
        for name in ("template_size", "search_size"):
            if getattr(self, name) < 16:
                raise ConfigError(f"{name} must be at least 16, got {getattr(self, name)}")
        for name in ("template_factor", "search_factor"):
            if not 1.0 <= getattr(self, name) <= 12.0:
                raise ConfigError(f"{name} must lie in 1..12, got {getattr(self, name)}")
        for name in ("absent", "grey", "min_visible"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is a share in 0..1, got {getattr(self, name)}")
        if self.ramp < 0:
            raise ConfigError(f"ramp is a number of samples from 0 on, got {self.ramp}")
        if self.at_once < 1:
            raise ConfigError(f"data.at_once is a number of batches from 1 on, got {self.at_once}")
        if not (min(self.weights) >= 0 and 0 < sum(self.weights) < math.inf):
            raise ConfigError(
                f"composites, stills, pairs, clips and labelled are weights, got {self.weights}; "
                "none may be negative and one must be above zero"
            )
        if self.sets and self.backend == "tensors":
            raise ConfigError(
                "data.backend tensors makes no samples of data.sets; set data.backend=opencv"
            )

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of the mixture, in the order of the fields."""
        labelled = self.labelled if self.sets else 0.0
        return (self.composites, self.stills, self.pairs, self.clips, labelled)

    def needs_bank(self, clips: bool) -> bool:
        """Whether any sample is made of a bank of pictures, given that there are clips or not."""
        return sum(self.weights[:3]) + self.clips * clips > 0

    def recipe(self, index: int | None) -> Recipe:
        """What sample `index` of a run may be like: hardness grows along the ramp."""
        hardness = 1.0
        if index is not None and index < self.ramp:
            hardness = 0.3 + 0.7 * index / self.ramp
        return Recipe(
            self.template_size,
            self.search_size,
            self.template_factor,
            self.search_factor,
            hardness,
            self.augment,
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One training sample; pictures are BGR, as OpenCV gives them."""

    template: Image  # [T, T, 3]
    online: Image  # [T, T, 3]
    search: Image  # [S, S, 3]
    box: NDArray[np.float32]  # x1, y1, x2, y2 in the search crop, 0..1
    present: bool  # False: the search does not show the target and the box means nothing
    weight: float
    source: str
    sequence: str = ""  # which video of a labelled set


def usable_weights(config: SyntheticConfig, bank: Bank | None) -> NDArray[np.float64]:
    """The weights of the mixture; clips have none where the bank has no tracklets.

    Raises:
        DataError: the bank lacks what the mixture asks for.
    """
    if config.pairs and bank is not None and not bank.videos:
        raise DataError(
            f"pairs has weight {config.pairs} but {bank.folder} holds no video; set it to 0"
        )
    weights = np.asarray(config.weights)
    weights[3] *= bank is not None and bool(bank.tracklets)
    if weights.sum() <= 0:
        raise DataError(
            "there is nothing to make samples of: data.composites, data.stills and data.pairs are "
            "0, no labelled videos count (data.sets, data.labelled), and no folder of clips was "
            "given, or none with tracklets; give one of these"
        )
    return weights


class SampleGenerator:
    """Makes training samples from a bank of pictures and from labelled data sets.

    Args:
        bank: Folder with one sub-folder of pictures per source, the file that it was packed into,
            or a bank already read. Left alone where nothing of the mixture is made of it.
        config: Sizes and mixture.
        seed: With an index, decides a sample.
        hold_out: Videos of the bank to leave out.
        clips: Folder of tracklets made by `mixformerv2.data.pseudo`.

    Example:
        >>> generator = SampleGenerator("pictures", SyntheticConfig(), seed=0)  # doctest: +SKIP
        >>> generator.sample(7).search.shape  # doctest: +SKIP
        (128, 128, 3)
    """

    def __init__(
        self,
        bank: str | Path | Bank,
        config: SyntheticConfig | None = None,
        seed: int = 0,
        hold_out: tuple[str, ...] = VALIDATION_VIDEOS,
        clips: str | Path | None = None,
    ) -> None:
        self.config = config or SyntheticConfig()
        self.seed = seed
        self.bank: Bank | None = None
        if isinstance(bank, Bank):
            self.bank = bank
        elif self.config.needs_bank(clips is not None):
            self.bank = Bank(local_copy(bank), hold_out)
        if self.bank is not None and clips is not None:
            self.bank.add_clips(Path(clips))
        weights = usable_weights(self.config, self.bank)
        self._edges = np.cumsum(weights / weights.sum())
        wanted = self.config.sets if self.config.weights[4] else ()
        self.sets = SetSampler(wanted, self.config.sampling) if wanted else None
        self._said: set[str] = set()

    def sample(self, index: int | np.random.Generator) -> Sample:
        """The sample with this number (or the next one of a random generator)."""
        if isinstance(index, np.random.Generator):
            rng, recipe = index, self.config.recipe(None)
        else:
            rng = np.random.default_rng((self.seed, index))
            recipe = self.config.recipe(index)
        kind = int(np.searchsorted(self._edges, rng.random(), side="right"))
        absent = bool(rng.random() < self.config.absent)
        draft = self._readable(kind, recipe, rng, absent)
        for _ in range(TRIES - 1):
            if draft.visible >= self.config.min_visible:
                break
            draft = self._readable(kind, recipe, rng, absent)
        return self._finish(rng, draft, recipe)

    def _readable(self, kind: int, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
        """A draft of files that can be read; damaged ones are said once and drawn again."""
        for attempt in range(TRIES):
            try:
                return self._draft(kind, recipe, rng, absent)
            except DataError as error:
                if attempt + 1 == TRIES or (self.sets is not None and kind >= 4):
                    raise
                if str(error) not in self._said:
                    self._said.add(str(error))
                    log.warning("left out: %s", error)
        raise AssertionError  # the last attempt raised

    def _draft(self, kind: int, recipe: Recipe, rng: np.random.Generator, absent: bool) -> Draft:
        if self.sets is not None and kind >= 4:
            return self.sets.draft(recipe, rng, absent)
        assert self.bank is not None  # nothing else has a weight without one
        maker = (composite, still, video_pair, clip_pair)[min(kind, 3)]
        return maker(self.bank, recipe, rng, absent)

    def _finish(self, rng: np.random.Generator, draft: Draft, recipe: Recipe) -> Sample:
        augment = recipe.augment
        look = Look.draw(rng, self.config.grey, recipe.hardness, augment)
        strength = float(rng.uniform(0.0, 1.2)) * recipe.hardness
        template = look.vary(rng, 0.5 * strength, augment).apply(rng, draft.template)
        online = look.vary(rng, 0.7 * strength, augment).apply(rng, draft.online)
        search = draft.search
        if augment.cut_out and draft.present and recipe.chance(rng, 0.3 * augment.cut_out):
            x1, y1, x2, y2 = draft.window
            cut_out(rng, search, np.clip(draft.box, (x1, y1) * 2, (x2, y2) * 2))
        if recipe.chance(rng, 0.12 * augment.shade):
            search = shade(rng, search)
        if recipe.chance(rng, 0.12 * augment.blur):
            search = blur(rng, search, max(4, self.config.search_size // 14))
        search = look.vary(rng, strength, augment).apply(rng, search)
        if rng.random() < 0.1:
            online = template.copy()
        side = self.config.search_size
        x1, y1, x2, y2 = draft.window
        low, high = np.array([x1, y1, x1, y1]), np.array([x2, y2, x2, y2])
        box = np.clip(np.clip(draft.box, low, np.maximum(low, high)) / side, 0.0, 1.0)
        return Sample(
            template=template,
            online=online,
            search=search,
            box=box.astype(np.float32),
            present=draft.present and draft.visible >= self.config.min_visible,
            weight=1.0,
            source=draft.source,
            sequence=draft.sequence,
        )

    def batch(self, first: int, size: int) -> dict[str, NDArray[np.generic]]:
        """Samples `first` to `first + size - 1`, stacked.

        Keys: template and online uint8 `[B, T, T, 3]`, search uint8 `[B, S, S, 3]`, box float32
        `[B, 4]`, present bool `[B]`, weight float32 `[B]`.
        """
        samples = [self.sample(index) for index in range(first, first + size)]
        return {
            "template": np.stack([s.template for s in samples]),
            "online": np.stack([s.online for s in samples]),
            "search": np.stack([s.search for s in samples]),
            "box": np.stack([s.box for s in samples]),
            "present": np.array([s.present for s in samples]),
            "weight": np.array([s.weight for s in samples], np.float32),
        }

    def batches(
        self, batch_size: int, start: int = 0, step: int = 1
    ) -> Iterator[dict[str, NDArray[np.generic]]]:
        """Endless batches `start`, `start + step`, ...; worker k of n takes start=k, step=n."""
        number = start
        while True:
            yield self.batch(number * batch_size, batch_size)
            number += step
