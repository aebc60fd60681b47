"""Videos of the folder and uploads: what is taken, by which name, what is left of one that fails."""

import pathlib
import socket
import urllib.parse

import pytest
from media_files import regular, set_matrix, variable, write_video
from starlette.testclient import TestClient
from web_server import client, left, running, waited

from avsd_jax.media.reading import frame_times, probe
from avsd_jax.web import copying
from avsd_jax.web.playable import playable
from avsd_jax.web.reports import Report
from avsd_jax.web.settings import Settings
from avsd_jax.web.video_library import Video, VideoLibrary, clean_name

NAME = "日本 \"q\" 'ü' <b>&amp;.mp4"


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_video(tmp_path_factory.mktemp("clip") / "clip.mp4", regular(4), size=(32, 48)).read_bytes()


def send(c: TestClient, name: str, content: bytes) -> tuple[int, dict]:
    answer = c.post(f"/api/uploads?name={urllib.parse.quote(name)}", content=content)
    return answer.status_code, answer.json()


def test_an_upload_is_a_video_by_its_content(clip: bytes, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with client(Settings(out=out)) as c:
        status, video = send(c, NAME, clip)
        assert (status, video["name"], video["uploaded"]) == (201, NAME, True)
        again = send(c, "other.mp4", clip)[1]  # the same content is the same video
        assert again == video
        assert [each["id"] for each in c.get("/api/videos").json()["videos"]] == [video["id"]]
        media = c.get(c.get(f"/api/videos/{video['id']}").json()["media"])
        assert (media.content, media.headers["content-type"]) == (clip, "video/mp4")
        before = left(out)
        refused = {
            b"<html><script>alert(1)</script></html>": "page.mp4 cannot be read as a video",
            b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>': "page.mp4 cannot be read as a video",
            b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n": "page.mp4 cannot be read as a video",
            b"ffconcat version 1.0\nfile '/etc/passwd'\n": "page.mp4 cannot be read as a video",
            clip[: len(clip) // 2]: "page.mp4",
            b"": "page.mp4 did not arrive completely",
        }
        for content, why in refused.items():
            status, told = send(c, "page.mp4", content)
            assert status == 400
            assert told["error"].startswith(why)
            assert str(tmp_path) not in told["error"]
            assert left(out) == before
        assert c.delete(f"/api/videos/{video['id']}").status_code == 204
        assert left(out) == []
        assert c.get(f"/api/videos/{video['id']}").status_code == 404


def test_too_large_an_upload_is_stopped(clip: bytes, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with client(Settings(out=out, max_upload=1000)) as c:
        for content in (clip, iter([clip[:900], clip[900:1800]])):  # the second announces no length
            answer = c.post("/api/uploads?name=a.mp4", content=content)
            assert answer.status_code == 413
            assert "a.mp4 is larger than 0.001 MB: put it into the folder" in answer.json()["error"]
            assert left(out) == []


def test_a_browser_that_is_killed_leaves_nothing(clip: bytes, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "out"
    with running(Settings(out=out)) as url:
        host, port = url.removeprefix("http://").split(":")
        head = f"POST /api/uploads?name=a.mp4 HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Length: {len(clip)}\r\n\r\n"
        with socket.create_connection((host, int(port))) as sending:
            sending.sendall(head.encode() + clip[:-10])
            waited(lambda: left(out))
        waited(lambda: not left(out))
        # A server that was killed meanwhile: at the next start.
        (out / "uploads/.upload-0123").mkdir()
        (out / "uploads/.upload-0123/a.mp4").write_bytes(clip[:50])
        (out / "playable").mkdir()
        (out / "playable/.video-0123.partial").write_bytes(b"1")
    with client(Settings(out=out)):
        assert left(out) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("../../etc/cron.mp4", "cron.mp4"),
        ("C:\\videos\\a b.MOV", "a b.MOV"),
        (".hidden.mp4", "hidden.mp4"),
        ("...mp4", "mp4.mp4"),
        ("page.html", "page.html.mp4"),
        ("a\x00b\n.mp4", "ab.mp4"),
        ("\ud800x.webm", "x.webm"),
        ("", "video.mp4"),
        ("..", "video.mp4"),
    ],
)
def test_names_of_uploads(given: str, kept: str) -> None:
    assert clean_name(given) == kept


def test_the_folder_and_no_more(clip: bytes, tmp_path: pathlib.Path) -> None:
    folder, outside = tmp_path / "videos", tmp_path / "outside"
    (folder / "sub").mkdir(parents=True)
    outside.mkdir()
    for path in (folder / NAME, folder / "sub/b.mp4", folder / ".hidden.mp4", folder / "notes.txt", outside / "c.mp4"):
        path.write_bytes(clip)
    (folder / "text.mp4").write_text("<script>alert(1)</script>")
    (folder / "link.mp4").symlink_to(outside / "c.mp4")
    (folder / "links").symlink_to(outside)
    (folder / "inside.mp4").symlink_to(folder / "sub/b.mp4")
    (folder / "gone.mp4").symlink_to(folder / "nothing")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    library = VideoLibrary(folder / "out", folder, 10_000)
    assert {video.name for video in library.videos()} == {NAME, "sub/b.mp4", "text.mp4", "inside.mp4"}
    with client(Settings(out=folder / "out", folder=folder)) as c:
        send(c, "mine.mp4", clip)
        videos = {video["name"]: video["id"] for video in c.get("/api/videos").json()["videos"]}
        assert set(videos) == {"mine.mp4", NAME, "sub/b.mp4", "text.mp4", "inside.mp4"}  # the upload once
        for path in (f"/media/{videos['text.mp4']}", f"/api/videos/{videos['text.mp4']}"):
            answer = c.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (400, "application/json")
        assert c.get(f"/media/{videos[NAME]}").content == clip
        assert c.delete(f"/api/videos/{videos[NAME]}").status_code == 403
        # A file that is put in the place of another one.
        (folder / "sub/b.mp4").unlink()
        (folder / "sub/b.mp4").symlink_to(outside / "c.mp4")
        assert c.get(f"/media/{videos['sub/b.mp4']}").status_code == 404


def test_what_browsers_do_not_play_is_copied(clip: bytes, tmp_path: pathlib.Path) -> None:
    """A copy has a frame at each of the times that prediction gives them, upright."""

    def played(path: pathlib.Path) -> tuple[Video, str, bool]:
        video = Video("f-1", path.name, path, False, path.stat().st_size, 1)
        found = playable(video, probe(path), tmp_path / "out")
        return video, found.media_type, found.copied

    uneven = write_video(tmp_path / "uneven.mp4", variable(9), size=(32, 48), sound=None)
    assert played(uneven)[1:] == ("video/mp4", False)
    webm = write_video(tmp_path / "a.webm", regular(4), size=(32, 48), codec="libvpx", sound="libopus", rate=48_000)
    assert played(webm)[1:] == ("video/webm", False)
    turned = write_video(tmp_path / "phone.mp4", variable(9), size=(32, 48), sound=None)
    set_matrix(turned, 0, 1, -1, 0)
    old = write_video(tmp_path / "old.avi", regular(4), size=(32, 48), codec="mpeg4", sound="mp2")
    odd = write_video(tmp_path / "odd.mp4", regular(4), size=(32, 48), pixels="yuv444p", sound=None)
    for path in (turned, old, odd):
        assert played(path)[1:] == ("video/mp4", True)
        with (tmp_path / "events").open("w") as events:
            copying.run(Report(events), str(path), str(tmp_path / "out" / f"{path.stem}.mp4"))
        copy = tmp_path / "out" / f"{path.stem}.mp4"
        assert played(copy)[1:] == ("video/mp4", False)
        assert frame_times(copy) == pytest.approx(frame_times(path), abs=1e-4)
        assert (probe(copy).width, probe(copy).height) == (probe(path).width, probe(path).height)
    assert probe(turned).height > probe(turned).width
