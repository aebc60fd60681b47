"""What differs between the runs of a comparison, or between seeds, is no reason to compile a step again."""

import dataclasses
import logging
import pathlib

import jax
import numpy as np
import pytest
from jax.experimental.compilation_cache import compilation_cache
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config

from avsd_jax.common.parallel import make_mesh
from avsd_jax.runs import initial
from avsd_jax.runs.components import Components
from avsd_jax.training import loop, program

# Everything that is a number in the step, or decides one.
CHANGES = {
    "seed": {"seed": 2**32 - 1},
    "learning rate": {"learning_rate": 3e-4},
    "schedule": {"schedule": "constant", "warmup_steps": 1},
    "total steps": {"total_steps": 3},
    "loss": {"rho": 0.25, "cc_weight": 0.7},
    "clipping": {"clip_norm": 0.3},
    "average": {"ema_decay": 0.25},
}
TWO_FLOWS = {"fusion": "spatial_alignment", "fusion_options": {}, "train_gate": "predicted"}
BASE = {"total_steps": 2, "cc_weight": 0.1, "clip_norm": 1.0, "ema_decay": 0.5}


def forget() -> None:
    """Forgets every program of this process, as a new process would."""
    program._compiled.cache_clear()
    initial._draw.cache_clear()
    compilation_cache.reset_cache()


@pytest.fixture
def train(tmp_path: pathlib.Path, tiny_data_dir: pathlib.Path, caplog: pytest.LogCaptureFixture):
    """Trains with changes to the base; returns which programs this compiled or loaded, and the state."""
    add_extra_models()
    caplog.set_level(logging.WARNING)

    def run(shared: bool = False, **changes: object):
        caplog.clear()
        config = tiny_config(tiny_data_dir, **(BASE | changes))
        with jax.log_compiles():
            folder = tmp_path / str(len(list(tmp_path.iterdir())))
            parts = dataclasses.replace(Components.from_config(config), shared=shared)
            state = loop.train(config, folder, parts=parts, mesh=make_mesh(jax.devices()[:1]))
        text = "\n".join(record.getMessage() for record in caplog.records)
        return [name for name in ("step", "draw") if f"XLA compilation of jit({name})" in text], state

    return run


@pytest.mark.slow
def test_one_process_compiles_a_network_once(train) -> None:
    forget()
    programs, first = train()
    assert programs == ["step", "draw"]
    for name, changes in CHANGES.items():
        programs, state = train(**changes)
        assert programs == [], name
        different = [bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, (first, state)), strict=True)]
        assert any(different), f"{name} is read"
    assert train(optimizer="sgd")[0] == ["step"]


@pytest.mark.slow
def test_rows_that_differ_in_their_gate_alone_train_by_one_program(train) -> None:
    forget()
    alone, together = {}, {}
    for gate in ("always", "never", "labels"):
        changes = {"model_name": "two_flows", "model": ConfigDict(TWO_FLOWS | {"gate": gate})}
        programs, together[gate] = train(shared=True, **changes)
        assert programs == (["step", "draw"] if gate == "always" else [])
        alone[gate] = train(**changes)[1]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), alone[gate], together[gate])
    different = [bool((a != b).any()) for a, b in zip(*map(jax.tree.leaves, list(alone.values())[:2]), strict=True)]
    assert any(different), "the gate is not the same"


@pytest.mark.slow
def test_another_process_reads_the_programs_from_the_workdir(train, tmp_path_factory, monkeypatch) -> None:
    hits, misses = [], []
    listener = lambda event, **_: {  # noqa: E731
        "/jax/compilation_cache/cache_hits": hits,
        "/jax/compilation_cache/cache_misses": misses,
    }.get(event, []).append(event)
    jax.monitoring.register_event_listener(listener)
    before = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
    jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.05)
    try:
        forget()
        train()
        assert misses
        compiled = len(misses)
        for changes in (CHANGES["seed"], CHANGES["schedule"] | CHANGES["total steps"] | CHANGES["loss"]):
            forget()
            hits.clear()
            train(**changes)
            assert len(hits) >= 2
            assert len(misses) == compiled
    finally:
        jax.config.update("jax_compilation_cache_dir", before[0])
        jax.config.update("jax_persistent_cache_min_compile_time_secs", before[1])
        jax.monitoring.unregister_event_listener(listener)
        compilation_cache.reset_cache()
