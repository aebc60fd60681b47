"""Who is let in: this machine's pages, and elsewhere those that know the token; and what a response may do."""

import pathlib
import re
import socket

import pytest
from starlette.testclient import TestClient
from web_server import client

from avsd_jax.errors import InputError
from avsd_jax.web import __main__ as command
from avsd_jax.web.settings import Settings, is_local

TOKEN = "a-token-of-letters"


def test_another_page_of_the_browser_is_refused(tmp_path: pathlib.Path) -> None:
    with client(Settings(out=tmp_path / "out")) as c:
        assert c.get("/api/videos").status_code == 200
        assert c.get("/api/videos", headers={"host": "localhost:9"}).status_code == 200
        for host in ("evil.example", "127.0.0.1.evil.example:8765", "[::2]:8765", ""):
            assert c.get("/api/videos", headers={"host": host}).status_code == 403, host
        for foreign in ("http://evil.example", "http://127.0.0.1:1", "null"):
            answer = c.post("/api/uploads?name=a.mp4", content=b"1", headers={"origin": foreign})
            assert answer.status_code == 403
            assert answer.json() == {"error": "this request comes from another page"}
        assert c.get("/api/videos", headers={"sec-fetch-site": "cross-site"}).status_code == 403
        assert c.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200
        # A form of another page cannot send JSON.
        assert c.post("/api/predictions", content=b'{"video": "a"}').status_code == 415
        same = {"origin": "http://127.0.0.1:8765"}
        assert c.post("/api/predictions", json={"video": "a"}, headers=same).status_code == 404
        for broken in (b"{", b"[]", b'{"video":' + b" " * (1 << 23) + b"1}"):
            sent = c.post("/api/predictions", content=broken, headers={"content-type": "application/json"})
            assert sent.status_code in (400, 413)


def test_the_token_is_asked_for_once(tmp_path: pathlib.Path) -> None:
    with client(Settings(out=tmp_path / "out", token=TOKEN, local=False), follow_redirects=False) as c:
        far = {"host": "gpu.example:8765"}
        for path in ("/", "/api/videos", "/static/base.css", "/?token=", "/?token=wrong", "/?token=ü"):
            assert c.get(path, headers=far).status_code == 401, path
        assert c.post(f"/api/uploads?token={TOKEN}", headers=far).status_code == 401
        answer = c.get(f"http://127.0.0.1:8765//evil.example/watch?token={TOKEN}&video=u-1", headers=far)
        assert (answer.status_code, answer.headers["location"]) == (303, "/evil.example/watch?video=u-1")
        assert re.search(r"^avsd_jax_token_8765=.*HttpOnly;.*SameSite=lax", answer.headers["set-cookie"], re.I)
        known = {"cookie": f"other=1; avsd_jax_token_8765={TOKEN}"}
        assert c.get("/api/videos", headers=far | known).status_code == 200
        assert c.get("/api/videos", headers=far | {"cookie": f"avsd_jax_token_9={TOKEN}"}).status_code == 401
        assert c.post("/api/uploads", headers=far | known | {"origin": "http://evil.example"}).status_code == 403


def test_nothing_but_our_own_files_runs_as_a_script(tmp_path: pathlib.Path) -> None:
    with client(Settings(out=tmp_path / "out")) as c:
        for path in ("/", "/watch", "/static/watch.js", "/api/videos", "/nothing", "/api/videos/x"):
            headers = c.get(path).headers
            assert "script-src 'self';" in headers["content-security-policy"], path
            assert "unsafe" not in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
        assert c.get("/static/watch.js").headers["content-type"].startswith("text/javascript")
        for page in ("/", "/watch"):
            text = c.get(page).text
            assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=|https?://", text), page


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
        "/static//etc/passwd",
        "/static/%00",
        "/media/..%2f..%2fx",
    ],
)
def test_paths_lead_nowhere_else(path: str, tmp_path: pathlib.Path) -> None:
    (tmp_path / "x").write_text("secret")
    with client(Settings(out=tmp_path / "out", folder=tmp_path)) as c:
        assert c.get(path).status_code == 404


def test_addresses_of_this_machine() -> None:
    assert all(map(is_local, ("127.0.0.1", "127.8.8.8", "localhost", "::1", "[::1]")))
    assert not any(map(is_local, ("0.0.0.0", "", "example.org", "10.0.0.1", "::", "127.1", "localhost.evil.example")))


def test_the_command_refuses_before_it_serves(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture) -> None:
    def told(*given: str) -> str:
        assert command.main([f"--out={tmp_path / 'out'}", *given]) == 2
        return capsys.readouterr().err

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"127.0.0.1:{port} cannot be opened (Address already in use): give another --port" in told(
            f"--port={port}"
        )
    assert "--folder=nowhere: there is no such folder" in told("--folder=nowhere")
    assert "--checkpoint=nowhere: there is no such folder" in told("--checkpoint=nowhere")
    assert "--ground_truth=nowhere: there is no such folder" in told("--ground_truth=nowhere")
    assert "--token: give 16 or more letters" in told("--token=short")
    assert "give an address of this machine" in told("--host=no.such.host.invalid")
    assert not (tmp_path / "out").exists()
    with command.alone(tmp_path / "out"):
        assert "is used by another server: give another --out" in told("--port=0")


def test_elsewhere_there_is_a_token() -> None:
    assert command._token(None, local=True) is None
    assert command._token(TOKEN, local=False) == TOKEN
    made = {command._token(given, local) for given, local in ((None, False), ("", False), ("", True))}
    assert len(made) == 3
    assert all(len(token) >= 32 for token in made)
    with pytest.raises(InputError, match="--token: give 16 or more"):
        command._token("?&# of an address", local=False)


def test_one_range_of_a_video_is_sent(tmp_path: pathlib.Path) -> None:
    """Other headers of ranges are as if they were not there."""

    def length(c: TestClient, given: str) -> tuple[int, int]:
        answer = c.get("/static/base.css", headers={"range": given})
        return answer.status_code, len(answer.content)

    with client(Settings(out=tmp_path / "out")) as c:
        whole = len(c.get("/static/base.css").content)
        assert length(c, "bytes=10-19") == (206, 10)
        assert length(c, "bytes=-7") == (206, 7)
        assert length(c, f"bytes={whole}-") == (416, 0) or length(c, f"bytes={whole}-")[0] == 416
        assert length(c, "bytes=" + ",".join(["0-0"] * 1000)) == (200, whole)
