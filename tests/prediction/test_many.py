"""Many files in one command: names, what is done, what fails, what is killed; the same on Apache Beam."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from media_files import regular, write_video
from PIL import Image
from tiny_run import HELPERS, add_extra_models

from avsd_jax import Predictor, predict
from avsd_jax.errors import InputError
from avsd_jax.prediction import many
from avsd_jax.prediction.inputs import collect, is_one
from avsd_jax.prediction.many import Options
from avsd_jax.prediction.map_writers import Staging


@pytest.fixture(autouse=True, scope="module")
def _extra_models() -> None:
    add_extra_models()


def clip(path: Path, count: int = 3, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, regular(count), size=(32, 48), **{"sound": None} | options)


def picture(path: Path, level: int = 90) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.full((30, 40, 3), level, np.uint8)
    image[5:15, 5:15] = 255
    Image.fromarray(image).save(path)
    return path


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good video, one with a broken end of its name, a picture, a broken video, a text, a folder within."""
    folder = tmp_path_factory.mktemp("mixed") / "videos"
    clip(folder / "a.mp4", 3)
    clip(folder / "a.mkv", 4)
    picture(folder / "still.png")
    (folder / "broken.mp4").write_bytes((folder / "a.mp4").read_bytes()[:300])
    (folder / "notes.txt").write_text("no video")
    (folder / ".hidden.mp4").write_text("no video")
    clip(folder / "day 1/b.mp4", 2)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "summary.json"
    }


def statuses(out: Path) -> dict[str, str]:
    rows = json.loads((out / "summary.json").read_text())["files"]
    return {row["results"]: row["status"] for row in rows}


def test_a_mixed_folder_from_start_to_end(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    out = tmp_path / "out"
    command = [str(mixed), f"--out={out}", "--model=bright"]
    assert predict.main(command) == 2
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == (
        f"error: 1 of 5 files failed ({mixed / 'broken.mp4'}): see summary.json; the others are in {out}"
    )
    assert f"{mixed}: left out, as they are neither videos nor pictures: notes.txt" in told.err
    assert sum("broken.mp4" in line and line.startswith("warning: ") for line in told.err.splitlines()) == 1
    assert "| done | 4 | 10 |" in told.out
    assert "| failed | 1 |" in told.out
    done = {name: "done" for name in ("a.mkv", "a.mp4", "day 1/b", "still")}
    assert statuses(out) == done | {"broken": "failed"}
    assert not (out / "broken").exists()
    assert {p.name for p in (out / "a.mp4").iterdir()} == {"a_overlay.mp4", "maps", "timeline.json", "timeline.png"}
    assert {p.name for p in (out / "still").iterdir()} == {"overlays", "maps", "pictures.json"}
    # As alone.
    assert predict.main([str(mixed / "day 1/b.mp4"), f"--out={tmp_path / 'one'}", "--model=bright"]) == 0
    assert files_of(tmp_path / "one") == files_of(out / "day 1/b")

    before = files_of(out)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*.png")}
    assert predict.main(command) == 2
    assert statuses(out) == {name: "skipped" for name in done} | {"broken": "failed"}
    shutil.copy(mixed / "a.mp4", mixed / "broken.mp4")
    try:
        assert predict.main([*command, "--verbose"]) == 0
        assert statuses(out) == {name: "skipped" for name in done} | {"broken": "done"}
        assert {path: path.stat().st_mtime_ns for path in times} == times
        assert files_of(out).items() >= before.items()
    finally:
        (mixed / "broken.mp4").write_bytes((mixed / "a.mp4").read_bytes()[:300])


def test_results_of_another_model_options_or_contents_are_not_taken(tmp_path: Path, capsys: pytest.CaptureFixture):
    one, two, out = clip(tmp_path / "in/one.mp4"), clip(tmp_path / "in/two.mp4", 2), tmp_path / "out"
    command = [str(one.parent), f"--out={out}", "--overlay=none"]
    assert predict.main([*command, "--model=bright"]) == 0
    os.utime(one, (1, 1))  # of another time, and of the same contents
    assert predict.main([*command, "--model=bright"]) == 0
    assert set(statuses(out).values()) == {"skipped"}
    before = files_of(out)
    for change in (["--model=bright", "--maps=npz"], ["--model=bright", "--stride=2"], ["--model=itti"]):
        assert predict.main([*command, *change]) == 2
        message = capsys.readouterr().err.splitlines()[-1]
        assert "2 of the results in" in message
        assert "(one, two): give another --out, or --overwrite to make them anew" in message
    clip(two, 4)
    assert predict.main([*command, "--model=bright"]) == 2
    assert "(two)" in capsys.readouterr().err
    assert files_of(out) == before
    assert predict.main([*command, "--model=bright", "--overwrite"]) == 0
    assert statuses(out) == {"one": "skipped", "two": "done"}
    assert len(list((out / "two/maps").iterdir())) == 4
    # The results of another file of the same name.
    clip(tmp_path / "other/one.mov")
    assert predict.main([str(tmp_path / "other"), f"--out={out}", "--model=bright", "--overwrite"]) == 2
    assert "holds the prediction of one.mp4: give another --out" in capsys.readouterr().err


def test_inputs_are_named_once_each(mixed: Path, tmp_path: Path):
    other = clip(tmp_path / "more/a.mp4")
    listed = tmp_path / "list.txt"
    listed.write_text(f"# of today\n\nmore/a.mp4\n  {mixed}\n{other}\nmore\n", encoding="utf-8-sig")
    out = tmp_path / "out"
    found = collect([f"@{listed}", str(mixed / "a.mp4")], out)
    names = {file.path.relative_to(tmp_path.parent).as_posix(): file.name for file in found.files}
    assert list(names.values()) == ["more/a", "a.mkv", "a.mp4", "broken", "day 1/b", "still"]
    assert [file.still for file in found.files] == [False] * 5 + [True]
    (one, two) = collect([str(mixed / "a.mp4"), str(other)], out).files
    assert (one.name, two.name) == ("a.mp4", "a.mp4-2")
    # Names that are those of results, within a folder of results or beside it; case is no difference.
    odd = {"a.mp4": "a", "a/Maps.mp4": "a/Maps.mp4", "a/timeline.png/x.mp4": "a/timeline.png-2/x"}
    odd |= {"A/b.mp4": "A/b.mp4", "a/b.mp4": "a/b.mp4-2", "summary.json.mp4": "summary.json.mp4"}
    for name in odd:
        (tmp_path / "odd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "odd" / name).touch()
    found = collect([str(tmp_path / "odd")], out).files
    assert {file.path.relative_to(tmp_path / "odd").as_posix(): file.name for file in found} == odd
    # Results in a folder of inputs are none.
    (mixed / "results/x").mkdir(parents=True)
    try:
        clip(mixed / "results/x/x_overlay.mp4")
        assert len(collect([str(mixed)], mixed / "results").files) == 5
        (mixed / "results/x/timeline.json").touch()
        assert len(collect([str(mixed)], out).files) == 5
        with pytest.raises(InputError, match="is a folder of inputs: give another one"):
            collect([str(mixed)], mixed)
    finally:
        shutil.rmtree(mixed / "results")
    assert is_one([str(mixed / "a.mp4")])
    assert is_one([str(picture(tmp_path / "pictures/a.png").parent)])
    picture(tmp_path / "deep/er/a.png")
    for several in ([str(mixed)], [f"@{listed}"], ["a", "b"], [str(tmp_path / "deep")]):
        assert not is_one(several)


def test_a_bad_command_line_stops_before_anything(mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    out, listed = tmp_path / "out", tmp_path / "list"
    listed.write_text(f"{mixed}\nmissing.mp4\n")
    (tmp_path / "empty").mkdir()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "summary.json").write_text('{"mine": 1}')
    (foreign / "pictures.json").write_text('{"mine": 1}')
    one = clip(tmp_path / "one.mp4")
    for arguments, message in (
        ([mixed, "missing.png"], "missing.png does not exist: give videos, pictures, folders or @lists"),
        ([f"@{listed}"], f"{listed}, line 2: {tmp_path / 'missing.mp4'} does not exist: correct the path"),
        (["@none"], "the list none cannot be read (No such file or directory): give a text file"),
        ([tmp_path / "empty", tmp_path / "empty"], "there is no video and no picture"),
        ([mixed, "--model=vinet"], "the model vinet has weights"),
        ([mixed, "--model=bright", "--threshold=0.4"], "has no gate by a trained classifier"),
        ([one, mixed / "still.png"], "gbvs_av maps no single picture"),
        ([mixed, "--model=bright", "--maps=stavis", mixed / "still.png"], "unknown kind of maps 'stavis' of pictures"),
        ([mixed, f"--out={foreign}"], "pictures.json is of one prediction: give another --out"),
        ([mixed / "still.png", f"--out={foreign}"], "pictures.json is not of a prediction"),
        ([one, "--beam_pipeline_options=runner=DirectRunner"], "--beam_pipeline_options is of many inputs"),
    ):
        more = ["--model=gbvs_av"] if arguments[-1] == mixed / "still.png" and arguments[0] == one else []
        assert predict.main([f"--out={out}", *map(str, arguments), *more]) == 2, arguments
        assert message in capsys.readouterr().err.splitlines()[-1]
    assert not out.exists()
    assert {path.name for path in foreign.iterdir()} == {"summary.json", "pictures.json"}
    with pytest.raises(InputError, match=r"frame_step=2\.5: give a whole number"):
        Predictor(model="bright", frame_step=2.5)


def test_a_model_on_a_hub_is_of_one_commit_for_all_files(mixed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(many.hub, "pinned", lambda place: f"{place}@commit")
    asked = []

    def stop(files: object, models: many.Models) -> None:
        asked.append(models.options.checkpoint)
        raise InputError("enough")

    monkeypatch.setattr(many, "_predictable", stop)
    with pytest.raises(InputError, match="enough"):
        many.run([str(mixed)], tmp_path / "out", Options(checkpoint="hf://me/model"), beam_options=[])
    assert asked == ["hf://me/model@commit"]


def test_pictures_are_left_out_if_they_were_only_found(mixed: Path, tmp_path: Path):
    """Where the model maps none, or their maps have no such form."""
    made = many.run([str(mixed)], tmp_path, Options(model="bright", maps="stavis", overlay=False), progress=False)
    assert (made["done"], made["failed"]) == (3, 1)
    assert [row["results"] for row in made["files"]] == ["a.mkv", "a.mp4", "broken", "day 1/b"]


def test_an_odd_error_of_one_file_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("a", "b", "c"):
        clip(tmp_path / f"in/{name}.mp4", 2)
    whole = Predictor.run

    def odd(self: Predictor, video: Path, *args: object, **options: object) -> object:
        if video.name == "b.mp4":
            raise ZeroDivisionError("odd")
        return whole(self, video, *args, **options)

    monkeypatch.setattr(Predictor, "run", odd)
    made = many.run([str(tmp_path / "in")], tmp_path / "out", Options(model="bright"), progress=False)
    assert (made["done"], made["failed"], made["left"]) == (2, 1, 0)
    assert made["files"][1]["error"] == f"{tmp_path / 'in/b.mp4'}: ZeroDivisionError: odd"


def test_a_result_that_was_being_moved_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    one, out = clip(tmp_path / "in/one.mp4"), tmp_path / "out"
    real = os.replace

    def cut(source: Path, target: Path) -> None:
        if Path(target).name == "000001.png":
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", cut)
    with pytest.raises(KeyboardInterrupt):
        many.run([str(one.parent)], out, Options(model="bright"), progress=False)
    monkeypatch.undo()
    assert (out / "one/timeline.json").exists()
    made = many.run([str(one.parent)], out, Options(model="bright"), progress=False)
    assert made["done"] == 1
    assert not list(out.rglob(".*"))
    with Staging(tmp_path / "other"):
        pass


EXTRA = """
import sys
sys.path.insert(0, {helpers!r})
from tiny_run import add_extra_models
add_extra_models()
"""
RUN = f"""{EXTRA}
from avsd_jax import predict
sys.exit(predict.main(sys.argv[1:]))
"""


def test_a_killed_command_leaves_whole_results_and_goes_on(tmp_path: Path):
    clip(tmp_path / "in/a.mp4", 2)
    clip(tmp_path / "in/b.mp4", 900)
    clip(tmp_path / "in/c.mp4", 2)
    out = tmp_path / "out"
    words = [sys.executable, "-c", RUN.format(helpers=str(HELPERS)), str(tmp_path / "in"), f"--out={out}"]
    process = subprocess.Popen([*words, "--model=bright"], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for _ in range(4800):
        if list((out / "b").glob(".predict-*/files/maps/00002*")):
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert not (out / "b").exists()
    assert (out / "a/timeline.json").exists()
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["done"], summary["left"]) == (1, 2)
    clip(tmp_path / "in/b.mp4", 3)
    assert predict.main([str(tmp_path / "in"), f"--out={out}", "--model=bright"]) == 0
    assert statuses(out) == {"a": "skipped", "b": "done", "c": "done"}


BEAM = "--beam_pipeline_options=--runner=DirectRunner,--direct_num_workers=2,--direct_running_mode=multi_processing"


@pytest.mark.slow
def test_beam_makes_the_same_in_two_processes(
    mixed: Path, tmp_path: Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("apache_beam", reason="Beam is not installed")
    monkeypatch.chdir(mixed.parent)
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers/sitecustomize.py").write_text(EXTRA.format(helpers=str(HELPERS)))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'workers'}:{Path(predict.__file__).parents[1]}")
    bad = [mixed.name, "--model=bright", f"--out={tmp_path / 'x'}", f"{BEAM},--direct_num_workers=two"]
    assert predict.main(bad) == 2
    message = "--beam_pipeline_options: argument --direct_num_workers: invalid int value: 'two': correct it"
    assert capfd.readouterr().err.splitlines()[-1] == f"error: {message}"
    options = [mixed.name, "--model=bright", "--overlay=none", "--maps=npz"]
    told = {}
    for name, more in (("plain", []), ("beam", [BEAM])):
        assert predict.main([*options, f"--out={tmp_path / name}", *more]) == 2
        told[name] = capfd.readouterr()
        last = told[name].err.splitlines()[-1]
        assert last.startswith("error: 1 of 5 files failed (videos/broken.mp4): see summary.json")
        assert "| done | 4 | 10 |" in told[name].out.splitlines()
        assert sum("broken.mp4 cannot be read" in line for line in told[name].err.splitlines()) == 1
    assert len(told["beam"].err.splitlines()) < 12, "Beam is quiet"
    plain, beam = (files_of(tmp_path / name) for name in ("plain", "beam"))
    maps = [name for name in plain if name.endswith(".npz")]
    assert len(maps) == 4
    assert list(beam) == list(plain)
    assert all(plain[name] == beam[name] for name in maps)
    assert statuses(tmp_path / "beam") == statuses(tmp_path / "plain")
    # What Beam has made, the plain command takes, and the reverse.
    for name, more in (("plain", [BEAM]), ("beam", [])):
        (mixed / "broken.mp4").rename(mixed / "broken.txt")
        try:
            assert predict.main([*options, f"--out={tmp_path / name}", *more]) == 0
        finally:
            (mixed / "broken.txt").rename(mixed / "broken.mp4")
        assert set(statuses(tmp_path / name).values()) == {"skipped"}
