"""Windows computed from what they have in common, against the model called with each of them."""

import jax
import numpy as np
import pytest
from drawn import forward_jit, forward_options, normal, shapes, variables

from avsd_jax import models
from avsd_jax.runs import streaming
from avsd_jax.runs.streaming import make_stream

SIZE = (32, 32)


@pytest.fixture(autouse=True)
def _quick_programs(monkeypatch):
    monkeypatch.setattr(streaming, "compiler_options", forward_options)


def _check(model, advance: int, counts: tuple[int, ...], rest=lambda window: {}, batch_size: int = 2) -> None:
    """Compares a window and those that follow it, `counts` at a time, with the model."""
    clip = model.clip_size
    starts = [i * advance for i in range(1 + sum(counts))]
    video = np.asarray(normal(1, starts[-1] + clip, *SIZE, 3))
    extra = [rest(i) for i in range(len(starts))]
    batch = {"video": np.stack([video[s : s + clip] for s in starts])}
    batch |= {key: np.stack([row[key] for row in extra]) for key in extra[0]}
    first = {key: value[:1] for key, value in batch.items()}
    drawn = variables(shapes(model, first))
    if model.uses_audio and "head" in drawn["params"]:  # without a saturated sigmoid
        drawn["params"]["head"] = jax.tree.map(lambda x: 0.02 * x, drawn["params"]["head"])
    stream = make_stream(model, drawn, advance, batch_size=batch_size)
    outputs = [stream.start(first)]
    done = 1
    for count in counts:
        rows = slice(done, done + count)
        frames = np.stack([video[s + clip - advance : s + clip] for s in starts[rows]])
        outputs.append(stream.step(frames, {key: value[rows] for key, value in batch.items() if key != "video"}))
        done += count
    expected = forward_jit(lambda batch: model.apply(drawn, batch))(batch)
    for key in outputs[0]:
        given = np.concatenate([np.asarray(output[key]) for output in outputs])
        np.testing.assert_allclose(given, expected[key], rtol=0, atol=1e-5, err_msg=key)
    assert np.abs(np.diff(expected["saliency"], axis=0)).max() > 1e-3


# More windows than a ring has room for; batches that are not full, and one of several.
MANY = (2, 2, 1, 3, 1)


@pytest.mark.parametrize(
    ("clip_size", "num_skips", "advance", "counts"),
    [
        (8, 1, 1, (2, 1)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [
                (16, 2, 2, MANY),
                (48, 3, 3, (2, 1, 2)),
                (32, 3, 1, MANY),
                (32, 0, 8, (2, 1)),
                (16, 3, 3, (2, 2)),
            ]
        ),
    ],
)
def test_vinet_streams(clip_size, num_skips, advance, counts):
    _check(models.create("vinet", clip_size=clip_size, num_skips=num_skips, width=0.06), advance, counts)


@pytest.mark.slow
def test_vinet_streams_at_its_published_width():
    _check(models.create("vinet"), 1, (2,))


@pytest.mark.slow
def test_avinet_streams_with_its_gate():
    model = models.create("avinet", clip_size=8, num_skips=1, width=0.06, gate="labels", gate_at="output")
    rest = lambda window: {"audio": np.asarray(normal(window, 4608)), "avc_label": np.int32(window % 2)}  # noqa: E731
    _check(model, 1, (2, 1), rest)


def test_stavis_streams():
    model = models.create("stavis", clip_size=8, width=0.06)
    _check(model, 1, (2, 1), lambda window: {"audio": np.asarray(normal(window, 14000))})


def test_dave_streams():
    model = models.create("dave", clip_size=8, width=0.06, depths=(1, 1, 1, 1), activation="softplus")
    _check(model, 1, (2, 1), lambda window: {"spectrogram": np.asarray(normal(window, 8, 40, 40))})


def test_what_has_nothing_in_common_does_not_stream():
    model = models.create("vinet", clip_size=8, width=0.06)
    drawn = variables(shapes(model, {"video": np.zeros((1, 8, *SIZE, 3), np.float32)}))
    assert make_stream(model, drawn, advance=8) is None
    assert make_stream(models.create("itti"), {}) is None
