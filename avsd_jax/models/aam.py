"""AAM (Zhao et al., "Attend to Anything", ICML 2026): DINOv3 in every frame, blocks over time, sound, a sentence.

    frames ─> DINOv3 ─> levels 1, 2 ───────────────────────────────┐
                 └────> levels 3, 4 ─> over time ─> level 3 ───────┤
                                          └─> V = level 4 ─┐       │
    2 s of audio around each frame ─> Wav2CLIP ─> fusion ─ AV ─────┴─> decoder, Gaussians ─> maps
                                     a sentence's embedding ───────────┘

Every frame of a clip has a map and a gate of its own; see docs/aam.md for what is known of the published network.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.bistream import Features
from avsd_jax.models.common.framewise import FramewiseBiStream
from avsd_jax.nn.density_flow import DensityFlow
from avsd_jax.nn.dinov3 import PATCH, DinoV3
from avsd_jax.nn.hyperbolic_decoder import Decoder
from avsd_jax.nn.resize import resize_aligned
from avsd_jax.nn.wav2clip import Wav2CLIP, log_power

# The published loader scales what it takes for 32-bit integers; today's reader of files gives numbers in [-1, 1].
SCALES = MappingProxyType({"official": 2.0**-23, "intended": 1.0})


class Sentences(nn.Module):
    """Embeddings of sentences, which are kept and not trained; zero until they are converted from a file.

    Attributes:
        names: of the sentences.
        size: of an embedding.
    """

    names: Sequence[str]
    size: int

    @nn.compact
    def __call__(self, name: str) -> Float[Array, " s"]:
        """Returns the embedding of a name."""
        kept = {n: self.variable("batch_stats", n, jnp.zeros, (self.size,)) for n in self.names}
        return kept[name].value


class Model(FramewiseBiStream):
    """AAM; with the default options the network as it is released, at 448 x 448, always fused.

    Reads video [B, T, H, W, 3], ImageNet-normalised, height and width in multiples of 16, and audio [B, T, S],
    waveforms in [-1, 1] at 16 kHz, S samples around each frame one after the other.

    Attributes:
        clip_size: frames of a clip, all of which are mapped; published: 32.
        features, depth, heads: of DINOv3; levels are taken after each quarter of the depth.
        lora_rank, lora_alpha, lora_dropout: of the learned change of DINOv3's attention, see `avsd_jax.nn.lora`.
        rope_rescale: see `avsd_jax.nn.dinov3.DinoV3`.
        frozen_backbone: whether DINOv3 stays as it is but for that change, as published.
        level_channels: of the four levels; multiples of 8.
        channels: of the decoder's input, a multiple of 64 (half, a quarter and an eighth after its stages).
        temporal: whether levels 3 and 4 pass through the blocks over time; published without for single images.
        point_size: of points in hyperbolic space.
        text_size: of a sentence's embedding.
        prompts: names of the sentences whose embeddings are kept; () if each batch has its own, `text`.
        prompt: name of the one that is used.
        audio_width: multiplies the channels of Wav2CLIP.
        audio_scale: factor on the waveform: "official", 2^-23, which the released code applies and which makes almost
            everything silent, or "intended", 1.
        clamped_column, width_norms: as released; see `avsd_jax.nn.hyperbolic_decoder.SpatialOperator`.

    The gate's, the fusion's and the classifier's options are those of `BiStream`. In training the classifier judges
    the first frame of a clip, and its decision holds for all of them; otherwise every frame has a decision of its own.
    """

    clip_size: int = 32
    features: int = 1024
    depth: int = 24
    heads: int = 16
    lora_rank: int = 32
    lora_alpha: float = 64.0
    lora_dropout: float = 0.05
    rope_rescale: float = 2.0
    frozen_backbone: bool = True
    level_channels: Sequence[int] = (96, 192, 384, 768)
    channels: int = 256
    temporal: bool = True
    point_size: int = 128
    text_size: int = 768
    prompts: Sequence[str] = ("None",)
    prompt: str = "None"
    audio_width: float = 1.0
    audio_scale: str = "intended"
    clamped_column: bool = True
    width_norms: bool = True
    fusion: str = "sound_token"
    of_frames = (*FramewiseBiStream.of_frames, "text_distance", "text_entailment")
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "sampler": "sequence",
            "preprocessing": "aam",
            "frame_size": (448, 448),
            # What is frozen gets no weight decay either.
            "rates": ((r"^backbone/(?!.*/lora_[ab]$)", 0.0), ("^audionet/", 0.0), ("", 1.0)),
        }
    )

    def setup(self) -> None:
        """Creates the decoder, which decodes both streams."""
        self.decoder = Decoder(self.channels, self.point_size, self.clamped_column, self.width_norms)

    @property
    def frozen(self) -> bool:
        """Returns whether DINOv3 has to come from elsewhere."""
        return self.frozen_backbone

    def __call__(self, batch: Mapping[str, Array], train: bool = False) -> dict[str, Array]:
        """Predicts a map for each frame.

        Args:
            batch: video and audio, see above; the gate's inputs as in `BiStream`, where frame_labels [B, T] and
                avc_logits [B, T, 2] decide for single frames; text [B, text_size], a sentence's embedding, instead of
                that of `prompt`.
            train: use and update the classifier's batch statistics, apply dropout.

        Returns:
            saliency [B, T, H, W] in [0, 1], its logits, gate [B, T] bool, as `BiStream`; avc_logits [B, 2], or
            [B, T, 2] if they were given so; and for the losses text_distance [B, T], in hyperbolic space, and
            text_entailment [B, T], radians: the mean of the angles by which a frame lies off its sentence's cone, and
            the sentence off the anchor's.

        Raises:
            InputError: as `BiStream`; unknown prompt or audio scale; audio that is not of all frames.
        """
        output = super().__call__(batch, train)
        return {name: output[name] for name in (*self.of_frames, "avc_logits") if name in output}

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "bt h w c"]]:
        """Returns the first three levels and the sentence's embedding of each frame, and the last level, V."""
        video = read(batch, "video")
        clips, frames = video.shape[:2]
        levels = self._backbone()(video.reshape(clips * frames, *video.shape[2:]), train)
        maps = []
        for number, (level, size) in enumerate(zip(levels, self.level_channels, strict=True)):
            x = nn.Conv(size, (1, 1), name=f"projects_{number}")(level)
            if self.temporal and number > 1:
                block = DensityFlow(name=f"motion_modules_{number}")
                x = block(x.reshape(clips, frames, *x.shape[1:])).reshape(x.shape)
            maps.append(x)
        named = {f"level{number}": level for number, level in enumerate(maps[:-1], 1)}
        sentence = jnp.repeat(self._sentence(batch, clips), frames, axis=0)
        return named | {"sentence": sentence.astype(maps[-1].dtype)}, maps[-1]

    def fuse(
        self, v: Float[Array, "bt h w c"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "bt ..."]]:
        """Returns the embedding of the audio around each frame, and its fusion with V; no gradient reaches it."""
        if self.audio_scale not in SCALES:
            raise InputError(f"unknown audio_scale {self.audio_scale!r} of aam: choose one of {', '.join(SCALES)}")
        audio = read(batch, "audio")
        clips, frames = read(batch, "video").shape[:2]
        if audio.ndim != 3 or audio.shape[:2] != (clips, frames):
            given = "x".join(map(str, audio.shape))
            raise InputError(
                f"audio of shape {given} for {clips} clips of {frames} frames: give it [{clips}, {frames}, S]"
            )
        spectrograms = log_power(SCALES[self.audio_scale] * audio.astype(jnp.float32))
        spectrograms = spectrograms.reshape(clips * frames, *spectrograms.shape[2:]).astype(v.dtype)
        heard = lax.stop_gradient(Wav2CLIP(self.audio_width, name="audionet")(spectrograms))
        return {"audio_features": heard, "fused": self.make_fusion()(v[:, None], heard[:, None], train)[:, 0]}

    def decode(self, feature: Float[Array, "bt h w c"], features: Features, train: bool) -> Features:
        """Returns maps and logits of the size of the frames, and what the losses of hyperbolic space train."""
        levels = [features[f"level{number}"] for number in (3, 2, 1)]
        logits, trained = self.decoder(feature, levels, features["sentence"])
        size = tuple(PATCH * side for side in feature.shape[1:3])
        logits = resize_aligned(logits.astype(jnp.float32), size)[..., 0]
        return {"saliency": nn.sigmoid(logits), "logits": logits} | trained

    def _backbone(self) -> nn.Module:
        """Creates DINOv3; frozen, no gradient reaches its own weights."""
        levels = tuple(self.depth * quarter // 4 - 1 for quarter in (1, 2, 3, 4))
        options = {"levels": levels, "rescale": self.rope_rescale, "rank": self.lora_rank, "alpha": self.lora_alpha}
        kind = DinoV3
        if self.frozen_backbone and not self.is_initializing():
            kind = nn.map_variables(DinoV3, "params", trans_in_fn=_frozen)
        return kind(self.features, self.depth, self.heads, dropout=self.lora_dropout, name="backbone", **options)

    def _sentence(self, batch: Mapping[str, Array], clips: int) -> Float[Array, "b s"]:
        """Returns the embedding of each clip's sentence.

        Raises:
            InputError: the batch has none where the model keeps none, or there is none of that name.
        """
        if "text" in batch:
            return read(batch, "text")
        if not self.prompts:
            return read(batch, "text")
        if self.prompt not in self.prompts:
            raise InputError(
                f"unknown prompt {self.prompt!r} of aam: choose one of {', '.join(self.prompts)}, or convert a "
                "checkpoint together with the embedding of a sentence of this name"
            )
        kept = Sentences(tuple(self.prompts), self.text_size, name="text")(self.prompt)
        return jnp.broadcast_to(kept, (clips, self.text_size))


def _frozen(variables: Any) -> Any:
    """Stops gradients to all parameters but LoRA's."""

    def stopped(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
        return leaf if path[-1].key in ("lora_a", "lora_b") else lax.stop_gradient(leaf)

    return jax.tree_util.tree_map_with_path(stopped, variables)
