"""Labels that people make: tracks, journals, agreement, export, and the strip of the audio."""

import hashlib
import json
import os
import pathlib

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from media_files import regular, write_video

from avsd_jax import avc_labels
from avsd_jax.errors import InputError, StorageError
from avsd_jax.labelling import agreement, annotation, exporting, journal, preparation, proposals, strip
from avsd_jax.labelling.annotation import Annotation, Conflict
from avsd_jax.labelling.track import Run, Track, checked_runs, runs_of
from avsd_jax.media.reading import frame_times, probe
from avsd_jax.sources import label_files

FRAMES = 30
DIGEST = hashlib.sha256(b"clip.mp4").hexdigest()


@st.composite
def runs(draw: st.DrawFn) -> list[Run]:
    """Ordered ranges of one to three different labels."""
    edges = sorted(draw(st.sets(st.integers(0, FRAMES), min_size=2, max_size=6)))
    return [Run(a, b, draw(st.integers(-1, 2))) for a, b in zip(edges[::2], edges[1::2], strict=False)]


EDITS = st.lists(st.one_of(runs(), st.sampled_from(["undo", "redo"])), max_size=12)


@hypothesis.given(EDITS, st.integers(0, 4))
def test_a_track_is_a_list_of_states_and_a_place_in_it(edits: list, most: int):
    """Undo and redo move between states, an edit drops the states after it; another program goes on from `history`."""
    track, states, at = Track(FRAMES), [np.full(FRAMES, -1)], 0
    for edit in edits:
        if edit == "undo" and not at or edit == "redo" and at + 1 == len(states):
            with pytest.raises(InputError, match="there is no"):
                getattr(track, edit)()
        elif isinstance(edit, str):
            getattr(track, edit)()
            at += 1 if edit == "redo" else -1
        else:
            new = states[at].copy()
            for run in edit:
                new[run.start : run.stop] = run.label
            states, at = [*states[: at + 1], new], at + 1
            track.set(edit)
        np.testing.assert_array_equal(track.labels, states[at])
    base, done, undone = track.history(most)
    again = Track(FRAMES)
    if base:
        again.set(base)
    start = len(done)
    for edit in done:
        again.set(edit)
    np.testing.assert_array_equal(again.labels, track.labels)
    assert (start, len(undone)) == (min(most, at), len(states) - 1 - at)
    for edit in reversed(undone):
        again.set(edit)
    np.testing.assert_array_equal(again.labels, states[-1])
    assert sum(run.stop - run.start for run in runs_of(track.labels)) == FRAMES


@pytest.mark.parametrize(
    "wrong",
    [None, [], [[0, 0, 1]], [[0, 31, 1]], [[-1, 2, 1]], [[4, 6, 1], [5, 7, 0]], [[0, 1, 3]], [[0, 1]], [[0, 1.0, 1]]]
    + [[["0", 1, 1]], [[False, True, 1]], "abc", [5], {"a": 1}],
)
def test_wrong_ranges_are_refused(wrong):
    with pytest.raises(InputError):
        checked_runs(wrong, FRAMES)


# ---------------------------------------------------------------------------------------------------------------------
# Journals
# ---------------------------------------------------------------------------------------------------------------------


def _set(sequence: int, *runs: tuple[int, int, int]) -> dict:
    return {"sequence": sequence, "kind": "set", "runs": [list(run) for run in runs]}


def _annotation(path: pathlib.Path) -> Annotation:
    return Annotation(path, "clip.mp4", "Ann", FRAMES, DIGEST)


def test_whatever_byte_a_writer_is_killed_at_the_whole_entries_are_there(tmp_path: pathlib.Path):
    path = tmp_path / "whole.jsonl"
    opened = _annotation(path)
    edits = [_set(1, (0, 9, 1)), _set(2, (4, 6, 0), (8, 20, 2)), {"sequence": 3, "kind": "undo"}, _set(4, (2, 3, -1))]
    states = [opened.labels]
    for edit in edits:
        opened.submit("a", opened.revision, [edit])
        states.append(opened.labels)
    opened.close()
    content = path.read_bytes()
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        torn = tmp_path / "torn.jsonl"
        # A file system may also have made room that was not written to yet.
        torn.write_bytes(content[:cut] + b"\0" * (cut % 3 == 0 and cut not in ends))
        whole = sum(end <= cut for end in ends)
        again = _annotation(torn)
        assert again.revision == max(0, whole - 1)
        np.testing.assert_array_equal(again.labels, states[max(0, whole - 1)])
        # It goes on as if nothing had been: what was not acknowledged is sent again.
        rest = edits[again.revision :]
        if rest:
            again.submit("a", again.revision, rest)
        np.testing.assert_array_equal(again.labels, states[-1])
        again.close()
        assert torn.read_bytes() == content


def test_edits_are_applied_once_and_on_the_state_they_were_made_on(tmp_path: pathlib.Path):
    path = tmp_path / "Ann.jsonl"
    opened = _annotation(path)
    first = [_set(1, (0, 5, 1)), _set(2, (5, 9, 0))]
    opened.submit("a", 0, first)
    opened.submit("a", 0, first)  # the answer was lost
    opened.submit("a", 0, [*first, _set(3, (9, 10, 2))])
    assert opened.revision == 3
    with pytest.raises(Conflict):
        opened.submit("b", 2, [_set(1, (0, 1, 0))])
    opened.submit("b", 3, [_set(1, (0, 1, 0))])
    with pytest.raises(Conflict):
        opened.submit("a", 3, [_set(4, (0, 1, 1))])
    state = opened.state("a")
    assert (state["revision"], state["seen"], opened.state("c")["seen"]) == (4, 3, 0)
    assert state["done"][-1] == [[0, 1, 0]]
    before = path.read_bytes()
    for client, base, edits in (
        ("a", 4, [_set(4, (0, 99, 1))]),
        ("a", 4, [_set(4, (0, 1, 1)), {"sequence": 5, "kind": "redo"}]),  # all or none
        ("a", 4, [{"sequence": 4, "kind": "drop"}]),
        ("a", 4, [_set(5, (0, 1, 1)), _set(5, (0, 1, 1))]),
        ("a", "4", [_set(4, (0, 1, 1))]),
        ("../a", 4, [_set(4, (0, 1, 1))]),
        ("a", 4, []),
        ("a", 4, [None]),
    ):
        with pytest.raises(InputError):
            opened.submit(client, base, edits)
    assert (opened.revision, path.read_bytes()) == (4, before)
    with pytest.raises(InputError, match="is open in another program"):
        _annotation(path)
    np.testing.assert_array_equal(annotation.read_labels(path), opened.labels)
    opened.close()
    with pytest.raises(InputError, match="labels 30 frames of a video that has 31 now"):
        Annotation(path, "clip.mp4", "Ann", 31, DIGEST)


def test_labels_are_of_one_content(tmp_path: pathlib.Path):
    """A journal of before there were digests goes by the number of frames, and is not changed."""
    path = tmp_path / "Ann.jsonl"
    opened = _annotation(path)
    opened.submit("a", 0, [_set(1, (0, 5, 1))])
    opened.close()
    written = path.read_bytes()
    other = DIGEST[::-1]
    with pytest.raises(InputError, match="30 frames of a video that has as many, but other content, now: it is anoth"):
        Annotation(path, "clip.mp4", "Ann", FRAMES, other)
    assert path.read_bytes() == written
    old = written.replace(f',"sha256":"{DIGEST}"'.encode(), b"")
    assert old != written
    path.write_bytes(old)
    for digest in (DIGEST, other):
        opened = Annotation(path, "clip.mp4", "Ann", FRAMES, digest)
        assert opened.revision == 1
        opened.close()
    assert path.read_bytes() == old
    with pytest.raises(InputError, match="labels 30 frames of a video that has 31 now"):
        Annotation(path, "clip.mp4", "Ann", 31, DIGEST)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "Ann.jsonl"
    opened = _annotation(path)
    opened.submit("a", 0, [_set(1, (0, 5, 1))])
    before, write = path.read_bytes(), os.write

    def full(file: int, data: bytes) -> int:
        write(file, data[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(journal.os, "write", full)
        with pytest.raises(StorageError):
            opened.submit("a", 1, [_set(2, (5, 6, 1))])
    assert path.read_bytes() == before
    opened.submit("a", 1, [_set(2, (5, 6, 1))])
    assert opened.revision == 2
    opened.close()
    damaged = path.read_bytes().replace(b'"kind":"set"', b'"kind":"bad"', 1)
    path.write_bytes(damaged)
    with pytest.raises(InputError, match="line 2, is damaged"):
        _annotation(path)
    path.write_bytes(b"{}\nnot json\n{}\n")
    with pytest.raises(InputError, match="line 2, is damaged"):
        journal.read(path)


def test_names_of_annotators_are_names_of_files(tmp_path: pathlib.Path):
    for name in ("Ann", "Zoë B.", "张伟", "a-b_c 2", "x" * 40, "हिन्दी", "Jose\u0301"):
        assert annotation.journal_of(tmp_path, name) == tmp_path / f"{name}.jsonl"
    for name in ("", ".", "..", "a/b", "a\\b", " a", "a ", "-a", "a\n", "x" * 41, "a:b", "\0", "\u0301", "😀"):
        with pytest.raises(InputError, match="no annotator's name"):
            annotation.journal_of(tmp_path, name)
    (tmp_path / "Ann.jsonl").touch()
    assert annotation.journal_of(tmp_path, "ANN") == tmp_path / "Ann.jsonl"


# ---------------------------------------------------------------------------------------------------------------------
# Agreement and export
# ---------------------------------------------------------------------------------------------------------------------


def test_kappa_of_a_worked_example():
    """Cohen's table of 50 proposals: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no; p_o = 0.7, p_e = 0.5, kappa = 0.4."""
    first = np.repeat(np.array([1, 1, 0, 0], np.int8), [20, 5, 10, 15])
    second = np.repeat(np.array([1, 0, 1, 0], np.int8), [20, 5, 10, 15])
    found = agreement.kappa(first, second)
    assert (found.units, found.observed, found.undefined) == (50, 0.7, None)
    assert found.kappa == pytest.approx(0.4, abs=1e-15)
    assert agreement.kappa(first, first).kappa == 1
    assert agreement.kappa(first, (1 - first).astype(np.int8)).kappa == pytest.approx(-1, abs=0.05)
    ones, none = np.ones(7, np.int8), np.full(7, -1, np.int8)
    assert agreement.kappa(ones, ones) == (7, 1.0, None, agreement.ONE_LABEL)
    assert agreement.kappa(ones, np.zeros(7, np.int8)) == (7, 0.0, 0.0, None)
    assert agreement.kappa(ones, none) == (0, None, None, agreement.NOTHING_SHARED)


@hypothesis.given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-1, 2)), min_size=1, max_size=40))
def test_kappa_is_symmetric_bounded_and_as_the_formula_says(pairs: list[tuple[int, int]]):
    first, second = np.array(pairs, np.int8).T
    for labels in ((0, 1), (0, 1, 2)):
        found, turned = agreement.kappa(first, second, labels), agreement.kappa(second, first, labels)
        assert found == turned
        kept = [pair for pair in pairs if set(pair) <= set(labels)]
        assert found.units == len(kept)
        assert (found.kappa is None) == (found.undefined is not None)
        if found.kappa is not None:
            assert -1 <= found.kappa <= 1
            a, b = np.array(kept).T
            chance = sum(np.mean(a == label) * np.mean(b == label) for label in labels)
            assert found.kappa == pytest.approx((np.mean(a == b) - chance) / (1 - chance))


def test_segments_have_the_label_of_most_of_their_frames():
    labels = np.array([1, 1, 0, -1, -1, 1, 0, -1, 2, 2, 1, -1, -1], np.int8)
    segments = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 5, 5])
    np.testing.assert_array_equal(agreement.by_segment(labels, segments), [1, -1, 2, 2, -1, -1])
    found = agreement.compare(labels, np.where(labels == 2, 1, labels).astype(np.int8), segments)
    assert (found.frames.units, found.frames.kappa) == (6, 1.0)
    assert (found.unsure, found.unlabelled) == ((2, 0), (5, 5))
    assert found.frames_unsure.units == 8
    assert found.segments_unsure.kappa is not None


def test_a_majority_wins_and_a_tie_is_unsure():
    votes = [[1, 1, 1, 1, 1, 0, 2, -1, -1], [1, 1, 0, 0, -1, -1, 2, 1, -1], [1, 0, 0, 2, -1, 2, 2, 0, -1]]
    merged = exporting.majority([np.array(each, np.int8) for each in votes])
    np.testing.assert_array_equal(merged, [1, 1, 0, 2, 1, 2, 2, 2, -1])
    with pytest.raises(InputError):
        exporting.majority([np.zeros(2, np.int8), np.zeros(3, np.int8)])


def test_the_export_is_what_datasets_read(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    made = np.array([1, 1, 0, 2, -1, 1], np.int8)
    path = tmp_path / "av_gt_label/AVAD/V1_Speech1.csv"
    path.parent.mkdir(parents=True)
    path.write_text(exporting.table(made))
    assert path.read_text() == "frame,label\n1,1\n2,1\n3,0\n4,\n5,\n6,1\n"
    np.testing.assert_array_equal(label_files.load(tmp_path, "avad", "V1_Speech1", 6), [1, 1, 0, -1, -1, 1])
    assert avc_labels.main(["summary", f"--manual_dir={tmp_path}"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:5] == ["avad", "1", "4", "75.0%", "2"]
    with pytest.raises(InputError, match="would hold no label"):
        exporting.table(np.full(3, 2, np.int8))
    path.write_text("frame,label\n1,\n2,\n")
    with pytest.raises(InputError, match="has no labels"):
        label_files.read(path)


def test_agreement_on_the_command_line(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture):
    first, second = np.repeat(np.array([1, 0], np.int8), 30), np.repeat(np.array([1, 0], np.int8), [36, 24])
    opened = Annotation(tmp_path / "c.jsonl", "clip.mp4", "c", 60, DIGEST)
    opened.submit("a", 0, [_set(1, (0, 30, 1), (30, 50, 0), (50, 55, 2))])
    opened.close()
    for name, labels in (("a", first), ("b", second)):
        label_files.write(tmp_path / f"{name}.csv", labels)
    names = [str(tmp_path / name) for name in ("a.csv", "b.csv", "c.jsonl")]
    assert avc_labels.main(["agreement", *names, "--segment=10"]) == 0
    out = capsys.readouterr().out
    assert f"{names[0]} and {names[1]}: 60 frames\n" in out
    assert "60 compared, 90.0% the same, kappa 0.800" in out  # p_e = 0.5 * 0.6 + 0.5 * 0.4
    assert "segments of 10" in out
    assert "6 compared, 83.3% the same, kappa 0.667" in out
    assert "unsure: 0 frames of the first, 5 of the second" in out
    assert "without a label: 0 frames of the first, 5 of the second" in out
    label_files.write(tmp_path / "b.csv", np.ones(60, np.int8))
    label_files.write(tmp_path / "a.csv", np.ones(60, np.int8))
    assert avc_labels.main(["agreement", *names[:2]]) == 0
    assert "100.0% the same, kappa undefined: both gave one and the same label throughout" in capsys.readouterr().out
    label_files.write(tmp_path / "b.csv", np.ones(61, np.int8))
    assert avc_labels.main(["agreement", *names[:2]]) == 2
    assert avc_labels.main(["agreement", names[0]]) == 2
    assert "give two files or more" in capsys.readouterr().err


# ---------------------------------------------------------------------------------------------------------------------
# What a labeller sees and hears
# ---------------------------------------------------------------------------------------------------------------------


def test_the_strip_shows_clicks_where_they_are_at_every_zoom(tmp_path: pathlib.Path):
    path = write_video(tmp_path / "a.mp4", regular(90), size=(32, 40))  # clicks of 2 kHz at 0, 1 and 2 s
    told: list[tuple[int, bool]] = []
    folder = tmp_path / "prepared/a"
    made = preparation.prepare(folder, probe(path), lambda done, audio: told.append((done, audio)))
    assert [done for done, audio in told if not audio] == list(range(1, 91))
    found = preparation.load(folder)
    np.testing.assert_array_equal(found.index.times, frame_times(path))
    assert (found.audio, found.index.exact, len(found.index.stamps)) == (True, made.index.exact, 90)
    assert found.digest == made.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    fine = strip.read(folder, 0.0, 3.0, 300)
    assert np.flatnonzero(fine[:, 1] > 200).tolist() == [0, 100, 200]
    loud = int(fine[100, 2:].argmax())
    hertz = strip._EDGES[loud : loud + 2] * strip.RATE / 512
    assert hertz[0] - 100 <= 2000 <= hertz[1] + 100
    for count in (1, 3, 30, 250):
        coarse = strip.read(folder, 0.0, 3.0, count)
        hit = np.unique(np.array([0.005, 1.005, 2.005]) * count / 3 // 1).astype(int)
        assert set(hit) <= set(np.flatnonzero(coarse[:, 1] > 200))
    around = strip.read(folder, -5.0, 10.0, 150)
    assert (around[:40, :2] == strip.MIDDLE).all()
    assert (around[90:, 2:] == 0).all()
    inside = strip.read(folder, 1.0, 1.01, 50)
    assert (inside == inside[0]).all()
    silent = write_video(tmp_path / "b.mp4", regular(9), size=(32, 40), sound=None)
    assert not preparation.prepare(tmp_path / "prepared/b", probe(silent), lambda *_: None).audio
    assert preparation.load(tmp_path / "nowhere") is None
    with np.load(folder / "frames.npz") as whole:
        before_digests = {name: whole[name] for name in whole.files if name != "digest"}
    np.savez(folder / "frames.npz", **before_digests)
    assert preparation.load(folder) is None, "it is prepared again"


def test_the_strip_of_pieces_is_that_of_the_whole(tmp_path: pathlib.Path):
    """Whatever pieces the audio comes in; coarse columns sum up the fine ones."""
    rng = np.random.default_rng(0)
    wave = (rng.uniform(-1, 1, 64_321) * np.linspace(0, 1, 64_321)).astype(np.float32)
    wave[-1] = 1
    whole = np.concatenate(list(strip._columns(iter([wave[None]]))))
    parts = np.split(wave, sorted(rng.integers(0, len(wave), 37)))
    np.testing.assert_array_equal(np.concatenate(list(strip._columns(iter(part[None] for part in parts)))), whole)
    assert len(whole) == -(-len(wave) // strip.HOP)
    assert whole[-1, 1] > 250
    for short in (0, 1, 100):
        assert sum(map(len, strip._columns(iter([wave[None, :short]])))) == -(-short // strip.HOP)


def test_a_proposal_is_what_avc_writes(tmp_path: pathlib.Path):
    path = tmp_path / "consistency.csv"
    path.write_text("frame,time,probability,label\n1,0.0,0.2,0\n2,0.1,0.2,0\n3,0.2,0.75,1\n")
    assert proposals.read(path, 3) == {"runs": [[0, 2, 0], [2, 3, 1]], "probabilities": [[0, 0.2], [2, 0.75]]}
    assert json.dumps(proposals.read(path, 3))
    path.write_text("frame,time,probability,label\n1,0.0,nan,0\n")
    assert proposals.read(path, 1) == {"runs": [[0, 1, 0]], "probabilities": []}
    with pytest.raises(InputError, match="labels 1 frames of a video that has 2"):
        proposals.read(path, 2)
