"""Compiled programs are kept for other processes: where, how much, and by content alone."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from avsd_jax.common import programs

OPTIONS = (
    *("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs"),
    "jax_persistent_cache_enable_xla_caches",
)


@pytest.fixture
def usual(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """An environment that says nothing; jax's options are set back."""
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    for name, value in before.items():
        jax.config.update(name, value)
    programs.compilation_cache.reset_cache()


def compiled(folder: Path) -> set[str]:
    """Compiles a program as a new process with this folder would; returns the folder's programs."""
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.clear_caches()
    programs.compilation_cache.reset_cache()
    jax.jit(lambda x: x * 3 + 1)(jnp.ones(3)).block_until_ready()
    return {path.name for path in folder.glob("*-cache")}


def test_programs_are_found_in_a_folder_that_was_moved(usual: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    programs.keep_programs()
    folder = programs.default_folder()
    assert folder.is_relative_to(tmp_path / "home/avsd_jax/compiled")
    assert folder.stat().st_mode & 0o077 == 0
    kept = compiled(folder)
    assert kept
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    programs.keep_programs(moved)
    assert compiled(moved) == kept
    (moved / next(name for name in kept if "lambda" in name)).write_bytes(b"cut off")
    compiled(moved)
    programs.keep_programs("")
    assert jax.config.jax_compilation_cache_dir is None


def test_the_environment_names_the_folder_and_a_configuration_another(
    usual: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usual.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "environment"))
    programs.keep_programs()
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "environment")
    programs.keep_programs(tmp_path / "given")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "given")


def test_a_folder_that_cannot_be_written_is_one_warning(
    usual: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "file").write_text("")
    programs.keep_programs(tmp_path / "file" / "below")
    assert jax.config.jax_compilation_cache_dir is None
    usual.chdir(tmp_path)
    usual.setattr(programs.os.path, "expanduser", lambda path: path)  # as for a user without a home
    usual.delenv("XDG_CACHE_HOME", raising=False)
    for unusable in (programs.AUTO, tmp_path / ("long" * 99)):
        programs.keep_programs(unusable)
        assert jax.config.jax_compilation_cache_dir is None
    assert {path.name for path in tmp_path.iterdir()} == {"file"}
    (tmp_path / "full").mkdir()
    usual.setattr(programs.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    programs.keep_programs(tmp_path / "full")
    assert jax.config.jax_compilation_cache_dir == str(tmp_path / "full")  # to be read
    assert jax.config.jax_persistent_cache_min_compile_time_secs == float("inf")
    assert [record.message.split(" cannot")[0] for record in caplog.records] == [
        str(tmp_path / "file/below"),
        str(programs.default_folder()),
        str(tmp_path / ("long" * 99)),
        str(tmp_path / "full"),
    ]


def test_what_was_not_used_for_longest_is_removed(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "old", "oldest")):
        path = tmp_path / f"{name}-cache"
        path.write_bytes(bytes(10))
        os.utime(path, (1e9 - age, 1e9 - age))
    (tmp_path / "other").write_bytes(bytes(100))
    programs.trim(tmp_path, 25)
    assert {path.name for path in tmp_path.iterdir()} == {"new-cache", "old-cache", "other"}
    programs.trim(tmp_path / "missing", 0)
