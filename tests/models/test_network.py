"""What all models have in common: the precision of their products."""

import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from avsd_jax import models
from avsd_jax.config.base import base, completed
from avsd_jax.errors import InputError
from avsd_jax.models.common.network import PRECISIONS, Network
from avsd_jax.nn.conv3d import Conv3D
from avsd_jax.runs.classifier import Classifier
from avsd_jax.runs.components import model_from_config


def _products(jaxpr) -> list[str]:
    """The precisions of all products of a program, as text."""
    found = []
    for equation in jaxpr.eqns:
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            found.append(str(equation.params["precision"]))
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                found += _products(inner) if hasattr(inner, "eqns") else []
    return found


def _pair(name: str) -> str:
    return str((jax.lax.Precision[name],) * 2)


class _Tiny(Network):
    @nn.compact
    def __call__(self, batch: dict) -> jax.Array:
        x = nn.relu(Conv3D(4, (1, 3, 3), padding=(0, 1, 1))(batch["video"]))
        return nn.Dense(1)(x).sum()


def test_products_forwards_and_backwards_have_the_models_precision() -> None:
    def found(model: Network) -> set[str]:
        batch = {"video": jnp.zeros((1, 2, 8, 8, 3))}
        variables = jax.eval_shape(model.init, jax.random.key(0), batch)
        return set(_products(jax.make_jaxpr(jax.grad(model.apply))(variables, batch).jaxpr))

    assert found(_Tiny()) == {"None"}
    assert found(_Tiny(precision="highest")) == {_pair("HIGHEST")}
    with jax.default_matmul_precision("high"):  # what a user sets for all programs
        assert found(_Tiny()) == {_pair("HIGH")}


def test_precision_is_part_of_a_model_and_of_its_classifier() -> None:
    config = completed(
        ConfigDict({"model_name": "avinet", "model": {"gate": "classifier", "classifier": "correlation"}})
    )
    several = [model_from_config(ConfigDict(config.to_dict() | {"precision": name})) for name in PRECISIONS]
    assert [model.precision for model in several] == list(PRECISIONS)
    assert len({hash(model) for model in several}) == len(set(several)) == 3
    assert Classifier.of(several[2], {"params": {}}).model.precision == "highest"
    assert "precision" not in base("avinet").model
    with pytest.raises(InputError, match="unknown precision 'best': choose one of default, high, highest"):
        model_from_config(ConfigDict(config.to_dict() | {"precision": "best"}))
    assert models.create("vinet").precision == "default"
