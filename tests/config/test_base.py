"""One base for every configuration, and records of runs that were made before there was one."""

import copy
import importlib.util
import json
import pathlib
import re

import drawn
import jax
import numpy as np
import pytest
from media_files import regular, write_video
from ml_collections import ConfigDict

from avsd_jax import losses
from avsd_jax.batch import zeros
from avsd_jax.config import command_line
from avsd_jax.config.base import base, completed, defaults
from avsd_jax.config.fields import FIELDS
from avsd_jax.errors import InputError
from avsd_jax.experiment import checks
from avsd_jax.experiment.comparison import derive
from avsd_jax.predict import Predictor
from avsd_jax.runs.checkpoint import load_model, save_variables
from avsd_jax.runs.components import Inference
from avsd_jax.runs.run_folder import check_same_run

ROOT = pathlib.Path(__file__).parents[2]
GATED = ("avinet", "stavis", "stanet", "dave")
EARLIER = json.loads((pathlib.Path(__file__).parent / "earlier_run.json").read_text())


def get_config(file: str, variant: str) -> ConfigDict:
    spec = importlib.util.spec_from_file_location(file, ROOT / f"configs/{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(variant)


@pytest.mark.parametrize("file", [*GATED, "scam"])
def test_a_configuration_has_the_fields_of_the_base_and_no_other(file: str) -> None:
    paper = get_config(file, "paper")
    assert set(paper) - {"scam"} == set(FIELDS) - ({"split"} - set(paper))
    assert set(base(paper.model_name).model) == set(paper.model)


@pytest.mark.parametrize("file", GATED)
def test_variants_mean_the_same_for_every_model(file: str) -> None:
    paper, star, oracle, demo = (get_config(file, variant) for variant in ("paper", "star", "oracle", "demo"))
    assert [c.model.gate for c in (paper, star, oracle)] == ["always", "classifier", "labels"]
    assert {c.dataset for c in (star, oracle)} == {"six"}
    labels = [row.label for row in derive(demo, "runs") if row.label]
    assert labels == ["V", "AV", "AV*", "AV#"]
    unlocked = get_config(file, "star").unlock()
    unlocked.split = 2
    assert (unlocked.train_split, unlocked.test_split) == ("train_2", "test_2")


@pytest.mark.parametrize("file", GATED)
@pytest.mark.parametrize(
    "changes",
    [
        {"schedule": "steps"},
        {"flip": True},
        {"target_maps": "maps"},
        {"losses": {"stanet_cvpr": 1.0}},
        {"losses": {"stavis_cc": 1.0}},
        {"preprocessing": "stavis", "sampler": "stavis"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_general_field_is_for_every_model(file: str, changes: dict) -> None:
    config = get_config(file, "star").unlock()
    config.preprocessing_options = ConfigDict()  # which belong to the configuration's preprocessing
    config.update(changes)
    (row,) = derive(config, "runs")
    assert checks.validate(row.config).model.gate == "classifier"


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # as config_flags reads a file
def test_options_that_a_file_does_not_mention_are_set_on_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    arguments = (
        "--config.optimizer=adamw",
        "--config.optimizer_options.b1=0.5",
        "--config.optimizer_options.mu_dtype=None",
        "--config.model.fusion_options.hidden=12",
        "--config.model.classifier_options.width=0.125",
        "--config.model.lowering=direct",
        "--config.sampler=stavis",
        "--config.sampler_options.targets=median",
        "--config.rows=()",
    )
    config = command_line.load("configs/avinet.py:demo", arguments)
    assert config.optimizer_options.to_dict() == {"b1": 0.5, "mu_dtype": None}
    assert (config.optimizer, config.model.lowering, config.sampler_options.targets) == ("adamw", "direct", "median")
    assert (config.model.fusion_options.hidden, config.model.classifier_options.width) == (12, 0.125)
    config = command_line.load("configs/avinet.py:demo", [*arguments, "--config.sampler_options.targts", "median"])
    with pytest.raises(InputError, match="sampler 'stavis' has no option 'targts': choose among"):
        checks.validate(derive(config, "runs")[0].config)


def test_the_documentation_states_every_default() -> None:
    text = (ROOT / "docs/configurations.md").read_text()
    shown = dict(re.findall(r"^\| `(\w+)` \| .* \| `(.*)` \|$", text.partition("## Fields of the section")[0], re.M))
    for name, value in defaults().items():
        if name not in ("run_name", "model_name", "model", "rate_drops", "losses"):
            value = value.to_dict() if isinstance(value, ConfigDict) else value
            assert shown[name] == repr(value), name
    weights = dict(re.findall(r"^\| `(\w+)` \| .* \| `([\d.]+)` \|$", text.partition("## Losses")[2], re.M))
    assert {name: float(weight) for name, weight in weights.items()} == losses.default_weights()


@pytest.mark.slow
def test_a_run_made_before_there_was_a_base_loads_predicts_and_resumes(tmp_path: pathlib.Path) -> None:
    parts = Inference.from_config(completed(ConfigDict(copy.deepcopy(EARLIER))))
    shapes = drawn.shapes(parts.model, zeros(parts.spec))
    folder = tmp_path / "run"
    save_variables(folder, EARLIER, drawn.variables(shapes))

    model, variables = load_model(folder)
    assert (model.gate, model.width, model.precision) == ("classifier", 1 / 32, "default")
    assert jax.tree.map(np.shape, variables) == jax.tree.map(lambda x: x.shape, shapes)
    video = write_video(tmp_path / "video.mp4", regular(4))
    result = Predictor(folder).run(video, tmp_path / "out", progress=False)
    assert result.num_frames == 4

    again = base("avinet")
    # The loss of that time, `loss` and six weights, is now a section of weights.
    again.update({name: value for name, value in EARLIER.items() if name != "model" and name in again})
    again.losses.tags = EARLIER["tag_weight"]
    again.model.update(EARLIER["model"])
    del again.split
    check_same_run(again, folder)
    again.model.width = 1.0
    with pytest.raises(InputError, match="holds a run with model="):
        check_same_run(again, folder)
