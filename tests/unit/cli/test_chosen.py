"""`--set` and `--long-term`."""

from __future__ import annotations

import pytest

from mixformerv2.cli.chosen import chosen_settings
from mixformerv2.errors import ConfigError
from mixformerv2.evaluation.trackers import TrackerSpec


def test_values_are_numbers_and_switches() -> None:
    found = chosen_settings(["search_lead=1", "mirror=True", "size_damping=2e-1"])
    assert found == {"search_lead": 1, "mirror": True, "size_damping": 0.2}
    assert chosen_settings(None) == {}
    assert chosen_settings(None, long_term=True) == {"long_term": True}


@pytest.mark.parametrize("pair", ["mirror", "=1", "mirror=yes", "search_lead=[1"])
def test_anything_else_is_refused(pair: str) -> None:
    with pytest.raises(ConfigError, match="--set"):
        chosen_settings([pair])


def test_results_of_other_settings_are_kept_apart() -> None:
    plain, changed = TrackerSpec("t"), TrackerSpec("t", settings=(("mirror", True),))
    assert plain.identity() != changed.identity()
    assert (plain.label, changed.label) == ("t", "t-mirror-True")
    with pytest.raises(ConfigError, match="no bundle"):
        TrackerSpec("still", settings=(("mirror", True),)).identity()
    with pytest.raises(ConfigError, match="unknown setting"):
        TrackerSpec("t", settings=(("mirrror", True),))()
