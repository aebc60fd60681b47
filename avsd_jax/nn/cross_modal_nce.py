"""AVID's self-supervised objective: cross-modal noise-contrastive estimation (NCE) against two memory banks, and CMA.

AVID (Morgado et al., "Audio-visual instance discrimination", CVPR 2021) asks of each video which audio of a memory bank
belongs to it, and of each audio which video. CMA (cross-modal agreement) continues from there: videos that are alike in
both modalities become each other's positives, within each modality. All functions are pure; `Memory` is the state of
the model `avid_instance`. An instance, a row of the banks, is a whole video: no negative comes from the same one.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import lax
from jaxtyping import Array, Float, Int

from avsd_jax.errors import InputError
from avsd_jax.nn.vggsound import l2_normalise

TEMPERATURE = 0.07
MOMENTUM = 0.5
NEGATIVES = 1024
WITHIN_NEGATIVES = 64
POSITIVES = 32

# How the similarities of two instances in both modalities are combined to mine positives.
AGREEMENTS = {
    "consensus": jnp.minimum,
    "union": jnp.maximum,
    "video": lambda video, audio: video,
    "audio": lambda video, audio: audio,
}

_EXACT = lax.Precision.HIGHEST


@struct.dataclass
class Memory:
    """The latest embeddings of all instances, and the normalising constant of the estimation.

    Attributes:
        video: [N, D], of unit length.
        audio: [N, D], of unit length.
        z: mean of exp(score) over the first step's negatives (video against audio), frozen from then on; 0 before.
    """

    video: Float[Array, "n d"]
    audio: Float[Array, "n d"]
    z: Float[Array, ""]


def init_memory(key: Array, instances: int, features: int = 128) -> Memory:
    """Draws random directions as the embeddings of all instances."""
    video, audio = (l2_normalise(jax.random.normal(k, (instances, features))) for k in jax.random.split(key))
    return Memory(video, audio, jnp.zeros(()))


def memory_from_checkpoint(train_criterion: Mapping[str, Any]) -> Memory:
    """Converts the banks in a checkpoint of AVID-CMA.

    Args:
        train_criterion: the file's entry of this name. Its constant has shape () or (1,); a negative one was not
            measured yet.

    Raises:
        InputError: an entry is missing.
    """
    names = ("nce_average.view1_mem", "nce_average.view2_mem", "criterion.avg_exp_score")
    missing = [name for name in names if name not in train_criterion]
    if missing:
        raise InputError(f"the checkpoint's train_criterion has no {missing[0]!r}: give one that AVID-CMA saved")
    video, audio, z = (jnp.asarray(np.asarray(train_criterion[name]), jnp.float32) for name in names)
    return Memory(video, audio, jnp.maximum(z.reshape(()), 0))


def draw_negatives(
    key: Array, instances: Int[Array, " b"], num_instances: int, negatives: int = NEGATIVES
) -> Int[Array, "b k"]:
    """Draws rows of the banks uniformly, with repetition, from all but each instance's own."""
    draw = jax.random.randint(key, (len(instances), negatives), 0, num_instances - 1)
    return draw + (draw >= instances[:, None])


def draw_negatives_outside(
    key: Array, positives: Int[Array, "b p"], num_instances: int, negatives: int = NEGATIVES
) -> Int[Array, "b k"]:
    """Draws rows of the banks from all but each instance's positives, as CMA does: its own row may be among them."""
    draw = jax.random.randint(key, (len(positives), negatives), 0, num_instances - positives.shape[1])
    return skip(draw, positives)


def skip(draw: Int[Array, "b k"], left_out: Int[Array, "b p"]) -> Int[Array, "b k"]:
    """Returns the row of each number when rows are counted without `left_out`, which increase along the axis."""
    before = left_out - jnp.arange(left_out.shape[1])
    return draw + jnp.sum(before[:, None] <= draw[..., None], axis=-1)


def avid_loss(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    memory: Memory,
    instances: Int[Array, " b"],
    negatives: Int[Array, "b k"],
    temperature: float = TEMPERATURE,
    axis_name: str | None = None,
) -> tuple[Float[Array, " b"], dict[str, Float[Array, "..."]]]:
    """Computes AVID's loss of each pair; a step minimises the mean.

    Args:
        video, audio: embeddings, as `embed` of the classifier `avid` returns them; normalised here.
        memory: before the step; no gradient flows into it.
        instances: each pair's row of the banks.
        negatives: rows of other instances.
        temperature: cosines are divided by it.
        axis_name: the pmap axis over whose devices the pairs of the first step are spread, which measure z.

    Returns:
        The losses, and v2a (video against the audio bank) and a2v [b], and z [], the constant to keep.
    """
    memory = lax.stop_gradient(memory)
    own = instances[:, None]
    v2a = _scores(video, memory.audio, own, temperature), _scores(video, memory.audio, negatives, temperature)
    a2v = _scores(audio, memory.video, own, temperature), _scores(audio, memory.video, negatives, temperature)
    noise = jnp.mean(jnp.exp(v2a[1]))
    noise = noise if axis_name is None else lax.pmean(noise, axis_name)
    z = lax.stop_gradient(jnp.where(memory.z > 0, memory.z, noise))
    terms = {"v2a": nce(*v2a, z), "a2v": nce(*a2v, z)}
    return (terms["v2a"] + terms["a2v"]) / 2, {**terms, "z": z}


def agreement_loss(
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    memory: Memory,
    positives: Int[Array, "b p"],
    negatives: Int[Array, "b k"],
    temperature: float = TEMPERATURE,
) -> tuple[Float[Array, " b"], dict[str, Float[Array, " b"]]]:
    """Computes the loss that CMA adds to AVID's, each weighing half: that of mined positives within each modality.

    Args:
        video, audio, memory, temperature: as in `avid_loss`; the memory's z is measured.
        positives: the instances' rows of what `mine_positives` found.
        negatives: of `draw_negatives_outside`; officially the first `WITHIN_NEGATIVES` of those of AVID's loss.

    Returns:
        The losses, and v2v and a2a [b].
    """
    memory, terms = lax.stop_gradient(memory), {}
    for name, embedding, bank in (("v2v", video, memory.video), ("a2a", audio, memory.audio)):
        scores = (_scores(embedding, bank, rows, temperature) for rows in (positives, negatives))
        terms[name] = nce(*scores, memory.z)
    return (terms["v2v"] + terms["a2a"]) / 2, terms


def nce(positive: Float[Array, "b p"], negative: Float[Array, "b k"], z: Float[Array, ""]) -> Float[Array, " b"]:
    """Computes binary NCE losses: the mean over positives and the sum over negatives of -log of their probabilities.

    Args:
        positive: scores of rows that belong together.
        negative: scores of K rows that do not.
        z: mean of exp(score) over the noise; a score s is a positive's with probability e^s / (e^s + K z).
    """
    noise = jnp.log(negative.shape[1] * z)
    losses = -jnp.mean(jax.nn.log_sigmoid(positive - noise), axis=1)
    return losses - jnp.sum(jax.nn.log_sigmoid(noise - negative), axis=1)


def update_memory(
    memory: Memory,
    video: Float[Array, "b d"],
    audio: Float[Array, "b d"],
    instances: Int[Array, " b"],
    z: Float[Array, ""],
    momentum: float = MOMENTUM,
) -> Memory:
    """Moves the banks' rows of a step's instances towards their embeddings.

    Args:
        memory: before the step, of which the loss has been computed.
        video, audio: embeddings; normalised here.
        instances: their rows; of several clips of one instance the last one counts.
        z: the constant that the loss returned.
        momentum: share of the old row.
    """
    # Rows that are written twice would depend on the order of a device's threads.
    again = jnp.triu(instances[:, None] == instances[None], 1).any(axis=1)
    rows = jnp.where(again, len(memory.video), instances)

    def moved(bank: Array, embedding: Array) -> Array:
        row = momentum * bank[instances] + (1 - momentum) * l2_normalise(lax.stop_gradient(embedding))
        return bank.at[rows].set(l2_normalise(row), mode="drop")

    return Memory(moved(memory.video, video), moved(memory.audio, audio), z)


def mine_positives(
    memory: Memory, positives: int = POSITIVES, agreement: str = "consensus", block: int = 1024
) -> Int[Array, "n p"]:
    """Finds the instances that are most like each one, without itself; increasing row numbers.

    Args:
        memory: of an AVID training.
        positives: how many, P.
        agreement: "consensus" (alike in both modalities: the smaller cosine counts), "union" (in either), "video" or
            "audio".
        block: instances that are compared with all others at a time; N x block similarities are held.

    Raises:
        InputError: an unknown `agreement`, or more positives than other instances.
    """
    if agreement not in AGREEMENTS:
        raise InputError(f"unknown agreement {agreement!r}: choose one of {', '.join(AGREEMENTS)}")
    count = len(memory.video)
    if positives >= count:
        raise InputError(f"{positives} positives of {count} instances: give at most {count - 1}")

    def of(row: Int[Array, ""]) -> Int[Array, " p"]:
        video, audio = (jnp.dot(bank, bank[row], precision=_EXACT) for bank in (memory.video, memory.audio))
        similarity = AGREEMENTS[agreement](video, audio).at[row].set(-jnp.inf)
        return jnp.sort(lax.top_k(similarity, positives)[1])

    return lax.map(of, jnp.arange(count), batch_size=min(block, count))


def _scores(
    embedding: Float[Array, "b d"], bank: Float[Array, "n d"], rows: Int[Array, "b k"], temperature: float
) -> Float[Array, "b k"]:
    """Returns the cosines of embeddings and rows of a bank, divided by the temperature."""
    return jnp.einsum("bd,bkd->bk", l2_normalise(embedding), bank[rows], precision=_EXACT) / temperature
