"""Flags of Apache Beam."""

import pathlib

import pytest

from avsd_jax.common import beam
from avsd_jax.errors import InputError

pytest.importorskip("apache_beam", reason="Beam is not installed")


@pytest.mark.parametrize(
    ("runner", "why"),
    [
        ("Nonsense", "Unexpected pipeline runner: Nonsense. Valid values are .*DirectRunner"),
        ("no.such.Runner", "No module named 'no'"),
        ("json.Runner", "module 'json' has no attribute 'Runner'"),
        ("json.JSONDecoder", "it is no PipelineRunner"),
    ],
)
def test_an_unknown_runner_is_one_error(runner: str, why: str, tmp_path: pathlib.Path):
    """Of the command, before anything is written, and not one of every element."""
    flags = beam.flags(f"--runner={runner}")
    message = rf"--beam_pipeline_options: there is no runner {runner} \({why}.*\): correct its name"
    with pytest.raises(InputError, match=message):
        beam.pipeline_options(flags)
    with pytest.raises(InputError, match=message):
        beam.run(lambda: str, [1, 2], flags, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("runner", ["DirectRunner", "direct", "FlinkRunner", "PortableRunner"])
def test_runners_are_known_by_the_names_that_beam_knows(runner: str):
    assert "runner" in beam.pipeline_options(beam.flags(f"runner={runner}")).get_all_options()
