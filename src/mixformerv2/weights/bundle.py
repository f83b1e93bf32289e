"""Bundles: a folder with a model's settings, weights and graphs.

```
config.json          what the model is; all that the runtime reads beside the graphs
model.safetensors    weights, rounded to float16 once
template.onnx        templates to memory          } made by `mixformerv2 export`
search.onnx          search crop, memory to box   }
training.safetensors dense head, to go on training from; not in the wheel
```

Reading `config.json` needs no PyTorch; `save_bundle` and `load_model` do.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, OutputError, WeightsError
from ..settings import build
from ..tracking.settings import TrackerSettings
from .files import Precision, file_sha256, read_tensors, to_bytes, write_whole
from .pieces import pieces_of, remove_pieces

if TYPE_CHECKING:
    from torch import Tensor

    from ..models.network import Network

__all__ = [
    "FORMAT",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "INT8_NAMES",
    "PAPERS",
    "BundleConfig",
    "GraphInfo",
    "file_sha256",
    "find_bundle",
    "list_bundles",
    "load_model",
    "load_training_state",
    "read_config",
    "save_bundle",
    "write_config",
]

_logger = logging.getLogger(__name__)

FORMAT = 1
"""Number of the layout of `config.json`; a reader refuses what it does not know."""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of R, G, B of pictures in 0..1."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of R, G, B of pictures in 0..1."""

INT8_NAMES = ("template.int8.onnx", "search.int8.onnx")
"""Files of the graphs in int8, where a bundle has them."""

PAPERS = ("LICENSE", "MODEL_CARD.md", "figures.json", "calibration.png", "failures.png")
"""Files that tell of a bundle's weights and of no others."""

_ASSETS = Path(__file__).resolve().parent.parent / "assets"
_CONFIG, _WEIGHTS, _TRAINING = "config.json", "model.safetensors", "training.safetensors"
_MAX_CONFIG = 1 << 20
_GRAPH_NAME = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.onnx")

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class GraphInfo:
    """One ONNX graph of a bundle.

    Attributes:
        sha256: Of the graph's file.
        weights_sha256: Of the `model.safetensors` that it was made from.
        precision: "fp32" or "int8".
        parity: Measured at export against PyTorch: for fp32 the largest difference over all
            outputs, for int8 the median distance of a box's worst side, in parts of the crop.
        auc_loss: What int8 loses against fp32 over sequences with known boxes; None where nobody
            has measured it.
        bf16_parity: For fp32 graphs, how far OpenVINO in bf16 is from them, measured as for int8;
            None where the processor of the export has no bf16.
    """

    sha256: str
    weights_sha256: str
    precision: str
    parity: float
    auc_loss: float | None = None
    bf16_parity: float | None = None


@dataclass(frozen=True, slots=True)
class BundleConfig:
    """What `config.json` says.

    Attributes:
        name: The model's name, such as "t".
        arch: Fields of `ModelConfig`.
        tracker: Sizes, factors, policy and thresholds.
        mean: Mean of R, G, B that is taken from a picture in 0..1.
        std: What R, G, B are divided by then.
        bins: Bins of each side's distribution.
        has_score: Whether there is a score head.
        licence: {"weights": what they may be used for, "file": its text in the folder}.
        provenance: What the weights were made from, and how.
        weights_sha256: Of `model.safetensors`.
        graphs: File name to what is known of the graph.
    """

    name: str
    arch: dict[str, Any]
    tracker: TrackerSettings
    bins: int
    has_score: bool
    weights_sha256: str
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    licence: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    graphs: dict[str, GraphInfo] = field(default_factory=dict)


def list_bundles() -> list[str]:
    """Names of the bundles that came with the package."""
    return sorted(path.parent.name for path in _ASSETS.glob(f"*/{_CONFIG}"))


def find_bundle(name_or_folder: str | Path) -> Path:
    """The folder of a bundle: a shipped one by name, any folder, or the one in a run's folder.

    A shipped name wins over a folder of the same name; `./t` is always the folder.

    Raises:
        WeightsError: neither. The message names those that are shipped.
    """
    if isinstance(name_or_folder, str) and name_or_folder in list_bundles():
        return _ASSETS / name_or_folder
    folder = Path(name_or_folder)
    try:
        if (folder / _CONFIG).is_file():
            return folder
        if (folder / "bundle" / _CONFIG).is_file():
            return folder / "bundle"  # what `train` wrote
    except OSError as error:  # longer than a name can be, or in a folder that is closed to us
        raise WeightsError(f"cannot read {str(folder)!r:.200}: {error.strerror}") from error
    shipped = ", ".join(list_bundles()) or "none"
    if folder.is_dir():
        raise WeightsError(f"{folder} is no bundle: it has no {_CONFIG}; shipped are: {shipped}")
    if folder.is_file():
        way = "`mixformerv2 convert` makes one of a published checkpoint"
        raise WeightsError(f"{folder} is a file, and a bundle is a folder; {way}")
    raise WeightsError(
        f"no bundle is called {str(name_or_folder)!r} and no such folder is there; "
        f"shipped: {shipped}"
    )


def read_config(folder: str | Path) -> BundleConfig:
    """Read and check `config.json`.

    Raises:
        WeightsError: missing, not JSON, of a later format, or with values that cannot work.
    """
    path = Path(folder) / _CONFIG
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_CONFIG + 1)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror}") from error
    if len(text) > _MAX_CONFIG:
        raise WeightsError(f"{path} is larger than {_MAX_CONFIG} bytes; it is no bundle's config")
    try:
        values = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path} is not JSON: {error}") from error
    try:
        return _parse(values)
    except (KeyError, TypeError, ValueError) as error:
        # ConfigError is a ValueError: a bad setting inside a bundle is the bundle's fault.
        what = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsError(f"{path} cannot be used: {what}") from error


def write_config(folder: str | Path, config: BundleConfig) -> None:
    """Write `config.json`, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    text = json.dumps(_as_json(config), indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(Path(folder) / _CONFIG, text.encode())


def save_bundle(
    model: Network,
    folder: str | Path,
    *,
    name: str | None = None,
    tracker: TrackerSettings | None = None,
    licence: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    training: Mapping[str, Tensor] | None = None,
    precision: Precision = "float16",
) -> BundleConfig:
    """Write `config.json` and `model.safetensors`; `mixformerv2 export` adds the graphs.

    Weights are rounded to float16 here and nowhere else, which moves a box by about a tenth of a
    pixel. Graphs of other weights that are left in the folder are removed, and what helped to
    train them.

    Args:
        model: A network of ours; it is not changed.
        folder: Made where it is missing.
        name: The folder's name where it is not given.
        tracker: Where it is not given, the model's sizes and the published factors: search factor
            5.0 for a search crop of 288 pixels, else 4.5.
        licence: {"weights": what they may be used for, "file": its text in the folder}.
        provenance: What the weights were made from, and how.
        training: State of the learner; what is no weight, such as the dense head, is kept in
            `training.safetensors`.
        precision: "float32" keeps the weights as they are, in twice the bytes.

    Raises:
        WeightsError: weights that are not finite, or too large for float16.
        OutputError: the folder cannot be written.
    """
    folder = Path(folder)
    arch = model.config
    weights = to_bytes(model.state_dict(), precision)
    config = BundleConfig(
        name=name or folder.resolve().name,
        arch=arch.to_dict(),
        tracker=tracker or _published_settings(arch.template_size, arch.search_size),
        bins=arch.bins,
        has_score=arch.score_head,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        licence=dict(licence or {"weights": "not stated", "file": None}),
        provenance=dict(provenance or {}),
    )
    _parse(_as_json(config))  # what could not be read again is not written
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (
            *folder.glob("*.int8.onnx"),
            folder / "template.onnx",
            folder / "search.onnx",
            *([folder / _TRAINING] if training is None else []),
        ):
            stale.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write a bundle to {folder}: {error.strerror}") from error
    write_whole(folder / _WEIGHTS, weights)
    if training is not None:
        write_whole(folder / _TRAINING, to_bytes(_beside(training, model), precision))
    remove_pieces(folder, (".safetensors", ".onnx"))  # `join` would put the old weights back
    write_config(folder, config)
    _logger.info("%s: %.1f MB of weights", folder, len(weights) / 1e6)
    return config


def load_model(name_or_folder: str | Path) -> Network:
    """The network of a bundle with its weights, float32, in eval mode.

    Raises:
        WeightsError: no such bundle, or weights that are not those of its `config.json`.
    """
    from ..models.assemble import assemble
    from ..models.config import ModelConfig

    folder = find_bundle(name_or_folder)
    config = read_config(folder)
    path = folder / _WEIGHTS
    tensors = read_tensors(path)
    if file_sha256(path) != config.weights_sha256:
        raise WeightsError(
            f"{path} is not the file that {_CONFIG} describes (its sha256 differs); "
            "take both from the same bundle"
        )
    try:
        return assemble(ModelConfig.from_dict(config.arch), tensors)
    except (ConfigError, RuntimeError) as error:
        raise WeightsError(f"{path} does not fit the architecture in {_CONFIG}: {error}") from error


def load_training_state(name_or_folder: str | Path) -> dict[str, Tensor]:
    """Tensors to go on training from, under the learner's names.

    The bundle's weights, and what `training.safetensors` has beside them: the dense head.

    Raises:
        WeightsError: no such bundle, or a damaged file.
    """
    folder = find_bundle(name_or_folder)
    state = {f"net.{name}": tensor for name, tensor in read_tensors(folder / _WEIGHTS).items()}
    if (folder / _TRAINING).is_file() or pieces_of(folder / _TRAINING):
        state |= read_tensors(folder / _TRAINING)
    return state


def _beside(training: Mapping[str, Tensor], model: Network) -> dict[str, Tensor]:
    """What a learner's state has that is not among the weights already."""
    known = {f"net.{name}": tensor for name, tensor in model.state_dict().items()}
    return {
        k: v for k, v in training.items() if k not in known or not v.cpu().equal(known[k].cpu())
    }


def _published_settings(template_size: int, search_size: int) -> TrackerSettings:
    # The search factor cannot be read from weights (fact 3 of the design).
    factor = 5.0 if search_size == 288 else 4.5
    return TrackerSettings(template_size, search_size, search_factor=factor)


def _as_json(config: BundleConfig) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "name": config.name,
        "arch": config.arch,
        "input": {"channels": "bgr", "mean": list(config.mean), "std": list(config.std)},
        "bins": config.bins,
        "has_score": config.has_score,
        "tracker": asdict(config.tracker),
        "licence": config.licence,
        "provenance": config.provenance,
        "weights_sha256": config.weights_sha256,
        "graphs": {
            name: {key: value for key, value in asdict(info).items() if value is not None}
            for name, info in sorted(config.graphs.items())
        },
    }


def _parse(values: Any) -> BundleConfig:
    """A config from parsed JSON; raises KeyError, TypeError or ValueError on anything odd."""
    if not isinstance(values, dict):
        raise TypeError(f"expected a table, got {type(values).__name__}")
    if values.get("format") != FORMAT:
        raise ValueError(
            f"its format is {values.get('format')!r}, this version reads {FORMAT}; "
            "install a later mixformerv2, or export the model again"
        )
    graphs = _table(values["graphs"], "graphs")
    for name, info in graphs.items():
        _table(info, f"graphs.{name}")
        if not _GRAPH_NAME.fullmatch(name):
            raise ValueError(f"graphs must be files of the folder called *.onnx, got {name!r}")
    inputs = _table(values["input"], "input")
    if inputs["channels"] != "bgr":
        raise ValueError(f"input.channels must be 'bgr', got {inputs['channels']!r}")
    known = ("name", "arch", "tracker", "bins", "has_score", "weights_sha256", "licence")
    plain = {key: values[key] for key in (*known, "provenance")}
    config = build(BundleConfig, plain | {key: inputs[key] for key in ("mean", "std")})
    checked = {name: build(GraphInfo, info, f"graphs.{name}") for name, info in graphs.items()}
    if not all(math.isfinite(v) for v in config.mean) or not all(0 < v < 1e6 for v in config.std):
        raise ValueError(f"mean {config.mean} and std {config.std} cannot normalise a picture")
    _check_sizes(config)
    return replace(config, graphs=checked)


def _check_sizes(config: BundleConfig) -> None:
    """What is said twice must be said alike: crops of another size would give wrong boxes."""
    tracker = config.tracker
    said = {
        "template_size": tracker.template_size,
        "search_size": tracker.search_size,
        "bins": config.bins,
        "score_head": config.has_score,
    }
    for name, value in said.items():
        taken = config.arch.get(name, value)
        if taken != value:
            raise ValueError(
                f"the network has {name} {taken!r}, the rest of the bundle says {value!r}"
            )
    patch = config.arch.get("patch_size", 16)
    if type(patch) is not int or not 1 <= patch <= tracker.search_size:
        raise ValueError(f"arch.patch_size must be a whole number of pixels, got {patch!r:.40}")


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a table, got {type(value).__name__}")
    return value


def _refuse_constant(text: str) -> float:
    raise ValueError(f"{text} is not a JSON number")
