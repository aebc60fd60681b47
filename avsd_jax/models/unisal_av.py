"""UNISAL with sound, gated by audio-visual consistency: a small audio-visual saliency model. Ours.

    frames ──> UNISAL's encoder and GRU ──┬── skip_4x, skip_2x ──────────────────┐
                                          └── x ──┬────────────────> V  = x      ├──> UNISAL's decoder ──> maps
    audio ───> SoundNet or AVID's encoder ────────┴──> fusion ─────> AV = fused ─┘

Every frame is fused and gated by itself. The state that passes from frame to frame is that of the visual stream, in
front of the fusion: sound that did not belong to the picture leaves no trace in later frames. Parts of the visual
stream have UNISAL's names, so that its weights, converted, initialise `visual_model`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models import unisal
from avsd_jax.models.common.framewise import FramewiseBiStream, for_frames
from avsd_jax.nn.avid_spectrogram import log_power, normalise
from avsd_jax.nn.pool import smooth_max
from avsd_jax.nn.soundnet import SoundNet
from avsd_jax.nn.spectrogram_convnet import SpectrogramConvNet

# What may be fused: the bottleneck, at a 32nd of the frame's size, and the skip connections at a 16th and an 8th.
FUSE_AT = ("x", "skip_2x", "skip_4x")
AUDIO_FLOWS = ("soundnet", "avid")
# AVID's spectrogram: window and distance between windows in samples, and the rate of the waveform.
_WINDOW, _HOP, _RATE = 1024, 240, 24000


class Model(FramewiseBiStream):
    """UNISAL that fuses an audio feature, and is gated frame by frame.

    Reads video [B, T, H, W, 3] and audio, [B, S] of the clip or [B, T, S] around each frame, as
    `avsd_jax.data.preprocessing.unisal_av` makes them, and optionally carry. Beside what every gated model of sequences
    returns: log_density [B, T, h, w]; carry; unless gate="never" audio_features [B, N, C] or [B, T, N, C]; with
    `num_tags` tag_logits [B, K].

    Attributes:
        clip_size, domain, domains, width, skip_dropout, dropout, trunk_statistics: see `avsd_jax.models.unisal.Model`;
            the width also scales the audio encoder.
        fuse_at: the feature that is fused, one of `FUSE_AT`; small frames have too few places at "x" for sounds to
            differ by place.
        audio_flow: the audio encoder, "soundnet" (a waveform times 256) or "avid" (a waveform in [-1, 1], 24 kHz).
        fit_ratio: see `avsd_jax.models.unisal.Model`.
        num_tags: 0, or the number of tags that a head on the fused feature's place classifies.

    The gate's, the fusion's and the classifier's options are those of `BiStream`.
    """

    clip_size: int = 12
    domain: str = "DHF1K"
    domains: tuple[str, ...] = unisal.DOMAINS
    width: float = 1.0
    skip_dropout: float = 0.6
    dropout: float = 0.2
    trunk_statistics: bool = False
    fuse_at: str = "x"
    audio_flow: str = "soundnet"
    num_tags: int = 0
    fusion: str = "spatial_alignment"
    fit_ratio: bool = True
    carries = True
    of_frames = (*FramewiseBiStream.of_frames, "log_density", "fused")
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(dict(unisal.Model.defaults, preprocessing="unisal_av"))

    def fitted_size(self, shown: tuple[int, int], configured: tuple[int, int]) -> tuple[int, int]:
        """Returns the size of a video's frames; see `avsd_jax.models.unisal.input_size`."""
        return unisal.input_size(shown, self.domain) if self.fit_ratio else configured

    def setup(self) -> None:
        """Creates the visual stream, which encodes and decodes."""
        for name, choices in (("fuse_at", FUSE_AT), ("audio_flow", AUDIO_FLOWS)):
            if getattr(self, name) not in choices:
                raise InputError(f"unknown {name} {getattr(self, name)!r}: choose one of {', '.join(choices)}")
        self.visual_model = unisal.Model(
            clip_size=self.clip_size,
            domain=self.domain,
            domains=self.domains,
            static=False,
            width=self.width,
            skip_dropout=self.skip_dropout,
            dropout=self.dropout,
            trunk_statistics=self.trunk_statistics,
            axis_name=self.axis_name,
        )
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)

    def encode_visual(self, batch: Mapping[str, Any], train: bool) -> tuple[dict[str, Any], Float[Array, "n 1 h w c"]]:
        """Returns UNISAL's features [B, T, ...]; the one that is fused is V, every frame an example of its own."""
        taps = self.visual_model.encode(batch, train)
        x, carry = self.visual_model.recur(taps["x"], batch, train)
        taps = taps | {"x": x, "carry": carry}
        v = taps[self.fuse_at]
        tags = {"tag_logits": smooth_max(self.tag_head(v))} if self.num_tags else {}
        return taps | tags, v.reshape(-1, 1, *v.shape[2:])

    def fuse(
        self, v: Float[Array, "n 1 h w c"], features: dict[str, Any], batch: Mapping[str, Any], train: bool
    ) -> dict[str, Array]:
        """Returns the audio feature of the clip or of each frame, and its fusion with each frame's feature."""
        waveform, (clips, frames) = read(batch, "audio"), batch["video"].shape[:2]
        if waveform.shape[:-1] not in ((clips,), (clips, frames)):
            raise InputError(
                f"audio has shape {waveform.shape} for {clips} clips of {frames} frames: give [{clips}, S] or "
                f"[{clips}, {frames}, S]"
            )
        audio = self._hear(waveform.reshape(-1, waveform.shape[-1]), train)
        heard = audio if waveform.ndim == 3 else for_frames(audio, 2, frames)
        features = audio.reshape(*waveform.shape[:-1], *audio.shape[1:])
        return {"audio_features": features, "fused": self.make_fusion()(v, heard, train)}

    def _hear(self, waveform: Float[Array, "b s"], train: bool) -> Float[Array, "b n c"]:
        if self.audio_flow == "soundnet":
            return SoundNet(self.width, axis_name=self.axis_name, name="audionet")(waveform, train)["conv7"]
        decibels = normalise(log_power(waveform, _WINDOW, _HOP, "constant"), _RATE).astype(waveform.dtype)
        encoder = SpectrogramConvNet(self.width, self.axis_name, name="audionet")
        return jnp.mean(encoder(decibels, train)["conv5x"], axis=2)

    def decode(self, feature: Float[Array, "n 1 h w c"], features: dict[str, Any], train: bool) -> dict[str, Array]:
        """Applies UNISAL's decoder, the feature in its place; maps [N, h, w]."""
        taps = features | {self.fuse_at: feature.reshape(features[self.fuse_at].shape)}
        maps = self.visual_model.decode(taps["x"], taps, train)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), maps)
