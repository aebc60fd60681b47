"""The program `avsd`: its commands, its completion, and what works without the extras."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import media_files
import pytest
import yaml

from avsd_jax import __main__ as program
from avsd_jax import completion
from avsd_jax.common import cli, commands, extras

ROOT = Path(__file__).parents[2]
# `runpy` warns of modules that other tests imported before.
pytestmark = pytest.mark.filterwarnings("ignore:.*found in sys.modules after import:RuntimeWarning")


@pytest.fixture
def avsd(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    """Runs the program in this process; returns its status and what it printed."""
    monkeypatch.setattr(cli, "_called", cli._called)
    # `runpy` would keep a module that checks its annotations as the bytecode of the command itself.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/avsd", *arguments])
        # A command that other tests have imported is run as in a process of its own.
        monkeypatch.delitem(sys.modules, f"avsd_jax.{(*arguments, None)[0]}", raising=False)
        try:
            status = program.main()
        except SystemExit as end:
            status = end.code
        return (status, *capsys.readouterr())

    return run


def test_every_command_of_the_readme_is_listed_with_its_purpose(avsd):
    table = (ROOT / "README.md").read_text().partition("| command | purpose |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert documented == set(commands.purposes())
    status, printed, _ = avsd("--help")
    assert status == 0
    assert printed.startswith("usage: avsd COMMAND")
    for name, purpose in commands.purposes().items():
        assert re.search(rf"^  {name} +{re.escape(purpose[:20])}", printed, re.MULTILINE)
        assert 10 < len(purpose) < 130, name


def test_the_list_imports_no_command():
    script = "import sys, avsd_jax.__main__ as m; m.main(['--help']); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"jax", "numpy", "cv2", "absl"} & set(loaded.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["pedict"], 2, "error: unknown command 'pedict': did you mean 'predict'?\n"),
        (["--loud"], 2, "error: unknown command '--loud': see avsd --help\n"),
        (["compare", "a"], 2, "error: the following arguments are required: b, more: see avsd compare --help\n"),
    ],
)
def test_a_wrong_command_line_is_one_line(avsd, arguments, status, words):
    assert avsd(*arguments) == (status, "", words)


def test_versions_and_an_empty_command_line(avsd):
    assert re.fullmatch(r"avsd_jax \d+\.\d+\.\S+\n", avsd("--version")[1])
    assert avsd()[0] == 2


def test_help_names_the_program_as_it_was_called(avsd):
    status, printed, _ = avsd("avc", "--help")
    assert status == 0
    assert printed.startswith("usage: avsd avc [-h]")
    assert "python -m" not in printed
    first, second = re.search(r"^    avsd avc (INPUT.*)\n( +\[--threshold.*)", printed, re.MULTILINE).groups()
    assert second.index("[--threshold") == len("    avsd avc INPUT.mp4 ") - len("INPUT.mp4 ")


def completed(script: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words, which it splits at = and :."""
    split = [part for word in words for part in re.findall(r"[=:]|[^=:]+|^$", word)]
    split += [""] if words[-1].endswith(("=", ":")) else []
    given = " ".join(f"'{word}'" for word in split)
    lines = [f"source {script}", f"COMP_WORDS=({given})", f"COMP_CWORD={len(split) - 1}", "_avsd"]
    lines += ["printf '%s\\n' \"${COMPREPLY[@]}\""]
    command = ["bash", "-c", "\n".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT / "docs")
    assert done.stderr == ""
    return sorted(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
def test_bash_completes_commands_options_values_and_files(tmp_path):
    script = tmp_path / "avsd"
    script.write_text(completion.script("bash"))
    assert completed(script, "avsd", "pre") == ["predict"]
    assert set(completed(script, "avsd", "")) == set(commands.purposes())
    assert completed(script, "avsd", "predict", "--ma") == ["--maps"]
    for words in (["--maps=s"], ["--maps", "s"]):
        assert completed(script, "avsd", "predict", "x.mp4", "--out=o", *words) == ["stavis"]
    assert completed(script, "avsd", "predict", "--model=it") == ["itti"]
    assert completed(script, "avsd", "predict", "demo") == ["demo.png"]
    assert completed(script, "avsd", "main", "--config.total_s") == ["--config.total_steps"]
    assert "configs/unisal.py" in completed(script, "avsd", "main", "--config=configs/uni")
    assert completed(script, "avsd", "main", "--config=configs/unisal.py:d") == ["demo"]
    assert "diem" in completed(script, "avsd", "datasets", "build", "--dataset=")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_the_same_and_their_syntax_is_right(shell, tmp_path):
    text = completion.script(shell)
    assert all(name in text for name in commands.purposes())
    assert "--maps=[" in text if shell == "zsh" else "-l maps" in text
    if shutil.which(shell):
        script = tmp_path / "script"
        script.write_text(text)
        subprocess.run([shell, "-n", script], check=True)


# What trains, reads built datasets, serves the page, or does so only to be run as a command.
NEEDS_EXTRAS = (
    *("training", "experiment", "scam", "web", "data.pipeline", "sources.build", "common.needs_train"),
    *("scoring.consistency", "scoring.calibrate_run", "prediction.pseudo_labels"),
    *("main", "datasets", "calibrate", "pseudo_labels"),
)

WITHOUT = """
import importlib.util, pathlib, sys
absent, allowed, video, out = sys.argv[1].split(","), sys.argv[2].split(","), *sys.argv[3:5]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name in absent else find(name, package)

from avsd_jax.errors import InputError
root = pathlib.Path("avsd_jax")
for path in sorted(root.rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    try:
        importlib.import_module(name)
    except (ModuleNotFoundError, InputError) as error:
        inside = name.removeprefix("avsd_jax.")
        assert any(f"{inside}.".startswith(f"{room}.") for room in allowed), (name, error)
for command in ("main", "datasets", "calibrate", "pseudo_labels", "scam.__main__"):
    try:
        importlib.import_module(f"avsd_jax.{command}")
        raise AssertionError(command)
    except InputError as error:
        assert str(error).endswith('is not installed: pip install "avsd-jax[train]"'), error
from avsd_jax import PicturePredictor, Predictor, evaluate, load_model, metrics, predict, score_maps
assert predict.main([video, f"--out={out}", "--model=gbvs_av", "--maps=none"]) == 0
sys.exit(evaluate.main([f"--predictions={out}", "--dataset=diem"]))
"""


def test_prediction_and_scoring_need_no_extra(tmp_path):
    """Of the modules of the extras only those of `NEEDS_EXTRAS` cannot be imported."""
    video = media_files.write_video(tmp_path / "clip.mp4", media_files.regular(6), size=(32, 48))
    absent = [*extras.MODULES["train"], *("librosa", "starlette", "uvicorn", "huggingface_hub", "torch", "h5py", "ot")]
    given = [",".join(absent), ",".join(NEEDS_EXTRAS), str(video), str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *given], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.endswith('error: array_record is not installed: pip install "avsd-jax[train]"\n'), done.stderr
    assert done.returncode == 2
    assert (tmp_path / "out" / "clip_overlay.mp4").exists()


def test_a_command_of_an_extra_ends_with_one_line(tmp_path):
    """As a process: its own imports come after the check."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, package=None: None if name == 'clu' else find(name, package)\n"
    )
    for given in (["-m", "avsd_jax.main"], ["-m", "avsd_jax", "scam"]):
        done = subprocess.run(
            [sys.executable, *given], capture_output=True, text=True, cwd=ROOT, env={"PYTHONPATH": str(tmp_path)}
        )
        assert (done.returncode, done.stderr) == (2, 'error: clu is not installed: pip install "avsd-jax[train]"\n')


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_extra_has_the_modules_that_are_looked_for():
    listed = {re.split(r"[\[>]", line)[0].replace("-", "_") for line in PROJECT["optional-dependencies"]["train"]}
    assert listed - {"librosa"} == set(extras.MODULES["train"])


def test_citation_and_changelog_are_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] in ("Unreleased", PROJECT["version"])
    assert PROJECT["version"] in headings
