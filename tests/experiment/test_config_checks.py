"""Any configuration is either built or refused in one sentence, before anything is written.

`python tests/experiment/test_config_checks.py [SHARE]` tries every value of every field, and the whole product of names
or a share of it, and prints a count.
"""

import copy
import functools
import importlib.util
import itertools
import json
import pathlib
import random
import re
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from drawn import fast_jit
from ml_collections import ConfigDict
from slow import slow_except
from tiny_run import add_extra_models

from avsd_jax import losses
from avsd_jax.batch import zeros
from avsd_jax.common.by_name import available, load_module
from avsd_jax.config.base import completed
from avsd_jax.config.fields import FIELDS, ROW_FIELDS, SCAM_FIELDS, SCHEDULES
from avsd_jax.errors import InputError
from avsd_jax.experiment import checks, dry_run
from avsd_jax.experiment.comparison import derive, plan
from avsd_jax.nn.gate import SOURCES
from avsd_jax.runs.components import Components
from avsd_jax.runs.initial import initial_variables
from avsd_jax.runs.optimizer import OPTIMIZERS, make_schedule
from avsd_jax.training.hyperparameters import hyperparameters_by_step
from avsd_jax.training.state import create_state
from avsd_jax.training.step import make_train_step

CONFIGS = pathlib.Path(__file__).parents[2] / "configs"
FILES = ("avinet", "stavis", "stanet", "scam")
TINY = {"width": 1 / 32, "depths": (1, 1, 1), "num_classes": 4, "features": 64, "depth": 4, "heads": 4}
SMALL_CLASSIFIER = {
    "avenet": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000},
    "avenet_hardway": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 1.0},
    "avid": {"width": 1 / 32, "num_frames": 2, "frame_size": 32, "sample_rate": 8000, "audio_seconds": 0.5},
    "correlation": {"num_frames": 16, "frame_size": 32, "sample_rate": 8000},
    "l3net": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000},
    "soundswitch_audio": {"width": 1 / 32},
    "soundswitch_av": {"width": 1 / 32, "depths": (1, 1, 1), "frame_size": 32},
}
FACTORS = {
    "file": FILES,
    "model_name": tuple(available("avsd_jax.models")),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": SCHEDULES,
    "loss": tuple(losses.available()),
    "sampler": tuple(available("avsd_jax.data.samplers")),
    "preprocessing": tuple(available("avsd_jax.data.preprocessing")),
    "fusion": (*available("avsd_jax.models.fusions"), "published"),
    "classifier": tuple(available("avsd_jax.models.classifiers")),
    "gate": SOURCES,
}
MISSING = object()
NOWHERE = pathlib.Path("/nonexistent/run")
ODD = (None, -1, 0, float("nan"), float("inf"), "abc", (), (1, 2, 3), True, 1.5, {"abc": 1}, 10**30)


@pytest.fixture(autouse=True, scope="module")
def _losses_are_listed_once() -> Iterator[None]:
    """The folder of losses is read for each of the thousands of fields that are checked here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(losses, "available", functools.cache(losses.available))
        yield


def load(name: str) -> object:
    spec = importlib.util.spec_from_file_location(name, CONFIGS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def tiny(file: str, **changes: object) -> ConfigDict:
    """The published configuration of a file as one run of a few channels, with fields of other values."""
    config = load(file).get_config("paper").unlock()
    config.rows, config.row_changes, config.rates, config.tags = (), ConfigDict(), (), ()
    config.frame_size = (64, 64)
    with config.ignore_type():
        for name, value in changes.items():
            config[name] = value
    model = load_module("avsd_jax.models", config.model_name, "model").Model
    if not model.learned:
        config.preprocessing = model.defaults["preprocessing"]
    options = {name: value for name, value in TINY.items() if name in model.__dataclass_fields__}
    options |= {"num_tags": 0} if "num_tags" in model.__dataclass_fields__ else {}
    if config.model_name.startswith("scam"):
        config.tags, config.losses.tags, options["num_tags"] = ("dog", "bell"), 1.0, 2
    if "clip_size" in model.__dataclass_fields__:
        options["clip_size"] = model.clip_size if model.clip_size == 3 else 8
    if "classifier" in model.__dataclass_fields__:
        options["classifier"] = changes.get("classifier", "l3net")
        options["classifier_options"] = SMALL_CLASSIFIER[options["classifier"]]
    if "fusion" in model.__dataclass_fields__:
        options["fusion"] = changes.get("fusion", model.fusion)
    if "gate" in model.__dataclass_fields__:
        options["gate"] = changes.get("gate", "always")
    config.model = ConfigDict(options)
    if "loss" in changes:  # that term alone
        config.losses = ConfigDict(dict.fromkeys(losses.available(), 0.0) | {changes["loss"]: 1.0})
    for name in ("fusion", "classifier", "gate", "loss"):
        if name in config:
            del config[name]
    return config.lock()


def refused(config: ConfigDict, workdir: pathlib.Path, mode: str = "train") -> str | None:
    """Returns the message about a refused configuration; None if it is built and a step of it has a loss."""
    answer = asked(lambda: plan(config, workdir, mode))
    assert not workdir.exists()
    if answer is None:
        (row,) = derive(config, workdir)
        assert dry_run.trace(row.config, Components.from_config(row.config)).metrics["loss"].shape == ()
    return answer


def at_once(config: ConfigDict) -> str | None:
    """Returns the message about a configuration before its shapes are traced."""
    return asked(lambda: checks.validate(derive(config, "runs")[0].config))


def asked(question: Callable[[], object]) -> str | None:
    """The one line by which something is refused; None where it is not."""
    try:
        question()
    except InputError as error:
        lines = str(error).splitlines()
        return lines[0] if len(lines) == 1 else f"several lines: {lines}"
    return None


def pairwise(factors: dict[str, tuple], seed: int) -> Iterator[dict[str, str]]:
    """Combinations in which every two values of any two factors meet."""
    rng, names = random.Random(seed), list(factors)
    missing = {((a, x), (b, y)) for a, b in itertools.combinations(names, 2) for x in factors[a] for y in factors[b]}
    while missing:
        must = min(missing)
        candidates = [{n: rng.choice(v) for n, v in factors.items()} | dict(must) for _ in range(30)]
        best = max(candidates, key=lambda c: len(_pairs(c, names) & missing))
        missing -= _pairs(best, names)
        yield best


def _pairs(combination: dict[str, str], names: list[str]) -> set:
    return set(itertools.combinations([(name, combination[name]) for name in names], 2))


def network(config: ConfigDict) -> None:
    """Builds a configuration's model and traces it, without a step."""
    (row,) = derive(config, NOWHERE)
    dry_run.variables(row.config, checks.validate(row.config))


def try_names(combination: dict[str, str], workdir: pathlib.Path) -> str | None:
    """Returns the message about a combination of names."""
    return refused(configured(combination), workdir)


def configured(combination: dict[str, str]) -> ConfigDict:
    """The configuration of a combination of names."""
    changes = {name: value for name, value in combination.items() if name != "file"}
    # Options are those of one optimizer or sampler.
    return tiny(combination["file"], **changes, optimizer_options=ConfigDict(), side_epochs=0)


# Models, and their preprocessing, whose frames have audio of their own.
OF_FRAMES = ("aam", "dave", "dave_audio", "unisal_av")


@pytest.mark.slow
def test_every_pair_of_names_passes_what_is_asked_at_once() -> None:
    count = 0
    # A loss is only looked up here; it meets outputs of models in a step.
    for combination in pairwise({name: FACTORS[name] for name in FACTORS if name != "loss"}, seed=0):
        changes = {name: value for name, value in combination.items() if name != "file"}
        config = tiny(combination["file"], optimizer_options=ConfigDict(), **changes)
        answer = at_once(config)
        if combination["preprocessing"] in OF_FRAMES and combination["model_name"] not in OF_FRAMES:
            assert answer is None or "gives each frame audio of its own" in answer, combination
        else:
            assert answer is None, combination
        count += 1
    assert count >= len(FACTORS["model_name"]) * len(FACTORS["fusion"])


# The combinations in a step. A model of one convolution stands for all models: optimizers see parameters, schedules see
# numbers and losses see outputs, of whatever network.
STEP = {name: FACTORS[name] for name in ("optimizer", "schedule", "loss", "sampler", "gate")}
STEP["preprocessing"] = ("vinet", "stanet")  # the others give batches of one of these two shapes


@pytest.mark.slow
def test_every_fusion_in_every_model_is_built_or_refused(tmp_path: pathlib.Path) -> None:
    """Each pair as a network; a step, which costs three times as much, of each fusion in one model."""
    answers = []
    models = ("avinet", "stavis", "stanet")
    for number, (model, fusion) in enumerate(itertools.product(models, FACTORS["fusion"])):
        # These go along: each meets every model and every fusion or nearly so, and costs no further network.
        others = {name: FACTORS[name][number % len(FACTORS[name])] for name in ("gate", "classifier", "preprocessing")}
        names = {"file": "stanet", "model_name": model, "fusion": fusion, "loss": "kl", "sampler": "vinet"} | others
        if (models.index(model) + FACTORS["fusion"].index(fusion)) % len(models) == 0:
            answers.append(try_names(names, tmp_path / "run"))
        else:
            answers.append(asked(functools.partial(network, configured(names))))
    assert answers.count(None) > len(answers) / 4


# Losses of something else than a map.
ELSEWHERE = ("ce", "heard", "tags", "side_tags", "avid_nce", "cma_nce", "area", "attention_transfer", "captions")
ELSEWHERE += ("aclnet_attention", "deepvs_coarse", "aam_distance", "aam_entailment")
# What a network of one convolution does not give to a loss.
ABSENT = {"stanet_2021_bce": "scale_logits", "stanet_2021_kl": "scale_logits", "sbf_bce": "logits_global"}
ABSENT |= {"log_kl": "log_density"}


@pytest.mark.slow
def test_every_pair_in_a_step_is_built_or_refused(tmp_path: pathlib.Path) -> None:
    add_extra_models()
    named = {"file": "avinet", "model_name": "tiny_gated", "classifier": "l3net"}
    answers = [(each["loss"], try_names(named | each, tmp_path / "run")) for each in pairwise(STEP, seed=2)]
    assert len(answers) >= len(STEP["loss"]) * len(STEP["preprocessing"])
    for loss, answer in answers:
        if loss in ELSEWHERE:
            assert "losses has no weight for the map" in answer
        elif loss in ABSENT:
            assert f"no {ABSENT[loss]}, which the loss '{loss}' needs" in answer
        else:
            assert answer is None


@pytest.mark.parametrize("number", range(4))
def test_what_is_built_takes_a_step(number: int, tmp_path: pathlib.Path) -> None:
    """The shapes say so; here the arithmetic does."""
    add_extra_models()
    changes = {name: values[number % len(values)] for name, values in STEP.items() if name != "loss"}
    changes["loss"] = ("kl", "stanet_cvpr", "cc", "sim")[number]
    changes |= {"model_name": "tiny_gated", "optimizer_options": ConfigDict()}
    config = tiny("avinet", **changes)
    (row,) = plan(config, tmp_path / "run", "train")
    parts = row.parts
    step = make_train_step(parts.model, parts.optimizer, parts.terms)
    batch = zeros(parts.spec, 2)
    batch["density"][:, 3, 4], batch["avc_label"][:] = 1, 1
    state = create_state(initial_variables(row.config, parts), parts.optimizer, keep_ema=False)
    state, metrics = fast_jit(step)(state, batch, hyperparameters_by_step(row.config, parts)(0))
    assert np.isfinite(metrics["loss"])
    assert all(bool(finite) for finite in metrics["finite"].values())


@pytest.mark.parametrize("file", ["avinet", "stanet"])
def test_a_schedule_in_steps_is_for_every_model(file: str) -> None:
    config = tiny(file, schedule="steps")
    assert at_once(config) is None
    rates = make_schedule(config)
    total = config.total_steps
    np.testing.assert_allclose(
        [rates(0), rates(total // 2), rates(total - 1)], config.learning_rate * _FALLS, rtol=1e-5
    )


_FALLS = np.array([1, 0.1, 0.01])


def fields(config: ConfigDict, prefix: str = "") -> Iterator[str]:
    """Paths of all fields, those of sections among them."""
    for name, value in config.items():
        yield prefix + name
        if isinstance(value, ConfigDict):
            yield from fields(value, f"{prefix}{name}.")


def changed(config: ConfigDict, path: str, value: object) -> ConfigDict:
    """A copy with one field of another value, or without it."""
    result = copy.deepcopy(config).unlock()
    *sections, name = path.split(".")
    section = result
    for part in sections:
        section = section[part]
    with section.ignore_type():
        if value is MISSING:
            del section[name]
        else:
            section[name] = value
    return result.lock()


def fuzzed(file: str) -> Iterator[tuple[str, object, ConfigDict]]:
    """A file's configuration with one field of another value or type, or without it."""
    config = tiny(file, **({} if file == "scam" else {"gate": "classifier"}))
    for path in fields(config):
        for value in (*ODD, MISSING):
            yield path, value, changed(config, path, value)


@pytest.mark.parametrize("file", slow_except(FILES, ["avinet"]))
def test_a_value_that_is_refused_at_once_is_named(file: str) -> None:
    passed: dict[str, list[object]] = {}
    for path, value, config in fuzzed(file):
        answer = at_once(config)
        if answer is None:
            passed.setdefault(path, []).append(value)
        else:
            assert path.rpartition(".")[2] in answer, (path, value, answer)
            assert "several lines" not in answer
    nulls = {path for path, values in passed.items() if any(value is None for value in values)}
    assert nulls <= {"optimizer_options.momentum"}, "null is no value but where an optimizer says so"
    assert "batch_size" not in passed, "no odd value is a number of clips, and none stands for it"
    assert passed["losses.kl"] == [0, True, 1.5, 10**30, MISSING], "True is stored as 1.0"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"loss": "heard"}, "losses has no weight for the map that the model predicts: give it one, as losses.kl=1"),
        ({"loss": "stavis_bce", "side_epochs": 3}, "the model has no side_logits, .* set side_epochs=0"),
        ({"side_epochs": 3}, "side_epochs trains side maps, which no loss with a weight reads: set side_epochs=0"),
        ({"loss": "stanet_2021_kl", "model_name": "stavis_visual"}, "no scale_logits, which the loss 'stanet_2021_kl'"),
        ({"model_name": "avc", "rho": 1.0}, "losses and rho leave the model no loss: .*losses.ce.* set rho below 1"),
        ({"model_name": "soundnet8"}, "the model predicts no map and no tags"),
        ({"cc_weight": 0.1}, "the field cc_weight has become one of losses: give losses.TERM a weight"),
        ({"optimizer_options": {"b1": "0.9"}}, "optimizer_options.b1='0.9' is no number"),
        ({"optimizer_options": {"mask": 1}}, "optimizer 'adam' has no option 'mask'"),
        ({"rates": (("nothing", 1.0),)}, "no entry of rates is for the parameter"),
        ({"schedule": "steps", "rate_drops": ()}, "rate_drops=.* gives schedule='steps' no step"),
        ({"sampler": "stavis", "frame_step": 2}, "use frame_step=1"),
        ({"preprocessing": "stavis", "preprocessing_options": {"first_filter": "box"}}, "unknown first_filter 'box'"),
        ({"frame_size": (33, 64)}, "multiples of 32"),
        ({"init": "/nowhere"}, "init='/nowhere': /nowhere is not a trained model"),
        ({"init_parts": {"audionet": "/nowhere"}}, "init_parts.audionet='/nowhere'"),
    ],
)
def test_what_does_not_go_together_is_said_before_a_start(changes: dict, words: str, tmp_path: pathlib.Path) -> None:
    if "model_name" not in changes:  # compiles nothing, and takes a tenth of AViNet's time
        changes |= {
            "model_name": "stanet" if "frame_size" not in changes else "vinet",
            "loss": changes.get("loss", "kl"),
        }
    assert re.search(words, refused(tiny("avinet", **changes), tmp_path / "run") or "built")


ROWS = {
    "base": {"label": ""},
    "star": {"label": "AV*", "init": "base", "effort": 2},
    "oracle": {"label": "AV#", "weights": "star"},
}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("star.batch_size", 0, "row 'star': batch_size=0 is too small"),
        ("star.bacth_size", 4, "row 'star' changes 'bacth_size', which is no field"),
        ("star.label", None, "row_changes.star.label=None is no text"),
        ("star.effort", float("nan"), "row_changes.star.effort=nan is"),
        ("star.model", {"clip_size": 5}, "row 'star': .*clip_size"),
        ("star.model", {"width": "wide"}, "row 'star': model.width='wide' is no number"),
        ("star.model", {"width": 1 / 8}, "row 'star': .*/base: .* is .* there and .* in this model"),
        ("star.model_name", "vnet", "unknown model 'vnet'"),
        ("star.init", "later", "row 'star' needs 'later', which is no row before it"),
        ("oracle.weights", "oracle", "row 'oracle' needs 'oracle', which is no row before it"),
        ("oracle.init", "base", "row 'oracle' has init='base' and weights='star': give init to train it"),
        ("oracle.model", {"width": 1 / 8}, "row 'oracle': the weights are not those of stanet"),
        ("star", {}, "the configuration has no row_changes.star.label"),
        ("star.model_name", "vggsound", "row 'star': .*(predicts no map|shares no parameter)"),
    ],
)
def test_every_row_is_built_before_the_first_trains(path: str, value: object, words: str, tmp_path) -> None:
    config = tiny("stanet", loss="kl").unlock()
    config.rows, config.row_changes = tuple(ROWS), ConfigDict(copy.deepcopy(ROWS))
    row, _, field = path.partition(".")
    changes = value if not field else ROWS[row] | {field: value}
    with config.row_changes.ignore_type():
        config.row_changes[row] = ConfigDict(changes)
    with pytest.raises(InputError, match=words):
        plan(config.lock(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("base", "base"), "row 'base' is in rows twice"),
        ("base", "is no list of words|'base'"),
        (("oracle",), "row 'oracle' needs 'star'"),
        (("nothing",), "row 'nothing' is not in row_changes"),
    ],
)
def test_rows_that_cannot_be_run_are_named(rows: object, words: str) -> None:
    config = tiny("stanet").unlock()
    with config.ignore_type():
        config.rows, config.row_changes = rows, ConfigDict(ROWS)
    with pytest.raises(InputError, match=words):
        derive(config, "runs")


def test_a_comparison_is_built_row_by_row(tmp_path: pathlib.Path) -> None:
    config = tiny("stanet", loss="kl").unlock()
    config.rows, config.row_changes = tuple(ROWS), ConfigDict(ROWS)
    rows = plan(config.lock(), tmp_path / "run")
    assert [row.config.total_steps for row in rows] == [30_000, 60_000, 30_000]


def test_the_record_of_an_earlier_version_is_completed_and_goes_on() -> None:
    config = tiny("avinet")
    record = ConfigDict(
        {name: value for name, value in config.items() if name not in ("rate_drops", "rates", "losses")}
    )
    assert json.loads(completed(record).to_json()) == json.loads(completed(config).to_json())
    assert "losses" not in record


def test_the_documentation_lists_every_field() -> None:
    text = (CONFIGS.parent / "docs/configurations.md").read_text()
    for name in (*FIELDS, *SCAM_FIELDS, *ROW_FIELDS):
        assert f"`{name}`" in text, name


@pytest.mark.slow
def test_values_are_refused_by_name_or_built(tmp_path: pathlib.Path) -> None:
    """A sample, of the model that is traced soonest; as a script this file tries every value."""
    for path, value, config in random.Random(3).sample(list(fuzzed("stanet")), 40):
        answer = refused(config, tmp_path / "run")
        assert answer is None or path.rpartition(".")[2] in answer, (path, value, answer)


def main(share: float) -> None:
    """Tries every value in every file, and a share of the product of names; prints how often each message came."""
    for file in FILES:
        for path, value, config in fuzzed(file):
            answer = refused(config, NOWHERE)
            if answer is not None and path.rpartition(".")[2] not in answer:
                print(f"{file}: {path}={value!r} is not named in: {answer}")
    chosen, answers = random.Random(2), {}
    for values in itertools.product(*FACTORS.values()):
        if chosen.random() < share:
            answer = try_names(dict(zip(FACTORS, values, strict=True)), NOWHERE) or "built"
            answers[answer] = answers.get(answer, 0) + 1
    for answer, number in sorted(answers.items(), key=lambda item: -item[1]):
        print(f"{number:6d}  {answer}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
