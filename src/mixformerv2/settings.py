"""YAML and `key=value` onto frozen dataclasses: an unknown key or wrong type names itself."""

from __future__ import annotations

import dataclasses
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from .errors import ConfigError

__all__ = ["build", "merge", "parse_overrides", "read_yaml"]

T = TypeVar("T")

_REPR = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxother = 2, 80, 80


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a settings file.

    Raises:
        ConfigError: no such file, not YAML, or not a table of keys.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the settings file {path}: {error}") from error
    try:
        values = _loaded(text)
    except ValueError as error:
        raise ConfigError(f"{path} is not YAML: {error}") from error
    _refuse_doubles(text, path)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must be a table of settings, got {type(values).__name__}")
    return values


def _refuse_doubles(text: str, path: Path) -> None:
    """Of two settings of one name YAML keeps the last, and nobody would know."""
    import yaml

    waiting, looked = [(yaml.compose(text, yaml.SafeLoader), "")], set()
    while waiting:
        node, where = waiting.pop()
        if not isinstance(node, yaml.MappingNode) or id(node) in looked:
            continue
        looked.add(id(node))  # an alias names a table again, perhaps one that it stands in
        names = set()
        for key, value in node.value:
            name = f"{where}{key.value}"
            if name in names and key.tag != "tag:yaml.org,2002:merge":
                line = key.start_mark.line + 1
                raise ConfigError(f"{path}, line {line}: {name} is there twice; keep one of them")
            names.add(name)
            waiting.append((value, f"{name}."))


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `["optim.lr=1e-4", "model.depth=4"]` into a nested table; values are read as YAML.

    One that begins with @, as the name of a stage does, is text, for which YAML would want quotes.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key:
            raise ConfigError(f"a setting is given as key=value, got {pair!r}")
        try:
            value = text if text.startswith("@") else _loaded(text)
        except ValueError as error:
            raise ConfigError(f"the value of {key} is not readable: {text!r}") from error
        node = out
        *path, last = key.split(".")
        for part in path:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"{key} is set inside {part}, which was given a value already")
        node[last] = value
    return out


def _loaded(text: str) -> Any:
    """The values of a YAML text; a ValueError where there are none."""
    import yaml

    try:
        return yaml.safe_load(text)
    # PyYAML knows as its own what is no YAML, but no dates that no calendar has, tags beside what
    # they do not fit, numbers of too many digits and lists in too many lists.
    except (yaml.YAMLError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay one nested table over another; what `over` has wins."""
    out = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(out.get(key), Mapping):
            out[key] = merge(out[key], value)
        else:
            out[key] = value
    return out


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """Make a dataclass of a nested table.

    Raises:
        ConfigError: a key that the dataclass lacks or a value of another type, with its full path.
    """
    hints = typing.get_type_hints(cls)
    names = [f.name for f in dataclasses.fields(cls)]  # type: ignore[arg-type]
    out: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{where}.{key}" if where else str(key)
        if key not in names:
            raise ConfigError(f"unknown setting {path!r}; known here are {', '.join(names)}")
        out[key] = _convert(hints[key], value, path)
    return cls(**out)


def _convert(hint: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table of settings, got {_short(value)}")
        return build(hint, value, path)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        rest = [a for a in args if a is not type(None)]
        return _convert(rest[0], value, path)
    if origin is typing.Literal:
        if value not in args:
            known = ", ".join(map(str, args))
            raise ConfigError(f"{path} must be one of {known}, got {_short(value)}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{path} must be a list, got {_short(value)}")
        kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
        if len(kinds) != len(value):
            raise ConfigError(f"{path} must have {len(kinds)} values, got {_short(value)}")
        return tuple(_convert(k, v, path) for k, v in zip(kinds, value, strict=True))
    if origin in (dict, Mapping) or hint is dict or origin is not None:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{path} must be a table, got {_short(value)}")
        return dict(value)
    return _plain(hint, value, path)


def _short(value: Any) -> str:
    """A value for a message. Ten lines of YAML can stand for more text than any memory holds."""
    return _REPR.repr(value)


def _plain(hint: Any, value: Any, path: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, str):
        # YAML reads 1e-4 as text, because it wants a dot.
        try:
            return float(value)
        except ValueError:
            pass
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{path} is larger than any number can be here") from None
    if hint is Path and isinstance(value, str):
        return Path(value)
    if (isinstance(value, bool) and hint is not bool) or not isinstance(value, hint):
        raise ConfigError(f"{path} must be of type {hint.__name__}, got {_short(value)}")
    return value
