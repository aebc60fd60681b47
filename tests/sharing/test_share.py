"""A trained run is shared, in a folder or on a hub, and every command takes it from there as it takes the run."""

import contextlib
import json
import re
import socket
from pathlib import Path

import devices
import hub_server
import numpy as np
import pytest
import yaml
from media_files import regular, write_video
from ml_collections import ConfigDict
from tiny_run import add_extra_models, tiny_config

from avsd_jax import Predictor, main, predict, share
from avsd_jax.errors import InputError
from avsd_jax.runs import temperature
from avsd_jax.runs.checkpoint import load_for_inference, read_config, save_variables
from avsd_jax.runs.weights_file import flattened
from avsd_jax.sharing import parity
from avsd_jax.sharing.front_matter import front_matter
from avsd_jax.sharing.record import without_places

ROOT = Path(__file__).parents[2]
# What is not to be told: where the run was made.
SECRET = "secret_project"
SHARED = ["README.md", "config.json", "model.safetensors"]
# huggingface_hub 2.4 uploads large files by an argument that its HTTP library is about to drop.
upload = pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")


@pytest.fixture(scope="module")
def run(tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained for two steps, its average, its best step, and its report."""
    add_extra_models()
    folder = tmp_path_factory.mktemp(SECRET) / "run"
    with pytest.MonkeyPatch.context() as patch:
        devices.train_on_one(patch)
        config = tiny_config(tiny_data_dir, model_name="tiny_gated", total_steps=2, eval_stride=13, audit=False)
        config = config.unlock()
        config.update(compilation_cache=str(folder / "cache"), ema_decay=0.5, checkpoint_every=1, evaluate_every=1)
        config.update(evaluate_videos=1, evaluate_stride=30)
        main.run(config.lock(), folder)
    return folder


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("video") / "INPUT.mp4", regular(4, 25), size=(48, 80))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with hub_server.served(monkeypatch, tmp_path / "hub_cache", hub_server.TOKEN) as served:
        yield served


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def same(one: Path | str, other: Path | str) -> bool:
    first, second = (flattened(load_for_inference(place)[1]) for place in (one, other))
    return first.keys() == second.keys() and all(
        first[key].dtype == second[key].dtype and np.array_equal(first[key], second[key]) for key in first
    )


def fields_of(card: str) -> dict:
    return yaml.safe_load(card.split("---\n")[1])


def test_a_run_becomes_a_folder_that_predicts_the_same(run: Path, video: Path, tmp_path: Path, capsys):
    out = tmp_path / "shared"
    assert share.main([str(run), f"--out={out}", "--licence=mit"]) == 0
    assert capsys.readouterr().out.startswith(f"wrote {out}: step 2, ")
    assert sorted(files(out)) == SHARED
    assert same(run, out)
    for checkpoint, to in ((run, "a"), (out, "b")):
        assert predict.main([str(video), f"--checkpoint={checkpoint}", "--maps=npz", f"--out={tmp_path / to}"]) == 0
    one, two = (np.load(tmp_path / to / "maps/000000.npz")["saliency"] for to in "ab")
    np.testing.assert_array_equal(one, two)
    # Nothing tells where it was made.
    told = [SECRET, str(Path.home()), socket.gethostname(), str(tmp_path), "/tmp", "pytest"]
    for content in files(out).values():
        assert not [word for word in told if word.encode() in content]
    # The same again is the same bytes; another model is not written over it unasked.
    before = files(out)
    assert share.main([str(run), f"--out={out}", "--licence=mit"]) == 0
    assert "unchanged" in capsys.readouterr().out
    assert share.main([str(run), f"--out={out}", "--step=1"]) == 2
    assert "holds another shared model: give a new folder, or --overwrite" in capsys.readouterr().err
    assert files(out) == before
    assert share.main([str(run / "best"), f"--out={out}", "--overwrite"]) == 0
    assert same(run / "best", out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "shared"]
    (out / "notes.txt").write_text("mine")
    assert share.main([str(run), f"--out={out}", "--overwrite"]) == 2
    assert "holds no shared model (notes.txt)" in capsys.readouterr().err


@upload
def test_a_run_is_shared_on_a_hub_and_predicts_from_there(run: Path, video: Path, tmp_path: Path, hub, capsys):
    assert share.main([str(run), "--to=hf://me/model", "--private", "--message=first", "--dry_run"]) == 0
    assert not hub.repos
    assert share.main([str(run), "--to=hf://me/model", "--private", "--message=first"]) == 0
    address = re.search(r"hf://me/model@[0-9a-f]{40}", capsys.readouterr().out)[0]
    repo = hub.repos["me/model"]
    assert (repo.private, repo.messages[-1], len(repo.commits)) == (True, "first", 2)
    assert sorted(repo.commits[repo.branches["main"]]) == [".gitattributes", *SHARED]
    assert predict.main([str(video), "--checkpoint=hf://me/model", "--maps=npz", f"--out={tmp_path / 'out'}"]) == 0
    assert json.loads((tmp_path / "out/timeline.json").read_text())["checkpoint"] == address
    assert same(run, address)
    # The blocks of the card, as they are.
    card = repo.commits[repo.branches["main"]]["README.md"].decode()
    python, shell = (re.search(rf"```{kind}\n(.*?)```", card, re.S)[1] for kind in ("python", "sh"))
    with contextlib.chdir(video.parent):
        exec(python, {})
        command = shell.splitlines()[-1].split()
        assert command[:3] == ["python", "-m", "avsd_jax.predict"]
        assert predict.main([*command[3:], "--maps=none"]) == 0
    # What the new model does not have is removed, in the same commit.
    repo.commit(repo.commits[repo.branches["main"]] | {"calibration.json": b"{}", "data.csv": b"1"})
    assert share.main([str(run / "best"), "--to=hf://me/model"]) == 0
    assert sorted(repo.commits[repo.branches["main"]]) == sorted([".gitattributes", *SHARED, "data.csv"])
    assert same(run, address)
    hub.repos["me/other"] = hub_server.Repo()
    assert share.main(["hf://me/model", f"--out={tmp_path / 'again'}"]) == 0
    assert same(run / "best", tmp_path / "again")


def test_the_card_says_what_the_record_says(run: Path, tmp_path: Path, capsys):
    report = json.loads((run / "report.json").read_text())["rows"][0]["conditions"]["real"]
    assert share.main([str(run), f"--out={tmp_path / 'x'}", "--licence=mit", "--dry_run"]) == 0
    card = capsys.readouterr().out
    assert not (tmp_path / "x").exists()
    fields = fields_of(card)
    assert (fields["library_name"], fields["license"]) == ("avsd-jax", "mit")
    assert fields["datasets"] == ["sounding_shapes"]
    (result,) = fields["model-index"][0]["results"]
    assert result["dataset"]["split"] == "test"
    metrics = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert metrics["CC"] == pytest.approx(report["scores"]["all"]["CC"], abs=1e-6)
    mean, interval = report["scores"]["all"]["CC"], report["intervals"]["scores"]["all"]["CC"]
    assert f"{mean:.3f} [{interval[0]:.3f}, {interval[1]:.3f}]" in card
    for words in (
        f"{report['counts']['frames']['all']} frames of {report['counts']['videos']['all']} videos",
        f"Protocol `{report['protocol']['name']}`",
        "95 % intervals, percentile bootstrap over videos",
        "2 steps of 8 clips, seed 0, average of the parameters with decay 0.5",
        "Licence of these weights: `mit`",
        "not measured for this architecture",
        "The weights that it began with were drawn from the seed 0.",
    ):
        assert words in card, words
    # Of the best step there are only the scores that chose it, of an earlier one none, and no licence is invented.
    assert share.main([str(run / "best"), f"--out={tmp_path / 'x'}", "--dry_run"]) == 0
    best = capsys.readouterr().out
    assert "Of this step during training, which was chosen by CC: the mean over 1 videos of `test`" in best
    assert "Intervals: not recorded" in best
    assert "license" not in fields_of(best)
    assert share.main([str(run), f"--out={tmp_path / 'x'}", "--step=1", "--dry_run"]) == 0
    early = capsys.readouterr().out
    assert "Scores: not recorded (the report is of step 2, and this is step 1)" in early
    assert "Licence of these weights: not stated" in early
    assert "model-index" not in fields_of(early)


def test_a_gated_model_keeps_its_classifier_temperature_and_origin(tmp_path: Path, run: Path, capsys):
    from test_shared_files import gated, weights

    first = tmp_path / SECRET
    save_variables(first, gated() | {"source": "AViNet.pt"}, weights())
    assert share.main([str(first), f"--out={tmp_path / 'first'}"]) == 0
    assert share.main([str(tmp_path / "first"), f"--out={tmp_path / 'again'}"]) == 0
    assert files(tmp_path / "first").keys() == files(tmp_path / "again").keys()
    second = tmp_path / "second"
    save_variables(second, gated() | {"init": str(first), "init_parts": {"classifier": str(first)}}, weights())
    temperature.write(
        second, {"temperature": 2.5, "step": 0, "dataset": "diem", "split": "held", "frames": 9, "on": SECRET}
    )
    out = tmp_path / "out"
    assert share.main([str(second), f"--out={out}"]) == 0
    assert same(second, out)
    assert load_for_inference(out)[1]["calibration"]["classifier"]["temperature"] == 2.5
    card = (out / "README.md").read_text()
    assert "the temperature 2.5, fitted on 9 frames (diem, held)" in card
    assert "began with the published file `AViNet.pt`" in card
    assert "Started from other runs of its owner." in card
    assert "Training data: not recorded" in card
    assert read_config(out).source == "AViNet.pt"
    assert Predictor(out)._header is not None
    assert not [name for name, content in files(out).items() if SECRET.encode() in content]


def test_places_are_left_out_and_a_path_elsewhere_is_refused():
    config = ConfigDict({"model_name": "vinet", "model": {}, "init": "/home/x/run", "init_parts": {"a": "hf://o/n"}})
    config.update(data_dir="/data", target_maps="/maps", revisions=[("hf://o/n", "1"), ("hf://o/m", "2")], mine="x")
    config.compilation_cache = "/cache"
    cleaned = json.loads(without_places(config).to_json())
    assert cleaned == {
        **{"model_name": "vinet", "model": {}, "init": "", "init_parts": {"a": "hf://o/n"}, "data_dir": "data"},
        **{"target_maps": "", "revisions": [["hf://o/n", "1"]], "compilation_cache": "auto"},
    }
    config.train_split = "/home/x/list.txt"
    with pytest.raises(InputError, match="train_split='/home/x/list.txt' of the record is a path"):
        without_places(config)


def test_bad_requests_are_one_line(run: Path, tmp_path: Path, hub, monkeypatch: pytest.MonkeyPatch, capsys):
    def refusal(*arguments: str) -> str:
        assert share.main([str(run), *arguments]) == 2
        return capsys.readouterr().err

    assert "one of the arguments --to --out is required" in refusal()
    assert "is no address of a hub" in refusal("--to=me/model")
    assert "is no address of a model: write hf://owner/name" in refusal("--to=hf://me")
    assert "has a revision" in refusal("--to=hf://me/model@main")
    assert "--private is of --to" in refusal("--private", f"--out={tmp_path / 'x'}")
    assert "--overwrite is of --out" in refusal("--overwrite", "--to=hf://me/model")
    assert "is no identifier of a licence" in refusal("--licence=My Licence", f"--out={tmp_path / 'x'}")
    assert "has no step 7: choose among 1, 2" in refusal("--step=7", f"--out={tmp_path / 'x'}")
    assert "is no size" in refusal("--max_shard_size=5XB", f"--out={tmp_path / 'x'}")
    (tmp_path / "file").write_text("x")
    assert "is a file" in refusal(f"--out={tmp_path / 'file'}")
    monkeypatch.setenv("HF_TOKEN", hub_server.OTHER_TOKEN)
    assert "refuses access to me/model (401): log in" in refusal("--to=hf://me/model")
    assert not (tmp_path / "x").exists()


def test_front_matter_is_yaml():
    fields = {
        "a": "yes: no # - [",
        "list": ["x", "-", {"name": "é", "values": [1, 2.5, None, True]}, []],
        "deep": {"b": {"c": [{"d": 1, "e": {}}]}},
    }
    assert yaml.safe_load(front_matter(fields).split("---\n")[1]) == fields


def test_parity_errors_are_those_of_the_documentation():
    table = (ROOT / "docs/models.md").read_text().partition("## Size, speed and parity")[2].partition("\n\n[")[0]
    rows = [[cell.strip() for cell in row.split("|")[1:4]] for row in table.splitlines() if row.startswith("| ")]
    shown = {(name, variant): error for name, variant, error in rows[1:] if "e-" in error}
    assert shown == parity.ERRORS
    config = ConfigDict({"model_name": "avinet", "model": {"fusion": "transformer"}})
    assert parity.error(config) == "3.8e-06"
    assert parity.error(ConfigDict({"model_name": "avc", "model": {"classifier": "avid"}})) == "1.3e-06"
    assert parity.error(ConfigDict({"model_name": "stavis", "model": {"fusion": "concat"}})) is None
