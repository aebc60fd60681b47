"""A stand-in of the Hugging Face hub on this machine: the part of its protocol by which models are read and written."""

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

import pytest

TOKEN = "hf_stand_in"
OTHER_TOKEN = "hf_of_somebody_else"


@dataclasses.dataclass
class Repo:
    """A repository: its commits in order, each with all of its files, and branches."""

    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = dataclasses.field(default_factory=dict)
    branches: dict[str, str] = dataclasses.field(default_factory=dict)
    messages: list[str] = dataclasses.field(default_factory=list)

    def commit(self, files: dict[str, bytes], message: str = "", branch: str = "main") -> str:
        """Adds a commit, and returns its name."""
        content = sorted((name, hashlib.sha1(data).hexdigest()) for name, data in files.items())
        name = hashlib.sha1(json.dumps([len(self.commits), content]).encode()).hexdigest()
        self.commits[name] = files
        self.branches[branch] = name
        self.messages.append(message)
        return name

    def find(self, revision: str) -> str | None:
        """The commit of a branch or a commit."""
        name = self.branches.get(revision, revision)
        return name if name in self.commits else None


@dataclasses.dataclass
class Hub:
    """The repositories of a server, and what it was asked for: "GET /path"."""

    address: str
    repos: dict[str, Repo] = dataclasses.field(default_factory=dict)
    asked: list[str] = dataclasses.field(default_factory=list)
    objects: dict[str, bytes] = dataclasses.field(default_factory=dict)

    def add(self, repo: str, files: dict[str, bytes], **options: bool) -> str:
        """Adds a commit to a repository, which is created if missing; returns its name."""
        return self.repos.setdefault(repo, Repo(**options)).commit(files)

    def add_folder(self, repo: str, folder: Path, **options: bool) -> str:
        """The same with the files of a folder."""
        return self.add(repo, {path.name: path.read_bytes() for path in folder.iterdir()}, **options)


@contextlib.contextmanager
def served(patch: pytest.MonkeyPatch, cache: Path, token: str | None = None) -> Iterator[Hub]:
    """Serves an empty hub to huggingface_hub, with an empty cache."""
    from huggingface_hub import constants, file_download

    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    patch.setattr(constants, "ENDPOINT", server.hub.address)
    template = server.hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (constants, file_download):  # of the oldest version that is supported, too
        patch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_OFFLINE", False)
    patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no_token"))
    patch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    patch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    patch.delenv("HF_TOKEN", raising=False)
    if token:
        patch.setenv("HF_TOKEN", token)
    try:
        yield server.hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    @property
    def hub(self) -> Hub:
        return self.server.hub

    @property
    def token(self) -> str:
        return self.headers.get("authorization", "").removeprefix("Bearer ")

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(self.path.partition("?")[0])
        self.hub.asked.append(f"{self.command} {path}")
        if self.headers.get("transfer-encoding") == "chunked":
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
        for pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, f"{self.command} {path}")
            if found:
                answer(self, body, **found.groupdict())
                return
        self._send(501, {"error": f"the stand-in has no {self.command} {path}"})

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _send(self, status: int, value: object, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _repo(self, repo: str, files: bool = False) -> Repo | None:
        """The repository if there is one and it may be read; answers otherwise. `files`: or its files."""
        found = self.hub.repos.get(repo)
        if found is None or (found.private and self.token != TOKEN):
            self._send(404 if self.token else 401, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
            return None
        if found.gated and files and self.token != TOKEN:
            self._send(403 if self.token else 401, {"error": "Access is restricted"}, X_Error_Code="GatedRepo")
            return None
        return found

    def info(self, body: bytes, repo: str, revision: str | None = None) -> None:
        found = self._repo(repo)
        if found is None:
            return
        commit = found.find(revision or "main")
        if commit is None:
            self._send(404, {"error": "Invalid rev id"}, X_Error_Code="RevisionNotFound")
            return
        siblings = [{"rfilename": name} for name in found.commits[commit]]
        self._send(200, {"id": repo, "sha": commit, "private": found.private, "siblings": siblings})

    def file(self, body: bytes, repo: str, rest: str) -> None:
        found = self._repo(repo, files=True)
        if found is None:
            return
        # Branches have slashes, too.
        revision = next((name for name in found.branches if rest.startswith(f"{name}/")), rest.partition("/")[0])
        name = rest.removeprefix(f"{revision}/")
        commit = found.find(revision)
        if commit is None or name not in found.commits[commit]:
            code = "RevisionNotFound" if commit is None else "EntryNotFound"
            self._send(404, {"error": code}, X_Error_Code=code)
            return
        data = found.commits[commit][name]
        self._send(200, data, X_Repo_Commit=commit, ETag=f'"{hashlib.sha256(data).hexdigest()}"')

    def create(self, body: bytes) -> None:
        if self.token != TOKEN:
            self._send(401, {"error": "Invalid credentials"})
            return
        given = json.loads(body)
        name = f"{given['organization']}/{given['name']}"
        if name in self.hub.repos:
            self._send(409, {"error": "You already created this model repo", "url": f"{self.hub.address}/{name}"})
            return
        private = given.get("private") or given.get("visibility") == "private"
        self.hub.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"}, private=bool(private))
        self._send(200, {"url": f"{self.hub.address}/{name}"})

    def yaml(self, body: bytes) -> None:
        self._send(200, {"errors": [], "warnings": []})

    def preupload(self, body: bytes, repo: str) -> None:
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        self._send(200, {"files": files})

    def batch(self, body: bytes, repo: str) -> None:
        objects = [
            {**wanted, "actions": {"upload": {"href": f"{self.hub.address}/objects/{wanted['oid']}"}}}
            for wanted in json.loads(body)["objects"]
        ]
        self._send(200, {"transfer": "basic", "objects": objects})

    def put(self, body: bytes, oid: str) -> None:
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self._send(200, b"")

    def commit(self, body: bytes, repo: str) -> None:
        if self.token != TOKEN:
            self._send(403, {"error": "You have no right to write here"})
            return
        found = self.hub.repos[repo]
        files, message = dict(found.commits[found.branches["main"]]), ""
        for line in body.splitlines():
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "header":
                message = value["summary"]
            elif step["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif step["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif step["key"] == "deletedFile":
                del files[value["path"]]
        name = found.commit(files, message)
        self._send(200, {"commitUrl": f"{self.hub.address}/{repo}/commit/{name}", "commitOid": name})


_REPO = r"(?P<repo>[\w.-]+/[\w.-]+?)"
_ROUTES = (
    (rf"GET /api/models/{_REPO}(?:/revision/(?P<revision>.+))?", _Handler.info),
    (rf"(?:GET|HEAD) /{_REPO}/resolve/(?P<rest>.+)", _Handler.file),
    (r"POST /api/repos/create", _Handler.create),
    (r"POST /api/validate-yaml", _Handler.yaml),
    (rf"POST /api/models/{_REPO}/preupload/main", _Handler.preupload),
    (rf"POST /{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    (r"PUT /objects/(?P<oid>\w+)", _Handler.put),
    (rf"POST /api/models/{_REPO}/commit/main", _Handler.commit),
)
