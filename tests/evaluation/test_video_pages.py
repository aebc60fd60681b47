"""A page per video: its contents, their order, any name of a video, and atomic writing."""

import dataclasses
import json
import os
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from avsd_jax import compare, evaluate
from avsd_jax.data.catalog import open_store
from avsd_jax.data.store import VideoStore
from avsd_jax.errors import InputError, StorageError
from avsd_jax.evaluation import earlier_scores, prediction_folders, score_files
from avsd_jax.evaluation.pages import video_pages
from avsd_jax.evaluation.pages.video_pages import Model, file_name, shown_frames

TINY = "sounding_shapes/tiny"
ODD = "a <b> & \"c\"/100% 'd'.mp4</script><script>"
VOID = {"meta", "img", "input", "br"}


class Page(HTMLParser):
    """Parses a page; elements must be closed in the order in which they were opened."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[str] = []
        self.data: dict[str, Any] = {}
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] == ["script"] and data.startswith("{"):
            self.data = json.loads(data)
        self.texts.append(data)

    def all(self, tag: str, **wanted: str) -> list[dict[str, Any]]:
        return [a for t, a in self.tags if t == tag and all(a.get(k) == v for k, v in wanted.items())]


@pytest.fixture(scope="module")
def store(tiny_data_dir: Path) -> VideoStore:
    return open_store(TINY, "test", tiny_data_dir)


def score(store: VideoStore, base: Path, data_dir: Path, noise: int) -> Path:
    """Scores a model that lacks the last video and whose frame 5 of the first is constant."""
    for video, index in enumerate(store.videos[:-1]):
        (base / "maps" / index.id).mkdir(parents=True)
        for frame in range(index.num_frames):
            rng = np.random.default_rng([video, frame, noise])
            mixed = store.density(video, frame) + rng.integers(1, noise, (64, 96))
            values = (mixed * 255 / mixed.max()).astype(np.uint8) if (video, frame) != (0, 5) else np.full((64, 96), 9)
            Image.fromarray(values.astype(np.uint8)).save(base / "maps" / index.id / f"{frame:06d}.png")
    command = [f"--predictions={base / 'maps'}", f"--dataset={TINY}", f"--data_dir={data_dir}", "--workers=1"]
    assert evaluate.main([*command, f"--out={base / 'out'}", "--metrics=NSS,CC,KL", "--pages"]) == 0
    return base / "out"


@pytest.fixture(scope="module")
def scored(store: VideoStore, tiny_data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    base = tmp_path_factory.mktemp("pages")
    return [score(store, base / name, tiny_data_dir, noise) for name, noise in (("good", 60), ("bad", 200))]


def check_alone(page: Page) -> None:
    """Nothing is loaded from outside the file, and images are described."""
    text = re.sub(r"data:image/jpeg;base64,[\w+/=]+", "", page.source)
    assert not re.search(r"https?:|//\w|url\(|@import", text)
    assert all(image["src"].startswith("data:image/jpeg;base64,") and image["alt"] for image in page.all("img"))
    assert not [a for _, a in page.tags if "src" in a and not a["src"].startswith("data:")]
    assert page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"].startswith("default-src 'none'")


def test_a_page_holds_every_score_and_shows_the_worst_frames_first(scored: list[Path], store: VideoStore) -> None:
    out, evaluation = scored[0], score_files.load(scored[0])
    first, second, third = (video.id for video in store.videos)
    names = {path.name for path in (out / "pages").iterdir()}
    assert names == {"index.html", f"{first}.html", f"{second}.html"}
    index = Page(out / "pages/index.html")
    check_alone(index)
    assert {unquote(a["href"]) for a in index.all("a")} == names - {"index.html"}
    assert f"Videos without any prediction: {third}." in index.texts
    page = Page(out / "pages" / f"{first}.html")
    check_alone(page)
    rows = [row for row, (_, video, _) in enumerate(evaluation.keys) if video == first]
    assert page.data["frames"] == evaluation.frames.frame[rows].tolist() == list(range(40))
    assert page.data["labels"] == store.avc_label(0).tolist()
    for metric, values in page.data["scores"][0].items():
        np.testing.assert_allclose(np.array(values, float), evaluation.frames.scores[metric][rows], atol=5e-7)
    assert set(page.data["scores"][0]) == {"NSS", "CC", "KL"}
    cc = evaluation.frames.scores["CC"][rows]
    shown = [int(card["data-frame"]) for card in page.all("li")]
    assert shown[: video_pages.WORST] == np.argsort(cc)[: video_pages.WORST].tolist()
    assert 5 not in shown[: video_pages.WORST]  # it has no CC
    assert len(page.all("img")) == 3 * len(shown)
    assert sum(float(a["width"]) for a in page.all("rect")) == pytest.approx(3 * 562, rel=1e-3)  # three complete bands


def test_models_stand_side_by_side(
    scored: list[Path], store: VideoStore, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [*map(str, scored), "--names=good,<bad>", f"--data_dir={tiny_data_dir}", "--pages"]
    assert compare.main([*command, f"--out={tmp_path}"]) == 0
    assert f"pages: {tmp_path / 'pages/index.html'}" in capsys.readouterr().out
    page = Page(tmp_path / "pages" / f"{store.videos[1].id}.html")
    check_alone(page)
    assert page.data["models"] == ["good", "<bad>"]
    assert len(page.all("img")) == 4 * len(page.all("li"))
    assert len(page.all("svg", role="img")) == 3
    assert len(page.all("path", **{"class": "curve"})) == 2 * (3 + 1)  # a legend's and three charts'
    for scores, folder in zip(page.data["scores"], scored, strict=True):
        evaluation = score_files.load(folder)
        rows = [row for row, (_, video, _) in enumerate(evaluation.keys) if video == store.videos[1].id]
        np.testing.assert_allclose(scores["NSS"], evaluation.frames.scores["NSS"][rows], atol=5e-7)
    assert compare.main(command) == 2
    assert "--pages writes files: give --out" in capsys.readouterr().err


def named(store: VideoStore, out: Path, name: str) -> tuple[Model, VideoStore]:
    """A model and a store whose first video is called otherwise."""
    evaluation, first = score_files.load(out), store.videos[0]
    index = dataclasses.replace(first, id=name)
    maps = prediction_folders.find(out.parent / "maps", TINY, {first.id: 40}).videos[first.id]
    keys = [(split, name if video == first.id else video, frame) for split, video, frame in evaluation.keys]
    found = prediction_folders.PredictionFolder(out, "numbered", 0, {name: maps}, ())
    renamed = VideoStore("odd", store.records, [index, *store.videos[1:]], store.chunk_frames)
    renamed.videos = renamed.videos[:1]
    return Model(f"model {name}", dataclasses.replace(evaluation, keys=keys), {"test": found}), renamed


@pytest.mark.parametrize("name", [ODD, "../../up", "index", "ü" * 90], ids=["markup", "path", "index", "long"])
def test_names_are_escaped(name: str, scored: list[Path], store: VideoStore, tmp_path: Path) -> None:
    model, renamed = named(store, scored[0], name)
    index = Page(video_pages.write(tmp_path / "out", [model], {"test": renamed}))
    assert len(list((tmp_path / "out/pages").iterdir())) == 2
    assert os.listdir(tmp_path) == ["out"]
    assert name in index.texts
    page = Page(tmp_path / "out/pages" / unquote(index.all("a")[0]["href"]))
    assert name in page.texts
    assert page.data["models"] == [f"model {name}"]
    assert len(page.all("script")) == 2
    check_alone(page)


def test_frames_that_count_without_a_map_say_so(scored: list[Path], store: VideoStore, tmp_path: Path) -> None:
    model, renamed = named(store, scored[0], "one")
    bare = dataclasses.replace(model, found={"test": dataclasses.replace(model.found["test"], videos={})})
    video_pages.write(tmp_path, [model, bare], {"test": renamed})
    page = Page(tmp_path / "pages/one.html")
    assert page.texts.count("no map") == len(page.all("li")) == len(page.all("img")) / 3


def test_without_frames_maps_are_drawn_over_grey(
    scored: list[Path], store: VideoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, renamed = named(store, scored[0], "one")
    monkeypatch.setattr(renamed, "has_frames", False, raising=True)
    monkeypatch.setattr(renamed, "frames", None)
    video_pages.write(tmp_path, [model], {"test": renamed})
    page = Page(tmp_path / "pages/one.html")
    assert len(page.all("img")) == 2 * len(page.all("li"))
    assert not [image for image in page.all("img") if image["alt"].startswith("frame")]


def test_pages_have_names_of_their_own() -> None:
    names = ["index", "INDEX", "%69ndex", "a/b", "a%2Fb", "a_b", "é" * 100, "é" * 101, "..", "."]
    files = [file_name(name) for name in names]
    assert len({file.lower() for file in files} | {"index.html"}) == len(names) + 1
    assert all("/" not in file and len(file) < 255 for file in files)


def test_the_worst_of_all_models_decides_and_a_frame_without_a_score_comes_last() -> None:
    cc = np.array([[0.9, 0.5, np.nan, 0.7], [0.1, 0.8, 0.6, 0.7]])
    assert shown_frames(cc, "CC") == [0, 1, 2, 3]
    assert shown_frames(cc[:1], "CC") == [1, 3, 0, 2]
    assert shown_frames(cc[:1], "KL") == [0, 3, 1, 2]
    many = np.linspace(1, 0, 1000)[None]
    shown = shown_frames(many, "CC")
    assert shown[:24] == list(range(999, 975, -1))
    assert 24 + 20 < len(shown) <= video_pages.WORST + video_pages.EVEN
    assert shown[-1] == 0


def test_pages_are_replaced_as_a_whole_or_stay(
    scored: list[Path], store: VideoStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, renamed = named(store, scored[0], "one")
    video_pages.write(tmp_path, [model], {"test": renamed})
    other, again = named(store, scored[0], "other")

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(video_pages, "index_page", full)
        with pytest.raises(StorageError, match="No space left"):
            video_pages.write(tmp_path, [other], {"test": again})
    assert os.listdir(tmp_path) == ["pages"]
    assert sorted(os.listdir(tmp_path / "pages")) == ["index.html", "one.html"]
    video_pages.write(tmp_path, [other], {"test": again})
    assert os.listdir(tmp_path) == ["pages"]
    assert sorted(os.listdir(tmp_path / "pages")) == ["index.html", "other.html"]
    (tmp_path / "mine/pages").mkdir(parents=True)
    (tmp_path / "mine/pages/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no pages of an earlier run"):
        video_pages.write(tmp_path / "mine", [other], {"test": again})
    assert (tmp_path / "mine/pages/notes.txt").read_text() == "mine"


def test_maps_or_data_that_changed_since_they_were_scored_are_refused(
    scored: list[Path], store: VideoStore, tiny_data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = [*map(str, scored), "--names=a,b", f"--data_dir={tiny_data_dir}", f"--out={tmp_path}", "--pages"]
    path = scored[1].parent / "maps" / store.videos[1].id / "000007.png"
    before, later = path.stat(), (scored[1] / "scores.json").stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    try:
        assert compare.main(command) == 2
    finally:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert f"{path} was changed after it was scored" in capsys.readouterr().err
    evaluations = [score_files.load(folder) for folder in scored]
    evaluations[1].record["dataset"]["digest"] = "0" * 64
    with pytest.raises(InputError, match="was scored on another build of sounding_shapes/tiny"):
        video_pages.of_evaluations(tmp_path, evaluations, ["a", "b"], tiny_data_dir)
    assert not (tmp_path / "pages").exists()


def test_a_later_run_without_pages_leaves_none_of_other_scores(scored: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(scored[0], out)
    (out / "earlier/pages").mkdir(parents=True)  # of a run that failed
    (out / "earlier/pages/index.html").write_text("older")
    earlier_scores.set_aside(out)
    assert {path.name for path in out.iterdir()} == {"earlier", "videos"}
    assert len(list((out / "earlier/pages").iterdir())) == 3
    shutil.rmtree(out / "earlier")
    shutil.copy(scored[0] / "scores.json", out)
    (out / "pages").mkdir()
    (out / "pages/index.html").write_text("the user's own")
    earlier_scores.set_aside(out)
    assert (out / "pages/index.html").exists()
