"""Every configuration, in every variant, builds its models and takes a training step of the right shapes."""

import importlib.util
import pathlib

import jax
import pytest
from ml_collections import ConfigDict

from avsd_jax import train
from avsd_jax.errors import InputError
from avsd_jax.experiment import example_batch, model_from_config
from avsd_jax.main import find_config
from avsd_jax.optimizer import make_optimizer
from avsd_jax.rows import plan
from avsd_jax.train_state import create_state, make_train_step

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"


def load(path: pathlib.Path) -> object:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def every_row() -> list:
    rows = []
    for path in sorted(CONFIGS.glob("*.py")):
        module = load(path)
        for variant in module.VARIANTS:
            for row in plan(module.get_config(variant), "runs"):
                rows.append(pytest.param(row.config, id=f"{path.stem}:{variant}:{row.name}"))
    return rows


@pytest.mark.parametrize("config", every_row())
def test_a_training_step_has_the_right_shapes(config: ConfigDict) -> None:
    model, optimizer, batch = model_from_config(config), make_optimizer(config), example_batch(config, 2)
    step = make_train_step(model, optimizer, train.loss_options(config), seed=0, ema_decay=config.ema_decay)

    def first_step(batch: dict) -> tuple:
        rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
        variables = model.init(rngs, batch, train=False)
        state = create_state(variables, optimizer, bool(config.ema_decay))
        return state, step(state, batch)

    before, (after, metrics) = jax.eval_shape(first_step, batch)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    assert metrics["loss"].shape == ()
    assert ("ce" in metrics) == (config.model.get("gate") == "classifier")


def test_configurations_are_locked_and_name_their_variants() -> None:
    module = load(CONFIGS / "avinet.py")
    config = module.get_config()
    with pytest.raises((AttributeError, KeyError)):
        config.totl_steps = 3
    with pytest.raises(ValueError, match="paper, demo"):
        module.get_config("large")


def test_rows_change_what_they_say_and_nothing_else() -> None:
    rows = {row.label: row for row in plan(load(CONFIGS / "avinet.py").get_config("demo"), "runs/x")}
    assert list(rows) == ["", "V", "AV", "AV*", "AV#"]
    assert rows["V"].config.model_name == "vinet"
    assert "gate" not in rows["V"].config.model
    assert [rows[k].config.model.gate for k in ("AV", "AV*", "AV#")] == ["always", "classifier", "labels"]
    assert not rows["AV#"].trains
    assert rows["AV#"].weights == rows["AV*"].folder
    assert rows["AV"].config.init == rows["V"].config.init == str(rows[""].folder)
    assert rows["AV"].config.total_steps == rows["V"].config.total_steps == rows[""].config.total_steps / 2


def test_a_row_that_refers_to_a_later_one_is_refused() -> None:
    config = load(CONFIGS / "avinet.py").get_config("demo").unlock()
    config.row_changes.base.init = "v"
    with pytest.raises(InputError, match="no row before it"):
        plan(config, "runs")
    config.rows = ("v2",)
    with pytest.raises(InputError, match="'v2' is not in row_changes"):
        plan(config, "runs")


def test_a_missing_configuration_file_names_those_there_are() -> None:
    with pytest.raises(InputError, match="configs/avinet.py"):
        find_config("configs/nothing.py:demo")
