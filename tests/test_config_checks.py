"""Whatever a configuration says, it is built or refused in one sentence, before anything is written.

`python tests/test_config_checks.py [SHARE]` tries the whole product of names, or a share of it, and prints a count.
"""

import copy
import importlib.util
import itertools
import pathlib
import random
import sys
from collections.abc import Iterator

import pytest
from ml_collections import ConfigDict

from avsd_jax import config_checks, config_fields, dry_run
from avsd_jax.by_name import available, load_module
from avsd_jax.config_fields import FIELDS, SCHEDULES
from avsd_jax.errors import InputError
from avsd_jax.losses import LOSSES
from avsd_jax.nn.gate import SOURCES
from avsd_jax.optimizer import OPTIMIZERS
from avsd_jax.rows import derive, plan

CONFIGS = pathlib.Path(__file__).parent.parent / "configs"
FILES = ("avinet", "stavis", "stanet", "scam")
TINY = {"width": 1 / 32, "depths": (1, 1, 1), "num_classes": 4}
SMALL_CLASSIFIER = {
    "l3net": {"width": 1 / 32, "frame_size": 32, "sample_rate": 8000},
    "soundswitch_audio": {"width": 1 / 32},
    "soundswitch_av": {"width": 1 / 32, "depths": (1, 1, 1), "frame_size": 32},
}
FACTORS = {
    "file": FILES,
    "model_name": tuple(available("avsd_jax.models")),
    "optimizer": tuple(OPTIMIZERS),
    "schedule": SCHEDULES,
    "loss": LOSSES,
    "sampler": tuple(available("avsd_jax.data.samplers")),
    "preprocessing": tuple(available("avsd_jax.data.preprocessing")),
    "fusion": (*available("avsd_jax.models.fusions"), "published"),
    "classifier": tuple(available("avsd_jax.models.classifiers")),
    "gate": SOURCES,
}
MISSING = object()
ODD = (None, -1, 0, float("nan"), float("inf"), "abc", (), (1, 2, 3), True, 1.5, {"abc": 1}, 10**30)


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
    options = {name: value for name, value in TINY.items() if name in model.__dataclass_fields__}
    options |= {"num_tags": 0} if "num_tags" in model.__dataclass_fields__ else {}
    if config.model_name.startswith("scam"):
        config.tags, config.tag_weight, options["num_tags"] = ("dog", "bell"), 1.0, 2
    if "clip_size" in model.__dataclass_fields__:
        options["clip_size"] = model.clip_size if model.clip_size == 3 else 8
    if "classifier" in model.__dataclass_fields__:
        options["classifier"] = changes.get("classifier", "l3net")
        options["classifier_options"] = SMALL_CLASSIFIER[options["classifier"]]
    if "fusion" in model.__dataclass_fields__:
        options["fusion"] = changes.get("fusion", model.fusion)
        options["gate"] = changes.get("gate", "always")
    config.model = ConfigDict(options)
    for name in ("fusion", "classifier", "gate"):
        if name in config:
            del config[name]
    return config.lock()


def refused(config: ConfigDict, workdir: pathlib.Path, mode: str = "train") -> str | None:
    """What is said of a configuration that is refused; None where it is built, and a step of it has a loss."""
    try:
        (row,) = plan(config, workdir, mode)
    except InputError as error:
        assert "\n" not in str(error)
        return str(error)
    finally:
        assert not workdir.exists()
    assert dry_run.trace(row.config).metrics["loss"].shape == ()
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


def try_names(combination: dict[str, str], workdir: pathlib.Path) -> str | None:
    """What is said of a combination of names."""
    changes = {name: value for name, value in combination.items() if name != "file"}
    # Options are those of one optimizer or sampler; the weights are those that its loss needs.
    changes |= {"optimizer_options": ConfigDict(), "bce_weight": 1.0, "side_epochs": 0}
    return refused(tiny(combination["file"], **changes), workdir)


def test_every_pair_of_names_passes_what_is_asked_at_once(tmp_path: pathlib.Path) -> None:
    count = 0
    for combination in pairwise(FACTORS, seed=0):
        changes = {name: value for name, value in combination.items() if name != "file"}
        config = tiny(combination["file"], optimizer_options=ConfigDict(), **changes)
        try:
            config_checks.check(derive(config, tmp_path / "run")[0].config)
        except InputError as error:
            # What STAViS's sampler cannot do is said; no other name excludes another one.
            assert "stavis" in str(error), (combination, error)
        count += 1
    assert count > len(FACTORS["model_name"]) * len(FACTORS["fusion"])


@pytest.mark.slow
def test_every_pair_of_names_is_built_or_refused(tmp_path: pathlib.Path) -> None:
    answers = [try_names(combination, tmp_path / "run") for combination in pairwise(FACTORS, seed=1)]
    assert answers.count(None) > len(answers) / 3


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


@pytest.mark.parametrize("file", FILES)
def test_a_value_that_is_refused_at_once_is_named(file: str, tmp_path: pathlib.Path) -> None:
    passed: dict[str, list[object]] = {}
    for path, value, config in fuzzed(file):
        try:
            config_checks.check(derive(config, tmp_path / "run")[0].config)
        except InputError as error:
            assert path.rpartition(".")[2] in str(error), (path, value, error)
            assert "\n" not in str(error)
        else:
            passed.setdefault(path, []).append(value)
    assert not any(value is None for values in passed.values() for value in values), "null is no value"
    assert passed["batch_size"] == []
    assert MISSING not in passed["total_steps"]


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_every_value_is_refused_by_name_or_built(file: str, tmp_path: pathlib.Path) -> None:
    for path, value, config in fuzzed(file):
        answer = refused(config, tmp_path / "run")
        assert answer is None or path.rpartition(".")[2] in answer, (path, value, answer)


if __name__ == "__main__":
    share, chosen = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0, random.Random(2)
    answers: dict[str, int] = {}
    for values in itertools.product(*FACTORS.values()):
        if chosen.random() < share:
            answer = try_names(dict(zip(FACTORS, values, strict=True)), pathlib.Path("/nonexistent/run")) or "built"
            answers[answer] = answers.get(answer, 0) + 1
    for answer, number in sorted(answers.items(), key=lambda item: -item[1]):
        print(f"{number:6d}  {answer}")
