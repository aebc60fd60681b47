"""The page Watch, from an upload to the overlay: it shows what `predict` writes, each frame with its own map."""

import base64
import io
import json
import pathlib
import re
import shutil
import sys
import urllib.request
import zipfile
from typing import Any

import numpy as np
import pytest
from media_files import read_stamp, regular, stamp, write_video
from PIL import Image
from web_server import browser, client, left, page, running, waited

from avsd_jax import predict
from avsd_jax.evaluation.ground_truth_folder import FolderTruth
from avsd_jax.media.reading import read_frames
from avsd_jax.metrics import cc
from avsd_jax.web import scoring
from avsd_jax.web.jobs import Jobs
from avsd_jax.web.reports import Report
from avsd_jax.web.results import RECORD, SCORES, Results, id_of
from avsd_jax.web.settings import Settings
from avsd_jax.web.video_library import VideoLibrary

FRAMES, SIZE = 30, (64, 96)
NAME = '日本 "q" ü.mp4'
NO_WORK = (sys.executable, "-c", "import sys; sys.stdin.read()")


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A second, whose frames show their numbers."""
    return write_video(tmp_path_factory.mktemp("video") / NAME, regular(FRAMES), size=SIZE)


@pytest.fixture(scope="module")
def predicted(video: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """What `predict` writes."""
    out = tmp_path_factory.mktemp("predicted") / "out"
    assert predict.main([str(video), f"--out={out}"]) == 0
    return out


@pytest.fixture
def settings(video: pathlib.Path, predicted: pathlib.Path, tmp_path: pathlib.Path) -> Settings:
    """A server with a result of an earlier one."""
    settings = Settings(out=tmp_path / "out", folder=video.parent)
    (found,) = VideoLibrary(settings.out, settings.folder, 1).videos()
    record = {"video": found.id, "name": found.name, "stamp": found.stamp, "checkpoint": None, "mode": "exact"}
    folder = settings.out / "results" / id_of(found, {"checkpoint": None, "mode": "exact"})
    shutil.copytree(predicted, folder / "files")
    record |= {"model": "gbvs_av", "made": "2026-01-01T00:00:00+00:00", "num_frames": FRAMES}
    (folder / RECORD).write_text(json.dumps(record))
    return settings


def tree(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_same(found: dict[str, bytes], expected: dict[str, bytes]) -> None:
    """Without the time of the video's file, which for an upload is that of its arrival; maps to one level, as another
    process rounds."""
    assert found.keys() == expected.keys()
    for name, data in expected.items():
        if name.startswith("maps/"):
            ours, theirs = (np.asarray(Image.open(io.BytesIO(each)), int) for each in (found[name], data))
            np.testing.assert_allclose(ours, theirs, atol=1, err_msg=name)
        elif not name.endswith(".mp4"):  # encoders write other bytes each time: its frames are compared below
            one, other = (re.sub(rb'"modified": \d+', b"", each) for each in (found[name], data))
            assert one == other, name


def frames(video: pathlib.Path) -> np.ndarray:
    """All frames [T, H, W, 3] of a video."""
    return np.stack([frame.image for frame in read_frames(video)]).astype(int)


def test_from_upload_to_overlay(video: pathlib.Path, predicted: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with running(Settings(out=out)) as url, page(f"{url}/watch", viewport={"width": 1200, "height": 900}) as shown:
        shown.set_input_files("#file", video)
        shown.wait_for_selector("#overlay[data-frame]", timeout=120_000)
        assert shown.text_content("#title") == NAME
        (result,) = (out / "results").iterdir()
        assert_same(tree(result / "files"), tree(predicted))
        ours, theirs = (frames(next(folder.glob("*_overlay.mp4"))) for folder in (result / "files", predicted))
        assert ours.shape == theirs.shape
        assert np.abs(ours - theirs).mean() < 1
        rows = json.loads((predicted / "timeline.json").read_text())["frames"]

        def frame() -> int:
            """The number in the picture that is under the map, which is that of the map."""
            both = "(c => [c.dataset.frame, c.toDataURL().split(',')[1]])(document.getElementById('overlay'))"
            number, data = shown.evaluate(both)
            image = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")
            assert read_stamp(np.asarray(image)) == int(number)
            return int(number)

        def at(number: int) -> None:
            words = f"{rows[number]['avc_probability']:.2f}, audio {'used' if rows[number]['gate'] else 'ignored'}"
            waited(lambda: f"frame {number} / {FRAMES - 1}" in shown.text_content("#time"))
            waited(lambda: shown.get_attribute("#overlay", "data-frame") == str(number))
            assert frame() == number
            assert shown.text_content("#probability") == words

        plain = shown.evaluate("document.getElementById('overlay').toDataURL()")
        shown.fill("#opacity", "0")  # the map is seen, and without it the frame
        assert shown.evaluate("document.getElementById('overlay').toDataURL()") != plain
        at(0)
        shown.focus("#curve")
        for _ in range(3):
            shown.keyboard.press("ArrowRight")
        at(3)
        shown.keyboard.press("ArrowLeft")
        at(2)
        shown.keyboard.press("End")
        at(FRAMES - 1)
        box = shown.locator("#curve").bounding_box()
        shown.mouse.click(box["x"] + box["width"] / 2, box["y"] + 40)
        waited(lambda: abs(int(shown.get_attribute("#overlay", "data-frame")) - FRAMES / 2) < 3)
        frame()
        shown.keyboard.press("Home")
        at(0)
        shown.click("#play")  # while it plays, every frame has its own map, and the sound goes on
        waited(lambda: frame() > 5)
        waited(lambda: shown.evaluate("document.getElementById('picture').ended"))
        at(FRAMES - 1)
        # A second page, of the result that is there.
        shown.goto(f"{url}/watch")
        shown.click("#results a")
        shown.wait_for_selector("#overlay[data-frame]")


@pytest.mark.slow
def test_no_jump_is_lost_in_a_busy_browser(settings: Settings) -> None:
    """Of jumps that follow each other at once the browser reports some only when it is at rest."""
    with running(settings) as url, page(f"{url}/watch") as shown:
        shown.click("#results a")
        shown.wait_for_selector("#overlay[data-frame]")
        shown.context.new_cdp_session(shown).send("Emulation.setCPUThrottlingRate", {"rate": 20})
        shown.focus("#curve")
        for _ in range(12):
            shown.keyboard.press("Home")
            waited(lambda: "frame 0 /" in shown.text_content("#time"))
            for _ in range(3):
                shown.keyboard.press("ArrowRight")
            waited(lambda: "frame 3 /" in shown.text_content("#time"))
            waited(lambda: shown.get_attribute("#overlay", "data-frame") == "3")


def test_a_map_that_did_not_come_is_asked_for_again(settings: Settings) -> None:
    asked = []

    def fails_once(route: Any) -> None:
        asked.append(route.request.url)
        route.abort() if len(asked) == 1 else route.continue_()

    with running(settings) as url, browser() as opened:
        shown = opened.new_page()
        shown.route("**/maps/2?*", fails_once)
        shown.goto(f"{url}/watch")
        with shown.expect_request_finished(lambda request: "/maps/1?" in request.url):
            shown.click("#results a")
        shown.focus("#curve")
        for _ in range(2):
            shown.keyboard.press("ArrowRight")
        shown.wait_for_selector('#overlay[data-frame="2"]')
    assert len(asked) == 2


def test_a_result_survives_the_server(settings: Settings, predicted: pathlib.Path) -> None:
    cut = settings.out / "results" / "0123456789abcdef" / "files" / ".predict-x"
    cut.mkdir(parents=True)
    (cut / "timeline.json").write_text("{")
    with client(settings, Jobs(NO_WORK)) as c:
        assert not cut.exists()
        (result,) = c.get("/api/results").json()["results"]
        path = f"/api/results/{result['id']}"
        asked = {"video": result["video"]}
        assert c.post("/api/predictions", json=asked).json() == {"result": result["id"]}
        assert c.post("/api/predictions", json=asked | {"mode": "no"}).status_code == 400
        assert c.post("/api/predictions", json=asked | {"model": "/etc"}).status_code == 400
        assert c.post("/api/predictions", json=asked | {"model": []}).status_code == 400
        first = c.post("/api/predictions", json=asked | {"mode": "fast"})
        assert first.status_code == 202
        job = first.json()["job"]
        assert c.post("/api/predictions", json=asked | {"mode": "fast"}).json()["job"]["id"] == job["id"]
        assert c.post(f"/api/jobs/{job['id']}/cancel").json()["state"] == "cancelled"
        assert c.get("/api/jobs/0").status_code == 404
        assert c.get(f"{path}/timeline").content == (predicted / "timeline.json").read_bytes()
        assert c.get(f"{path}/maps/3").content == (predicted / "maps/000003.png").read_bytes()
        for missing in ("maps/30", "maps/-1", "maps/..%2f", "nothing"):
            assert c.get(f"{path}/{missing}").status_code == 404
        for other in ("..", "%2e%2e", "..%2f..", "x"):
            assert c.get(f"/api/results/{other}/timeline").status_code == 404
        assert c.get(f"{path}/overlay", headers={"range": "bytes=4-7"}).content == b"ftyp"
        sent = c.get(f"{path}/zip")
        assert "attachment; filename*=UTF-8''%E6%97%A5" in sent.headers["content-disposition"]
        with zipfile.ZipFile(io.BytesIO(sent.content)) as opened:
            assert opened.testzip() is None
            stem = pathlib.Path(NAME).stem
            assert {name: opened.read(name) for name in opened.namelist()} == {
                f"{stem}/{name}": data for name, data in tree(predicted).items()
            }
        assert c.get(f"{path}/scores").status_code == 204
        assert c.delete(path).status_code == 204
        assert c.get(path).status_code == 404
        assert not (settings.out / "results" / result["id"]).exists()


def test_scores_are_of_the_ground_truth(settings: Settings, tmp_path: pathlib.Path) -> None:
    truth, stem = tmp_path / "truth", pathlib.Path(NAME).stem
    (truth / "maps" / stem).mkdir(parents=True)
    (truth / "fixations").mkdir()
    for number in range(FRAMES):
        Image.fromarray(stamp(number + 1, SIZE)[..., 0]).save(truth / "maps" / stem / f"{number:06d}.png")
    rows = "".join(f"{number},{number},{number}\n" for number in range(FRAMES))
    (truth / "fixations" / f"{stem}.csv").write_text(f"frame,x,y\n{rows}")
    (result,) = Results(settings.out).all()
    folder = settings.out / "results" / result["id"]
    with client(Settings(settings.out, settings.folder, ground_truth=truth), Jobs(NO_WORK)) as c:
        answer = c.get(f"/api/results/{result['id']}/scores")
        assert (answer.status_code, answer.json()["job"]["kind"]) == (202, "score")
        with (tmp_path / "events").open("w") as events:
            scoring.run(Report(events), stem, str(folder), str(truth))
        scores = c.get(f"/api/results/{result['id']}/scores").json()
        assert c.get(f"/api/results/{result['id']}").json()["files"] == len(left(folder)) - 1  # but the record
    maps = [np.asarray(Image.open(p), np.float32) for p in sorted((folder / "files/maps").iterdir())]
    expected = [float(cc(m, FolderTruth(truth).density(0, n).astype(np.float32))) for n, m in enumerate(maps[:3])]
    assert scores["frames"]["CC"][:3] == pytest.approx(expected, abs=1e-5)
    assert len(scores["frames"]["NSS"]) == FRAMES
    assert scores["means"]["CC"] == pytest.approx(np.mean(scores["frames"]["CC"]), abs=1e-5)
    assert (folder / SCORES).exists()


def test_the_address_is_served(settings: Settings) -> None:
    with running(settings, Jobs(NO_WORK)) as url, urllib.request.urlopen(f"{url}/watch") as answer:
        assert b"<title>Watch</title>" in answer.read()
