"""Every configuration, in every variant, builds its models; each kind of them takes a step of the right shapes."""

import copy
from dataclasses import replace

import jax
import pytest
from config_files import CONFIGS, load
from ml_collections import ConfigDict
from slow import slow_except

from avsd_jax.common.by_name import load_module
from avsd_jax.config.files import find_config
from avsd_jax.errors import InputError
from avsd_jax.experiment import comparison, dry_run
from avsd_jax.experiment.comparison import derive, plan
from avsd_jax.runs.components import Components
from avsd_jax.training.state import create_state

PREDICTING = ("vinet", "avinet", "stavis_visual", "stavis", "stanet", "dave", "aclnet", "deepvs", "aam", "mws", "sbf")
PREDICTING += ("unisal", "unisal_av")
PREDICTING += ("mws_classifier", "wss", "wss_classifier")


def every_row() -> dict[str, ConfigDict]:
    rows = {}
    for path in sorted(CONFIGS.glob("*.py")):
        module = load(path)
        for variant in module.VARIANTS:
            for row in derive(module.get_config(variant), "runs"):
                rows[f"{path.stem}:{variant}:{row.name}"] = row.config
    return rows


ROWS = every_row()


def model_class(config: ConfigDict) -> type:
    return load_module("avsd_jax.models", config.model_name, "model").Model


def choices_of(config: ConfigDict) -> set[tuple]:
    """What decides which code a model's training step runs; sizes, rates and a gate without weights do not."""
    model, name = config.model, config.model_name
    chosen = {
        option: model.get(option) for option in ("fusion", "release", "network", "pool", "positives", "frozen_frames")
    }
    if model.get("gate") == "classifier" or name == "avc":
        chosen["classifier"] = model.get("classifier")
    chosen["tags"] = bool(model.get("num_tags"))
    chosen["losses"] = tuple(sorted(term for term, weight in config.losses.items() if weight))
    return {(name, *choice) for choice in chosen.items()}


def covering() -> list[str]:
    """Rows whose steps have every choice of every model: of those that add most the one that is traced soonest."""
    learned = {name: config for name, config in ROWS.items() if model_class(config).learned}
    left = {name: choices_of(config) for name, config in learned.items()}
    missing, chosen = set.union(*left.values()), []
    while missing:
        best = max(left, key=lambda name: (len(left[name] & missing), -sum(ROWS[name].model.get("depths", ())), name))
        missing -= left[best]
        chosen.append(best)
    return sorted(chosen)


COVERING = covering()


@pytest.mark.parametrize("name", slow_except(ROWS, COVERING))
def test_a_model_is_built_and_predicts(name: str) -> None:
    config = ROWS[name]
    parts = Components.from_config(config)
    variables = dry_run.variables(config, parts)
    assert bool(jax.tree.leaves(variables)) == parts.model.learned
    if config.model_name in PREDICTING or not parts.model.learned:
        dry_run.check_prediction(config, parts)
    if parts.model.learned:
        jax.eval_shape(lambda given: create_state(given, parts.optimizer, keep_ema=False), variables)


@pytest.mark.slow
@pytest.mark.parametrize("name", COVERING)
def test_a_training_step_has_the_right_shapes(name: str) -> None:
    """What another row of these choices would add, its sizes and its optimiser, is traced above."""
    config = copy.deepcopy(ROWS[name]).unlock()
    fields = model_class(config).__dataclass_fields__
    # Blocks of a stage are alike, as those of a transformer.
    if "depths" in fields:
        config.model.depths = (1,) * len(fields["depths"].default)
    if config.model_name == "aam":
        config.model.depth = 4
    parts = Components.from_config(config)
    shapes = dry_run.trace(config, parts)
    before, after, metrics = shapes.before, shapes.after, shapes.metrics
    assert jax.tree.map(lambda x: (x.shape, x.dtype), before) == jax.tree.map(lambda x: (x.shape, x.dtype), after)
    assert metrics["loss"].shape == ()
    assert ("ce" in metrics) == (parts.spec.avc is not None and not parts.spec.instances)
    assert ("avid_nce" in metrics) == (config.model_name == "avid_instance")
    predicts = config.model_name in PREDICTING
    assert ("saliency" in shapes.output) == predicts
    assert ("kl" in metrics) == (predicts and config.losses.kl > 0)


def test_configurations_are_locked_and_name_their_variants() -> None:
    module = load(CONFIGS / "avinet.py")
    config = module.get_config()
    with pytest.raises((AttributeError, KeyError)):
        config.totl_steps = 3
    with pytest.raises(ValueError, match="paper, star, oracle, demo, comparison"):
        module.get_config("large")


def test_rows_change_what_they_say_and_nothing_else() -> None:
    rows = {row.name: row for row in derive(load(CONFIGS / "avinet.py").get_config("comparison"), "runs/x")}
    assert list(rows) == ["base", "voice", "ears", "v", "av", "av_star", "av_oracle"]
    assert [row.label for row in rows.values()] == ["", "", "", "V", "AV", "AV*", "AV#"]
    assert rows["v"].config.model_name == "vinet"
    assert "gate" not in rows["v"].config.model
    assert [rows[k].config.model.gate for k in ("av", "av_star", "av_oracle")] == ["always", "classifier", "labels"]
    assert not rows["av_oracle"].trains
    assert rows["av_oracle"].weights == rows["av_star"].folder
    assert rows["av"].config.init == rows["v"].config.init == str(rows["base"].folder)
    assert rows["av_star"].config.init_parts.classifier == str(rows["ears"].folder)
    assert {rows[k].config.init_parts.audionet for k in ("av", "av_star")} == {str(rows["voice"].folder)}
    assert rows["base"].config.model == rows["v"].config.model
    assert rows["voice"].config.model.num_tags == len(rows["voice"].config.tags)
    assert set(rows["ears"].config.model) == {"classifier", "classifier_options"}
    compared = {rows[k].config.total_steps for k in ("v", "av", "av_star")}
    assert len(compared) == 1, "all compared rows train equally long"
    assert rows["ears"].config.total_steps > rows["v"].config.total_steps


def test_the_five_minute_demo_compares_gates_of_one_network() -> None:
    rows = {row.name: row for row in derive(load(CONFIGS / "avinet.py").get_config("demo"), "runs/x")}
    assert [row.label for row in rows.values()] == ["", "", "", "V", "AV", "", "AV*", "AV#"]
    compared = [rows[name].config for name in ("v", "av", "gated")]
    assert [config.model.gate for config in compared] == ["never", "always", "labels"]
    assert {(c.init, c.total_steps, c.learning_rate) for c in compared} == {("runs/x/base", 80, 3e-4)}
    steps = {Components.from_config(rows[name].config).model.trained_as for name in ("base", "v", "av", "gated")}
    assert len(steps) == 1, "they share a compiled step"
    star, oracle = rows["av_star"], rows["av_oracle"]
    assert (star.trains, star.assembled, oracle.trains, oracle.assembled) == (False, True, False, False)
    assert (star.config.init, star.config.init_parts.classifier) == ("runs/x/gated", "runs/x/ears")
    assert oracle.weights == rows["gated"].folder


def test_a_row_whose_starting_rows_are_taken_away_starts_from_none() -> None:
    config = load(CONFIGS / "avinet.py").get_config("comparison").unlock()
    config.rows, config.row_changes.av.init, config.row_changes.av.init_parts.audionet = ("av",), "", ""
    (row,) = derive(config, "runs")
    assert (row.config.init, row.config.init_parts.audionet) == ("", "")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch_size": 0}, "batch_size=0 is too small: give 1 or more"),
        ({"data_threads": -1}, "data_threads=-1 is too small: give 0 or more"),
        ({"model": {"clip_size": -8}}, "model.clip_size=-8 is too small"),
        ({"frame_size": (32,)}, "frame_size=.* is no height and width"),
        ({"compute_dtype": "nope"}, "unknown compute_dtype 'nope': choose one of float32"),
        ({"frame_size": (-32, 32)}, "frame_size=.* is no height and width"),
        ({"total_steps": 0}, "total_steps=0 is too small: give 1 or more"),
        ({"ema_decay": 1.0}, "ema_decay=1.0 is too large: give less than 1"),
        ({"ema_decay": -0.5}, "ema_decay=-0.5 is too small: give 0 or more"),
        ({"rho": 1.5}, "rho=1.5 is too large: .* from 0 to 1"),
        ({"learning_rate": float("nan")}, "learning_rate=nan is too small"),
        ({"clip_norm": -1.0}, "clip_norm=-1.0 is too small"),
        ({"losses": {"tags": -0.1}}, "losses.tags=-0.1 is too small"),
        ({"losses": {"mse": 1.0}}, "unknown entry of losses 'mse': choose one of .*cc, ce"),
        ({"executor": "threads"}, "unknown executor 'threads': choose one of jit, pmap"),
        ({"optimizer": "lion"}, "unknown optimizer 'lion'"),
        ({"sampler": "none"}, "unknown sampler 'none'"),
        ({"preprocessing": "none"}, "unknown preprocessing 'none'"),
        ({"model": {"num_tags": 1000}}, "model.num_tags=1000 and config.tags has"),
        ({"model_name": "_bistream"}, "unknown model '_bistream': choose one of .*avc, avid_instance, avinet"),
    ],
)
@pytest.mark.parametrize("rows", [(), ("av",)])
def test_values_that_mean_nothing_are_named(changes: dict, words: str, rows: tuple[str, ...]) -> None:
    config = load(CONFIGS / "avinet.py").get_config("comparison").unlock()
    config.rows, config.row_changes.av.init, config.row_changes.av.init_parts.audionet = rows, "", ""
    with config.ignore_type():
        config.update(changes)
    with pytest.raises(InputError, match=words):
        plan(config, "runs")


def test_a_demo_may_be_cut_shorter_than_its_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    config = load(CONFIGS / "avinet.py").get_config("comparison").unlock()
    config.rows, config.total_steps = ("voice",), 1
    assert min(row.config.total_steps for row in plan(config, "runs")) == 1
    assert "warmup_steps exceeds total_steps" in caplog.text


def test_a_row_that_refers_to_a_later_one_is_refused() -> None:
    config = load(CONFIGS / "avinet.py").get_config("comparison").unlock()
    config.row_changes.base.init = "v"
    with pytest.raises(InputError, match="no row before it"):
        plan(config, "runs")
    config.rows = ("v2",)
    with pytest.raises(InputError, match="'v2' is not in row_changes"):
        plan(config, "runs")


def test_a_missing_configuration_file_names_those_there_are() -> None:
    with pytest.raises(InputError, match="configs/avinet.py"):
        find_config("configs/nothing.py:demo")


@pytest.mark.parametrize("head", ["cosine", "embeddings"])
def test_every_head_of_avid_is_trained(head: str) -> None:
    config = load(CONFIGS / "avc.py").get_config("avid_demo").unlock()
    config.model.classifier_options.update(head=head, width=0.1)
    assert "ce" in dry_run.trace(config, Components.from_config(config)).metrics


def test_star_is_gated_by_avid_and_an_earlier_record_without_a_classifier_by_l3net() -> None:
    for name in ("avinet", "stavis", "stanet", "dave"):
        assert load(CONFIGS / f"{name}.py").get_config("star").model.classifier == "avid"
    config = load(CONFIGS / "avinet.py").get_config("star").copy_and_resolve_references().unlock()
    del config.model.classifier
    assert Components.from_config(config).model.classifier == "l3net"


@pytest.mark.parametrize(
    ("variant", "told"),
    [("deepvs", "would stay as it was drawn"), ("sbf", "learns from eye-tracking data"), ("wss", "")],
)
def test_trainings_that_are_not_the_published_ones_are_told(
    variant: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = load(CONFIGS / "baselines.py").get_config(variant).unlock()
    config.target_maps = "maps" if variant == "wss" else ""
    (row,) = derive(config, "runs")
    comparison._warn(replace(row, parts=Components.from_config(config)), starts=False)
    assert told in caplog.text
    assert bool(told) == bool(caplog.text)
