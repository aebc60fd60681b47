"""A command starts itself once more to have huge pages, and only where that helps and harms nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from avsd_jax.common import huge_pages

COMMAND = """
import os, sys
os.write(1, f"started {os.getpid()}\\n".encode())
if "traced" in sys.argv: sys.settrace(lambda *_: None)
if "profiled" in sys.argv: sys.setprofile(lambda *_: None)
if "monitored" in sys.argv and hasattr(sys, "monitoring"): sys.monitoring.use_tool_id(1, "coverage")
if "monitored" in sys.argv and not hasattr(sys, "monitoring"): sys.settrace(lambda *_: None)
if "nowhere" in sys.argv: sys.executable = "/nowhere/python"
import avsd_jax.common.huge_pages
from avsd_jax.common.huge_pages import asked_for
print(os.environ.get("GLIBC_TUNABLES"), asked_for(), sys.argv[1:], sys.stdin.read(), sys.flags.dev_mode)
sys.exit(7)
"""

glibc = os.confstr("CS_GNU_LIBC_VERSION") if hasattr(os, "confstr") else None
pytestmark = pytest.mark.skipif(not (glibc or "").startswith("glibc"), reason="another C library")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A package with the module, a command of a registered name, and the system's setting in a file beside."""
    common = tmp_path / "avsd_jax" / "common"
    common.mkdir(parents=True)
    for package in (common, common.parent):
        (package / "__init__.py").touch()
    source = Path(huge_pages.__file__).read_text().replace("(2, 35)", "(2, 0)")
    (common / "huge_pages.py").write_text(source.replace(str(huge_pages._SETTING), str(tmp_path / "enabled")))
    (tmp_path / "avsd_jax" / "main.py").write_text(COMMAND)
    (tmp_path / "enabled").write_text("always [madvise] never\n")
    return tmp_path


def started(
    folder: Path, *arguments: str, tunables: str | None = None, given: tuple[str, ...] = ("-m", "avsd_jax.main")
) -> tuple[int, str]:
    """Runs the command; returns how often it was started, in one process, and the line that it printed."""
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {} if tunables is None else {"GLIBC_TUNABLES": tunables}
    process = subprocess.Popen(
        [sys.executable, "-X", "dev", *given, *arguments],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    *starts, line = process.communicate("input")[0].splitlines()
    assert process.returncode == 7
    assert set(starts) == {f"started {process.pid}"}
    return len(starts), line


def test_a_command_starts_once_more_and_keeps_everything_else(folder):
    assert started(folder, "a b", "") == (2, "glibc.malloc.hugetlb=1 True ['a b', ''] input True")
    joined = "glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1"
    assert started(folder, tunables="glibc.malloc.arena_max=4") == (2, f"{joined} True [] input True")


@pytest.mark.parametrize("how", ["traced", "profiled", "monitored", "nowhere"])
def test_it_stays_under_a_debugger_and_where_it_cannot_be_started(folder, how):
    assert started(folder, how) == (1, f"None False ['{how}'] input True")


def test_it_stays_where_the_user_or_the_system_has_decided(folder):
    for value in (0, 2):
        tunables = f"glibc.malloc.hugetlb={value}"
        assert started(folder, tunables=tunables) == (1, f"{tunables} False [] input True")
    for enabled in ("[always] madvise never", "always madvise [never]"):
        (folder / "enabled").write_text(enabled)
        assert started(folder)[0] == 1
    (folder / "enabled").unlink()
    assert started(folder)[0] == 1


def test_a_module_that_is_only_imported_stays(folder):
    assert started(folder, given=("-c", "import avsd_jax.main"))[0] == 1


def test_the_program_starts_its_command_once_more(folder):
    """By the script that pip makes of `avsd`, which is no module."""
    package = Path(huge_pages.__file__).parents[1]
    for name in ("__main__.py", "errors.py", "common/cli.py", "common/commands.py"):
        (folder / "avsd_jax" / name).write_text((package / name).read_text())
    with (folder / "avsd_jax" / "main.py").open("a") as command:
        command.write('def main():\n    """Makes this file a command."""\n')
    (folder / "avsd").write_text("import sys\nfrom avsd_jax.__main__ import main\nsys.exit(main())\n")
    again = (2, "glibc.malloc.hugetlb=1 True ['a b', ''] input True")
    assert started(folder, "main", "a b", "", given=("avsd",)) == again
    assert started(folder, "main", "a b", "", given=("-m", "avsd_jax")) == again
