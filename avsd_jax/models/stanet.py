"""STANet (Wang et al., "From semantic categories to fixations", CVPR 2021): a weakly supervised audio-visual model.

Three networks were published under this name; see `avsd_jax.models.common.stanet_heads`. In all of them a map is
decoded from three branches of the middle frame's deepest feature x: one amplified by spatial or temporal
attention, one amplified by a mask computed from the audio, and x itself or a gate of it:

    t-1, t, t+1 ─> ResNeXt-101 ─> x ─┬─> spatial and temporal branches ─────────────────────┐
                                     ├──────────────────────── x          V  ─┐             ├─> join ─> decode ─> map
                                     └─> mask ─> x + mask x              AV  ─┴─ c ? AV : V ┘
    audio of t ─> VGGSound ─> vector ─┘

So V is x, AV is x amplified by the audio, and the gate selects which of the two enters the third branch: with the gate
closed the network is visual-only. STANet's own SoundSwitch acts at the same point, as a factor on the mask.
"""

from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from flax import linen as nn
from jaxtyping import Array, Float

from avsd_jax.batch import read
from avsd_jax.errors import InputError
from avsd_jax.models.common.bistream import BiStream, Features
from avsd_jax.models.common.stanet_heads import HEADS, TARGET
from avsd_jax.nn.pool import smooth_max
from avsd_jax.nn.resnet import ResNeXt
from avsd_jax.nn.spectrogram import normalised_log_power
from avsd_jax.nn.vggsound import VGGSound

REPORTS = {"target": TARGET, "previous": TARGET - 1}


class Model(BiStream):
    """STANet; with the default options exactly the CVPR network, always fused.

    Reads video [B, 3, H, W, 3], ImageNet-normalised, the frames t-1, t and t+1 of any size (the published one is 356 x
    356); audio [B, S], the waveform in [-1, 1] at 16 kHz around frame t (published: half a second), or its
    `spectrogram` [B, F, N] instead; either with an axis of 3 after B gives each frame its own audio. switch
    [B] or [B, 3] in [0, 1], optional, scales the effect of the audio as the published SoundSwitch does. Predicts frame
    t.

    Beside what every gated model returns: scale_logits [B, K, scales, H, W], coarse to fine, of the K predicted frames;
    the backbone's layer1 ... layer4 [B, 3, h, w, C], the last three also as low, middle and deep; frames [B, 3, h, w,
    C], x of all frames; with `num_tags` tag_logits [B, num_tags]; unless gate="never" audio_features [B, K, 8192],
    fused [B, K, h, w, C] and, with the published fusion, mask [B, K, h, w, 1].

    Attributes:
        release: "cvpr" (2021-03, soft mask), "2021" (2021-12) or "2022" (2022-08).
        clip_size: 3.
        width: multiplies the channel counts.
        depths: blocks of ResNeXt's stages, at least three; the heads read the last three.
        norm_momentum: of the backbones' running statistics, see `avsd_jax.nn.resnet.ResNeXt`.
        num_tags: 0, or the number of tags that a head on the deepest feature classifies in the middle frame.
        temporal_relu: see `HeadCVPR`; read by release="cvpr".
        all_frames: predict all three frames, as the later releases do in training; the map is still that of frame t.
        reports: the frame whose map `saliency` is: "target", or "previous", frame t-1, which the released test script
            of the later releases saves under the name of frame t.
        fusion: "published" is the release's own mask; a module of `avsd_jax.models.fusions` gets x and the audio
            vector, projected to the channels of x, as one step.

    The gate's, the fusion's and the classifier's options are those of `BiStream`.
    """

    release: str = "cvpr"
    clip_size: int = 3
    width: float = 1.0
    depths: Sequence[int] = (3, 4, 23, 3)
    norm_momentum: float = 0.9
    num_tags: int = 0
    temporal_relu: bool = True
    all_frames: bool = False
    reports: str = "target"
    fusion: str = "published"

    def setup(self) -> None:
        """Creates the two backbones and the head of the release."""
        if self.release not in HEADS:
            raise InputError(f"unknown release {self.release!r} of stanet: choose one of {', '.join(HEADS)}")
        if self.reports not in REPORTS:
            raise InputError(f"unknown reports {self.reports!r}: choose one of {', '.join(REPORTS)}")
        if self.clip_size != 3:
            raise InputError(f"stanet takes 3 frames and clip_size is {self.clip_size}: leave it at 3")
        self.visual = ResNeXt(self.width, self.depths, self.axis_name, self.norm_momentum)
        self.audio_model = VGGSound("vlad", self.width, self.axis_name, self.norm_momentum)
        if len(self.depths) < 3:
            raise InputError(f"stanet reads ResNeXt's last three stages and depths has {len(self.depths)}: give three")
        if self.num_tags:
            self.tag_head = nn.Dense(self.num_tags)
        own = {"temporal_relu": self.temporal_relu} if self.release == "cvpr" else {}
        self.head = HEADS[self.release](self.width, self._predicted, **own)

    @property
    def _predicted(self) -> tuple[int, ...]:
        return (0, 1, 2) if self.all_frames else (REPORTS[self.reports],)

    def encode_visual(self, batch: Mapping[str, Array], train: bool) -> tuple[Features, Float[Array, "b k h w c"]]:
        """Returns the taps of all frames and the visual branches; V is x of the predicted frames."""
        video = read(batch, "video")
        if video.shape[1] != self.clip_size:
            raise InputError(f"video has {video.shape[1]} frames: stanet takes 3, before, at and after the target")
        taps = self.visual(video.reshape(-1, *video.shape[2:]), train)
        taps = {name: x.reshape(*video.shape[:2], *x.shape[1:]) for name, x in taps.items()}
        taps |= dict(zip(("low", "middle", "deep"), list(taps.values())[-3:], strict=True))
        features, v = self.head.encode_visual(taps)
        if self.num_tags:
            features["tag_logits"] = smooth_max(self.tag_head(taps["deep"][:, TARGET]))
        return taps | features | {"target_frame": video[:, TARGET]}, v

    def fuse(
        self, v: Float[Array, "b k h w c"], features: Features, batch: Mapping[str, Array], train: bool
    ) -> dict[str, Float[Array, "b ..."]]:
        """Returns the audio vector and its fusion with V."""
        audio, switch = self._hear(batch, train), self._switch(batch)
        if self.fusion == "published":
            return {"audio_features": audio} | self.head.fuse(v, features, audio, switch)
        # Each predicted frame is a clip by itself: they are separate images, not steps of one sequence.
        steps = nn.Dense(v.shape[-1], name="audio_project")(audio.reshape(-1, 1, audio.shape[-1]))
        seen = v.reshape(-1, 1, *v.shape[2:])
        fused = self.make_fusion()(seen, steps, train)
        self._check_shape(fused, seen)
        fused = fused.reshape(v.shape)
        if switch is not None:
            fused = v + (fused - v) * switch[:, :, None, None, None]
        return {"audio_features": audio, "fused": fused}

    def decode(self, feature: Float[Array, "b k h w c"], features: Features, train: bool) -> Features:
        """Applies the decoder of the release to V or AV."""
        out = self.head.decode(feature, features)
        logits = out["scale_logits"][:, self._predicted.index(REPORTS[self.reports]), -1]
        return out | {"dec_in": feature, "logits": logits, "saliency": nn.sigmoid(logits)}

    def _hear(self, batch: Mapping[str, Array], train: bool) -> Float[Array, "b k d"]:
        """Returns VGGSound's vector for each predicted frame."""
        ready = "spectrogram" in batch
        sound, shared_ndim = (batch["spectrogram"], 3) if ready else (read(batch, "audio"), 2)
        each = jnp.ndim(sound) > shared_ndim
        if each:
            sound = sound[:, list(self._predicted)]
            sound = sound.reshape(-1, *sound.shape[2:])
        spectrogram = sound if ready else normalised_log_power(sound)
        vectors = self.audio_model(spectrogram, train)["pool"]
        if each:
            return vectors.reshape(-1, len(self._predicted), vectors.shape[-1])
        return jnp.repeat(vectors[:, None], len(self._predicted), axis=1)

    def _switch(self, batch: Mapping[str, Array]) -> Float[Array, "b k"] | None:
        """Returns the switch of each predicted frame; None if the batch has none."""
        if "switch" not in batch:
            return None
        switch = batch["switch"]
        each = switch[:, list(self._predicted)] if switch.ndim == 2 else switch[:, None]
        return jnp.broadcast_to(each, (switch.shape[0], len(self._predicted)))
