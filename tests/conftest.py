"""Shared fixtures: parsed flags, the parity material, and shape checking of every annotated function."""

import collections
import gc
import os
import pathlib
from collections.abc import Iterator

import program_cache

# Must be set before jax is imported: the parallel tests need eight devices.
os.environ.setdefault("XLA_FLAGS", f"--xla_force_host_platform_device_count=8 {program_cache.quick_flags()}")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# On a GPU or TPU products are not float32 by default, and recorded outputs are.
if os.environ["JAX_PLATFORMS"] != "cpu":
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
# Half of the time goes into compilation: tests, the commands they start and later runs share its results.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(program_cache.folder()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")

import hypothesis
import pytest
from absl import flags
from beartype import BeartypeConf
from beartype.claw import beartype_packages
from jaxtyping import install_import_hook

ROOT = pathlib.Path(__file__).parent.parent

# Every annotation is checked at every call. What binds the axes of arrays is slow, so modules without arrays of the
# rooms that are called most go without it.
OFTEN_CALLED = ("avsd_jax.common", "avsd_jax.config")
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path.read_text("utf-8")
    for path in (ROOT / "avsd_jax").rglob("*.py")
}
PLAIN = [name for name, text in MODULES.items() if name.startswith(OFTEN_CALLED) and "jaxtyping" not in text]
# A package stands for all that is in it.
install_import_hook(sorted(MODULES.keys() - PLAIN - {"avsd_jax"}), "beartype.beartype")
beartype_packages(PLAIN, conf=BeartypeConf(claw_is_pep526=False))

# Tracing a network makes hundreds of thousands of objects: looking for cycles among them takes a fifth of the time.
USUAL_THRESHOLD, THRESHOLD = gc.get_threshold(), (100_000, 10, 10)
gc.set_threshold(*THRESHOLD)

# A test that fails here fails everywhere: examples come from the test's own code, not from chance.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    # pytest-xdist would start the files of the most tests first: those of few and long ones would come last, alone.
    config.option.loadscopereorder = False
    # TFDS 4.9.10 reads a property of protobuf's that protobuf 7 deprecates, when it opens a prepared dataset.
    config.addinivalue_line("filterwarnings", r"ignore:label\(\) is deprecated:DeprecationWarning")


@pytest.hookimpl(trylast=True)  # of the tests that are left
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest files first, so that parallel processes end together."""
    seconds = collections.Counter()
    for item in items:
        seconds[item.path] += 10 if item.get_closest_marker("slow") else 0.4
    items.sort(key=lambda item: -seconds[item.path])  # stable: tests of a file stay together, in their order


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # what was imported stays


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
    """The folder of parity cases and measured facts, beside the checkout; AVSD_SHARED overrides it."""
    path = pathlib.Path(os.environ.get("AVSD_SHARED", ROOT.parent / "shared"))
    if not (path / "parity").is_dir():
        pytest.skip(f"no parity material at {path}: set AVSD_SHARED to the folder that holds parity/")
    return path


@pytest.fixture(scope="session")
def tiny_data_dir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A data folder with `sounding_shapes/tiny` prepared; parallel test processes share one."""
    from avsd_jax import datasets

    base = tmp_path_factory.getbasetemp()
    data_dir = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny_data"
    datasets.build("sounding_shapes/tiny", data_dir)
    return data_dir


@pytest.fixture
def _usual_collections() -> Iterator[None]:
    """Cycles are collected as often as elsewhere, for tests that measure memory."""
    gc.set_threshold(*USUAL_THRESHOLD)
    yield
    gc.set_threshold(*THRESHOLD)


@pytest.fixture(autouse=True, scope="session")
def _parsed_flags() -> None:
    """Grain reads absl flags, which nobody parses under pytest."""
    flags.FLAGS.mark_as_parsed()
