"""Settings files: unknown keys and impossible values name themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from mixformerv2.errors import ConfigError
from mixformerv2.training.config import OptimConfig, load_config, show_config
from mixformerv2.training.schedule import lr_factor

CONFIGS = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda p: p.stem)
def test_every_shipped_config_is_valid_and_says_how_to_run_it(path: Path) -> None:
    load_config(path)
    text = path.read_text()
    assert text.startswith("#")
    assert f"configs/{path.name}" in text
    head = " ".join(line.strip("# ") for line in text.partition("\nmodel:")[0].splitlines())
    for wanted in ("AUC", "takes", "docs/"):  # what comes out, at what cost, and where it stands
        assert wanted.lower() in head.lower()


def test_values_of_the_file_and_of_the_command_line() -> None:
    overrides = ["optim.lr=1e-4", "model.depth=3", "model.drop_path=1e-1", "clips=null"]
    config = load_config(CONFIGS / "t.yaml", overrides)
    assert config.optim.lr == 1e-4
    assert config.network.depth == 3
    assert config.network.drop_path == 0.1  # YAML takes 1e-1 for text
    assert config.clips is None


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optim.lrr=1", r"unknown setting 'optim.lrr'"),
        ("optim.batch=0", "optim.batch must be at least 1"),
        ("optim.batch=many", "optim.batch must be of type int"),
        ("optim.batch=true", "optim.batch must be of type int"),
        ("optim=3", "optim must be a table"),
        ("stage=third", "stage must be one of .*box, score"),
        ("loss.l1=-1", "loss.l1 must be 0 to 1000"),
        ("loss.label_sigma=0", "label_sigma"),
        ("model.widht=64", "unknown setting"),
        ("tracker.interval=5", "unknown setting 'tracker.interval'; known here are"),
        ("tracker.update_interval=-1", "update_interval must be a whole number of frames"),
        ("tracker.search_factor=4", "is that of the samples; set data.search_factor"),
        ("model.name=z", "no model is called 'z'"),
        ("model.search_size=160", "data makes crops of 64 and 128"),
        ("data.absent=2", "absent"),
        ("nonsense", "key=value"),
        ("optim.warmup=30000", "optim.warmup must be below steps"),
        ("optim.weight_decay=-1", "optim.weight_decay must be 0 to 100, got -1"),
        ("optim.weight_decay=nan", "optim.weight_decay must be 0 to 100, got nan"),
        ("optim.lr_end=-0.1", r"optim.lr_end is a share of lr in 0\.\.1, got -0.1"),
        ("optim.lr_end=.nan", "optim.lr_end is a share"),
        ("optim.explode=.nan", "optim.explode must be above 1"),
        ("seed=-1", "seed must be from 0 to below 2"),
        ("seed=9223372036854775808", "seed must be from 0 to below 2"),
        ("mae.share=2", "mae.share must be above 0 and below 1, got 2"),
        ("mae.decoder_width=100", "mae.decoder_width must be a multiple of 64, got 100"),
        ("mae.decoder_depth=-1", "mae.decoder_depth must be at least 1, got -1"),
        ("init_layers=foo", "init_layers is .*, got 'foo'"),
        ("log_every=0", "log_every must be at least 1 step, got 0"),
        ("workers=-1", "workers must be from 0 on, got -1"),
        ("threads=-1", "threads must be from 0 on, got -1"),
        ("save_minutes=.nan", "save_minutes must be from 0 on, got nan"),
        ("data.composites=.nan", "none may be negative"),
        ("model.drop_path=much", "mixformerv2_t.drop_path must be of type float, got 'much'"),
        ("model.layer_gain={a: 1}", "layer_gain must be a table of layers and factors"),
        ("model.name=[1]", r"no model is called \[1\]"),
    ],
)
def test_a_wrong_setting_is_one_sentence(override: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        load_config(CONFIGS / "t.yaml", [override])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_config(tmp_path / "none.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1, 2")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(broken)
    broken.write_text("- 1")
    with pytest.raises(ConfigError, match="table of settings"):
        load_config(broken)


def test_what_is_shown_can_be_read_back(tmp_path: Path) -> None:
    config = load_config(CONFIGS / "t.yaml")
    path = tmp_path / "shown.yaml"
    path.write_text(show_config(config))
    again = load_config(path)
    assert again.network == config.network
    assert again.optim == config.optim


def test_schedules() -> None:
    cosine = OptimConfig(steps=1000, warmup=100, lr_end=0.1)
    factors = [lr_factor(step, cosine) for step in range(1001)]
    assert max(factors) == pytest.approx(1.0)
    assert factors[:100] == sorted(factors[:100])
    assert factors[100:] == sorted(factors[100:], reverse=True)
    assert factors[-1] == pytest.approx(0.1)
    step = OptimConfig(steps=1000, warmup=0, schedule="step")
    assert [lr_factor(s, step) for s in (0, 799, 800)] == [1.0, 1.0, 0.1]


def test_a_setting_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """YAML keeps the last of two and says nothing: half of the settings would be left out."""
    path = tmp_path / "a.yaml"
    path.write_text("seed: 1\noptim:\n  lr: 1e-4\n  batch: 4\nlog_every: 2\noptim:\n  steps: 9\n")
    with pytest.raises(ConfigError, match=r"a\.yaml, line 6: optim is there twice; keep one"):
        load_config(path)
    path.write_text("\ufeffoptim:\n  lr: 1e-4\n  batch: 4\n  lr: 1e-3\n")
    with pytest.raises(ConfigError, match=r"a\.yaml, line 4: optim\.lr is there twice"):
        load_config(path)
    path.write_text("model: &a {name: mixformerv2_t, b: *a}\n")
    with pytest.raises(ConfigError, match="b"):
        load_config(path)


def test_a_date_that_is_none_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the value of bank is not readable: '2024-02-31'"):
        load_config(None, ["bank=2024-02-31"])
    (tmp_path / "a.yaml").write_text("bank: 2024-02-31\n")
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(tmp_path / "a.yaml")
