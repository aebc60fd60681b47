"""The page Label: exact frames, edits that survive kills and meet in the middle, agreement, proposals, export."""

import base64
import contextlib
import io
import os
import pathlib
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from media_files import read_stamp, variable, write_video
from PIL import Image
from starlette.testclient import TestClient
from web_server import browser, client, running, waited

from avsd_jax import avc_labels
from avsd_jax.common.atomic_files import write_text
from avsd_jax.labelling import strip
from avsd_jax.media.reading import frame_times
from avsd_jax.sources import label_files
from avsd_jax.web.jobs import Jobs
from avsd_jax.web.settings import Settings

FRAMES = 60


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with a video whose frames show their numbers, at a variable rate, and one without sound."""
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "numbers.mp4", variable(FRAMES))
    write_video(folder / "silent.mkv", variable(9), sound=None)
    return folder


@pytest.fixture
def server(videos: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[TestClient]:
    with client(Settings(out=tmp_path / "out", folder=videos)) as opened:
        yield opened


def ready(server: TestClient, name: str = "numbers.mp4") -> str:
    """The address of a video's labels, once it is prepared."""
    found = {video["name"]: video["id"] for video in server.get("/api/videos").json()["videos"]}
    address = f"/api/labels/{found[name]}"
    waited(lambda: server.get(address).json()["state"] == "ready")
    return address


def edits(*runs: tuple[int, int, int], first: int = 1) -> list[dict[str, Any]]:
    return [{"sequence": at, "kind": "set", "runs": [list(run)]} for at, run in enumerate(runs, first)]


def send(server: TestClient, address: str, name: str, *runs: tuple[int, int, int]) -> None:
    base = server.get(f"{address}/by/{name}").json()["revision"]
    sent = {"client": f"c{base}", "base": base, "edits": edits(*runs)}
    assert server.post(f"{address}/by/{name}", json=sent).json() == {"revision": base + len(runs)}


def test_frames_times_and_strip(server: TestClient, videos: pathlib.Path) -> None:
    address = ready(server)
    said = server.get(address).json()
    assert (said["frames"], said["audio"], said["annotators"]) == (FRAMES, True, [])
    assert said["aspect"] == pytest.approx(128 / 96)
    times = np.frombuffer(server.get(f"{address}/times").content, "<f8")
    np.testing.assert_array_equal(times, frame_times(videos / "numbers.mp4"))
    for number in (60, 1, 31, 30, 2):
        answer = server.get(f"{address}/frames/{number}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert read_stamp(np.asarray(Image.open(io.BytesIO(answer.content)))) == number - 1
    for number in ("0", "61", "-1", "x"):
        assert server.get(f"{address}/frames/{number}").status_code == 404
    drawn = server.get(f"{address}/strip?start=0&stop=2&columns=200").content
    columns = np.frombuffer(drawn, np.uint8).reshape(200, strip.COLUMN)
    assert np.flatnonzero(columns[:, 1] > 200)[0] == 0
    for query in ("", "start=0&stop=0&columns=5", "start=0&stop=nan&columns=5", "start=0&stop=1&columns=999999"):
        assert server.get(f"{address}/strip?{query}").status_code == 400
    silent = ready(server, "silent.mkv")
    assert server.get(silent).json()["audio"] is False
    assert server.get(f"{silent}/strip?start=0&stop=1&columns=5").status_code == 404
    assert server.get("/api/labels/f-nothing").status_code == 404
    assert server.get("/label").status_code == 200


def test_edits_conflicts_and_names(server: TestClient, tmp_path: pathlib.Path) -> None:
    address = ready(server)
    nobody = server.get(f"{address}/by/Ann?client=a").json()
    assert nobody == {"revision": 0, "seen": 0, "frames": FRAMES, "base": [], "done": [], "undone": []}
    assert not (tmp_path / "out/labels").exists(), "looking writes nothing"
    sent = {"client": "a", "base": 0, "edits": edits((0, 5, 1), (5, 9, 0))}
    deep = {"content": b'{"a":' * 50_000, "headers": {"content-type": "application/json"}}
    assert server.post(f"{address}/by/Ann", **deep).status_code == 400
    assert server.post(f"{address}/by/Ann", json=sent).json() == {"revision": 2}
    assert server.post(f"{address}/by/ann", json=sent).json() == {"revision": 2}
    late = server.post(f"{address}/by/Ann", json={"client": "b", "base": 0, "edits": edits((0, 2, 2))})
    assert (late.status_code, late.json()["revision"], late.json()["seen"]) == (409, 2, 0)
    assert late.json()["done"] == [[[0, 5, 1]], [[5, 9, 0]]]
    for wrong in ({}, {"client": "b", "base": 2, "edits": edits((0, 99, 1))}, {"client": "b", "base": None}):
        answer = server.post(f"{address}/by/Ann", json=wrong)
        assert (answer.status_code, answer.json()["refused"]) == (400, True)
    for name in ("..%2Fx", "%2e%2e", "a%00", "-x", "x" * 50):
        assert server.post(f"{address}/by/{name}", json=sent).status_code in (400, 404)
    assert server.post(f"{address}/by/Ann", content=b"{}").status_code == 415
    foreign = {"origin": "http://elsewhere.example"}
    assert server.post(f"{address}/by/Ann", json=sent, headers=foreign).status_code == 403
    assert [path.name for path in (tmp_path / "out/labels").rglob("*.jsonl")] == ["Ann.jsonl"]


def test_agreement_export_and_merging(server: TestClient, tmp_path: pathlib.Path) -> None:
    address = ready(server)
    assert server.get(f"{address}/agreement").json()["annotators"] == []
    assert server.get(f"{address}/by/Ann/export").status_code == 404
    assert server.get(f"{address}/merged").status_code == 400
    send(server, address, "Ann", (0, 30, 1), (30, 60, 0))
    send(server, address, "Bob", (0, 36, 1), (36, 50, 0), (50, 55, 2))
    send(server, address, "Zoë", (0, 60, 2))
    said = server.get(f"{address}/agreement").json()
    assert said["annotators"][1] == {"name": "Bob", "unlabelled": 5, "inconsistent": 14, "consistent": 36, "unsure": 5}
    pairs = {(pair["first"], pair["second"]): pair for pair in said["pairs"]}
    frames = pairs["Ann", "Bob"]["frames"]
    assert (frames["units"], frames["observed"]) == (50, 0.88)
    assert pairs["Ann", "Zoë"]["frames"]["undefined"] == "nothing has a label of both"
    assert pairs["Ann", "Zoë"]["frames_unsure"]["kappa"] == 0
    answer = server.get(f"{address}/by/Bob/export")
    assert "numbers.csv" in answer.headers["content-disposition"]
    write_text(tmp_path / "bob.csv", answer.text)
    np.testing.assert_array_equal(label_files.read(tmp_path / "bob.csv"), [1] * 36 + [0] * 14 + [-1] * 10)
    write_text(tmp_path / "all.csv", server.get(f"{address}/merged").text)
    np.testing.assert_array_equal(label_files.read(tmp_path / "all.csv"), [1] * 30 + [-1] * 6 + [0] * 14 + [-1] * 10)
    write_text(tmp_path / "two.csv", server.get(f"{address}/merged?annotator=Ann&annotator=Bob").text)
    np.testing.assert_array_equal(
        label_files.read(tmp_path / "two.csv"), [1] * 30 + [-1] * 6 + [0] * 14 + [-1] * 5 + [0] * 5
    )


def test_a_video_is_replaced(tmp_path: pathlib.Path) -> None:
    """Labels of the one before are not taken for those of another one, and are there when it is back."""
    video, folder, out = tmp_path / "videos/a.mkv", tmp_path / "videos", tmp_path / "out"
    folder.mkdir()
    old = write_video(video, variable(9), sound=None).read_bytes()
    with client(Settings(out=out, folder=folder)) as server:
        address = ready(server, "a.mkv")
        send(server, address, "Ann", (0, 9, 1))
        write_video(video, variable(6), sound=None)
        assert server.get(f"{address}/frames/1").status_code == 409
        assert ready(server, "a.mkv") == address
        late = server.post(f"{address}/by/Ann", json={"client": "d", "base": 1, "edits": edits((0, 6, 0))})
        assert (late.status_code, "refused" in late.json()) == (400, False)  # the browser keeps them
        for path in ("by/Ann", "by/Ann/export", "merged", "agreement"):
            answer = server.get(f"{address}/{path}")
            assert answer.status_code == 400
            assert "labels 9 frames of a video that has 6 now" in answer.json()["error"]
        other = write_video(video, variable(9), sound=None, size=(64, 48)).read_bytes()
        assert ready(server, "a.mkv") == address
        late = server.post(f"{address}/by/Ann", json={"client": "d", "base": 1, "edits": edits((0, 9, 0))})
        assert (late.status_code, "refused" in late.json()) == (400, False)
        answer = server.get(f"{address}/by/Ann")
        assert answer.status_code == 400
        assert "labels 9 frames of a video that has as many, but other content, now" in answer.json()["error"]
        send(server, address, "Bob", (0, 9, 0))
        os.utime(video, (1, 1))
        assert server.get(f"{address}/frames/1").status_code == 409
        ready(server, "a.mkv")
        assert server.get(f"{address}/by/Bob").json()["done"] == [[[0, 9, 0]]], "the same content"
        assert other != old
        video.write_bytes(old)
        for torn in (out / "prepared").glob("*/frames.npz"):  # by a power cut
            torn.write_bytes(torn.read_bytes()[:200])
    with client(Settings(out=out, folder=folder)) as server:
        ready(server, "a.mkv")
        assert server.get(f"{address}/by/Ann").json()["done"] == [[[0, 9, 1]]]


def test_what_was_prepared_is_removed_with_its_video(tmp_path: pathlib.Path) -> None:
    """At the start and when another state is prepared; nothing else is, and labels stay."""
    folder, prepared = tmp_path / "videos", tmp_path / "out/prepared"
    folder.mkdir()
    for name in "abc":
        write_video(folder / f"{name}.mkv", variable(3), sound=None)
    settings = Settings(out=tmp_path / "out", folder=folder)

    def kept() -> set[str]:
        return {path.name for path in prepared.iterdir()}

    with client(settings) as server:
        first = ready(server, "a.mkv")
        (of_a,) = kept()
        ready(server, "b.mkv")
        (of_b,) = kept() - {of_a}
        send(server, first, "Ann", (0, 3, 1))
        for other in (".preparing-now", "notes"):
            (prepared / other).mkdir()
        os.utime(folder / "a.mkv", (1, 1))
        assert server.get(f"{first}/frames/1").status_code == 409
        ready(server, "a.mkv")
        assert kept() >= {of_b, ".preparing-now", "notes"}
        assert of_a not in kept()
        assert len(kept()) == 4
        assert server.get(f"{first}/frames/1").status_code == 200
    (folder / "b.mkv").unlink()
    with client(settings) as server:
        assert not kept() & {of_a, of_b}
        assert server.get(first).json()["state"] == "ready", "it was not prepared again"
        assert server.get(f"{first}/by/Ann").json()["done"] == [[[0, 3, 1]]]
        assert len(kept()) == 2


# A worker that writes what `python -m avsd_jax.avc` writes, without its classifier.
WORKER = f"""
import json, pathlib, sys
for line in sys.stdin:
    task = json.loads(line)
    out = pathlib.Path(task["out"])
    out.mkdir(parents=True)
    rows = [f"{{n}},{{n / 30}},{{0.25 if n <= 20 else 0.75}},{{int(n > 20)}}" for n in range(1, {FRAMES + 1})]
    (out / "consistency.csv").write_text("\\n".join(["frame,time,probability,label", *rows, ""]))
    (out / "consistency.json").write_text("{{}}")
    print(json.dumps({{"state": "done", "phase": "done", "result": {{}}}}), flush=True)
"""


def worker() -> Jobs:
    return Jobs((sys.executable, "-c", WORKER))


def test_a_classifier_proposes(videos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with client(Settings(out=tmp_path / "out", folder=videos), worker()) as server:
        address = ready(server)
        (known,) = server.get(f"{address}/classifiers").json()["classifiers"]
        assert (known["id"], known["done"]) == (0, False)
        assert server.get(f"{address}/classifiers/0").status_code == 404
        assert server.post(f"{address}/classifiers/1").status_code == 404
        job = server.post(f"{address}/classifiers/0").json()["job"]
        waited(lambda: server.get(f"/api/jobs/{job['id']}").json()["state"] == "done")
        assert server.post(f"{address}/classifiers/0").json() == {"job": None}
        found = server.get(f"{address}/classifiers/0").json()
        assert found == {"runs": [[0, 20, 0], [20, 60, 1]], "probabilities": [[0, 0.25], [20, 0.75]]}


def test_the_scorer_proposes_what_avc_writes(videos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """The task itself, on a file without sound, where no classifier is compiled."""
    from avsd_jax.labelling import proposals
    from avsd_jax.web import proposing
    from avsd_jax.web.reports import Report

    with (tmp_path / "events").open("w") as events:
        proposing.run(Report(events), str(videos / "silent.mkv"), str(tmp_path / "out"), None)
    assert '"done": 1' in (tmp_path / "events").read_text()
    assert proposals.read(tmp_path / "out/consistency.csv", 9) == {"runs": [[0, 9, 0]], "probabilities": []}


# ---------------------------------------------------------------------------------------------------------------------
# In a browser
# ---------------------------------------------------------------------------------------------------------------------


class Tab:
    """The page in a browser, of the annotator Ann."""

    def __init__(self, context: Any, address: str, name: str | None = "Ann"):
        self.page = context.new_page()
        self.page.set_default_timeout(60_000)
        self.page.goto(address)
        if name:
            self.page.fill("#name", name)
            self.page.press("#name", "Enter")
        self.shows(1)
        self.saved()

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def shows(self, frame: int) -> None:
        """Waits for the picture of a frame, and reads the number in it."""
        self.page.wait_for_selector(f'#exact[data-frame="{frame}"]')
        script = """image => { const c = document.createElement("canvas");
            [c.width, c.height] = [image.naturalWidth, image.naturalHeight];
            c.getContext("2d").drawImage(image, 0, 0); return c.toDataURL(); }"""
        data = self.page.eval_on_selector("#exact", script).partition(",")[2]
        assert read_stamp(np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))) == frame - 1

    def saved(self, words: str = "All saved") -> None:
        self.page.wait_for_function("words => document.querySelector('#saved').textContent.includes(words)", arg=words)

    def counted(self, words: str) -> None:
        self.page.wait_for_function(
            "words => document.querySelector('#export-note').textContent.includes(words)", arg=words
        )


def test_labels_by_keys_survive_server_browser_and_other_tabs(videos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "avsd_jax.web", f"--folder={videos}", f"--out={out}", "--port=0"]
    with started(command) as (first, url), browser() as opened:
        port = int(url.rpartition(":")[2])
        context = opened.new_context()
        page = context.new_page()
        page.goto(f"{url}/label")
        page.click("text=numbers.mp4")
        page.wait_for_url("**/label?video=*")
        address = page.url
        page.close()
        tab = Tab(context, address)
        tab.press("ArrowRight", "ArrowRight", "PageDown", "ArrowLeft")
        tab.shows(27)
        tab.press("g", "0")  # frames 1 to 27
        tab.press("End", "g", "1")  # 28 to 60
        tab.shows(60)
        tab.press("Home", "Shift+ArrowRight", "Shift+ArrowRight", "u", "z", "y")  # 1 to 3
        tab.saved()
        tab.counted("33 frames are consistent, 24 inconsistent, 3 unsure")
        first.send_signal(signal.SIGKILL)
        first.wait()
        tab.press("n", "Shift+ArrowRight", "x")  # frames 4 and 5, while there is no server
        tab.saved("1 edit not saved yet: kept in this browser")
        with running(Settings(out=out, folder=videos), worker(), port):
            tab.saved()
            other = Tab(context, address, None)
            other.counted("33 frames are consistent, 22 inconsistent, 2 without a label, 3 unsure")
            # Two tabs: what one does is shown by the other; a range that was unsent meanwhile is set on top.
            other.page.route("**/by/Ann", lambda route: route.abort())
            other.press("End", "0")
            other.saved("not saved")
            tab.press("Home", "1")
            tab.counted("34 frames are consistent, 22 inconsistent, 2 without a label, 2 unsure")
            tab.saved()
            other.page.unroute("**/by/Ann")
            other.saved()
            for each in (tab, other):
                each.counted("33 frames are consistent, 23 inconsistent, 2 without a label, 2 unsure")
            # A tab that is closed before the server answers: the next one sends its edits.
            other.page.route("**/by/Ann", lambda route: route.abort())
            other.press("Home", "n", "n", "Shift+ArrowRight", "0")  # frames 4 and 5 again
            other.saved("not saved")
            other.page.close()
            tab.page.reload()
            tab.counted("33 frames are consistent, 25 inconsistent, 2 unsure")
            # The classifier's proposal, where nothing is labelled.
            tab.press("Home", "ArrowRight", "r", "x")
            tab.page.click("#propose")
            tab.page.wait_for_selector("#accept:not([disabled])")
            tab.press("t")
            tab.counted("33 frames are consistent, 27 inconsistent: every frame")
            # Playing: the label is given to the frame that is on the screen.
            tab.press("Home", " ")
            tab.page.wait_for_function("() => Number(document.querySelector('#number').value) > 8")
            tab.press(" ")
            tab.page.wait_for_selector("#screen:not(.playing)")
            tab.shows(int(tab.page.input_value("#number")))
            # A click on the strip, by its place; frames last a different time each.
            box = tab.page.locator("#strip").bounding_box()
            times = frame_times(videos / "numbers.mp4")
            at = (times[30] + 0.01) / (times[-1] * FRAMES / (FRAMES - 1))
            tab.page.mouse.click(box["x"] + at * box["width"], box["y"] + 60)
            tab.shows(31)
            tab.saved()
            _kill(opened)
    with running(Settings(out=out, folder=videos), worker(), port), browser() as again:
        tab = Tab(again.new_context(accept_downloads=True), address)
        tab.counted("33 frames are consistent, 27 inconsistent: every frame")
        with tab.page.expect_download() as told:
            tab.page.click("#export")
        told.value.save_as(tmp_path / "root/av_gt_label/AVAD/V1_Speech1.csv")
        assert told.value.suggested_filename == "numbers.csv"
    wanted = np.array([0] * 27 + [1] * 33)
    wanted[0], wanted[-1] = 1, 0
    np.testing.assert_array_equal(label_files.read(tmp_path / "root/av_gt_label/AVAD/V1_Speech1.csv"), wanted)
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        assert avc_labels.main(["summary", f"--manual_dir={tmp_path / 'root'}"]) == 0
    assert told.getvalue().splitlines()[1].split()[:5] == ["avad", "1", "60", "55.0%", "3"]


@contextlib.contextmanager
def started(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, and its address."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, process.stdout.readline().strip().rstrip("/")
        finally:
            process.kill()


def _kill(opened: Any) -> None:
    """Kills the browser's process."""
    processes = opened.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    os.kill(next(each["id"] for each in processes if each["type"] == "browser"), signal.SIGKILL)
