"""ViNet in plain PyTorch: S3D's blocks, and a decoder that concatenates its taps in time.

Modules have the names of the published checkpoints, so that `avsd_jax.torch_import.to_variables` takes its state.
"""

import torch
from torch import nn
from torch.nn import functional as F

Triple = tuple[int, int, int]


def _norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=1e-3, momentum=1e-3)


class Basic(nn.Module):
    """1x1x1 convolution, norm and ReLU."""

    def __init__(self, i: int, o: int):
        super().__init__()
        self.conv, self.bn = nn.Conv3d(i, o, 1, bias=False), _norm(o)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, i, T, H, W] to [B, o, T, H, W]."""
        return F.relu(self.bn(self.conv(x)))


class Separable(nn.Module):
    """A convolution in space and one in time, each with norm and ReLU."""

    def __init__(self, i: int, o: int, size: int = 3, stride: int = 1):
        super().__init__()
        pad = size // 2
        self.conv_s = nn.Conv3d(i, o, (1, size, size), (1, stride, stride), (0, pad, pad), bias=False)
        self.conv_t = nn.Conv3d(o, o, (size, 1, 1), (stride, 1, 1), (pad, 0, 0), bias=False)
        self.bn_s, self.bn_t = _norm(o), _norm(o)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, i, T, H, W] to [B, o, T', H', W']."""
        return F.relu(self.bn_t(self.conv_t(F.relu(self.bn_s(self.conv_s(x))))))


class Mixed(nn.Module):
    """Inception block of four branches."""

    def __init__(self, i: int, only: int, reduce1: int, out1: int, reduce2: int, out2: int, pooled: int):
        super().__init__()
        self.branch0 = nn.Sequential(Basic(i, only))
        self.branch1 = nn.Sequential(Basic(i, reduce1), Separable(reduce1, out1))
        self.branch2 = nn.Sequential(Basic(i, reduce2), Separable(reduce2, out2))
        self.branch3 = nn.Sequential(nn.MaxPool3d(3, 1, 1), Basic(i, pooled))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Concatenates the branches' channels."""
        return torch.cat([self.branch0(x), self.branch1(x), self.branch2(x), self.branch3(x)], 1)


def _spatial_pool() -> nn.Module:
    return nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))


class Backbone(nn.Module):
    """S3D without its classification layer."""

    def __init__(self) -> None:
        super().__init__()
        self.base1 = nn.Sequential(Separable(3, 64, 7, 2), _spatial_pool(), Basic(64, 64), Separable(64, 192))
        self.maxp2, self.maxp3, self.maxp4 = _spatial_pool(), nn.MaxPool3d(3, 2, 1), nn.MaxPool3d(2, 2)
        self.base2 = nn.Sequential(Mixed(192, 64, 96, 128, 16, 32, 32), Mixed(256, 128, 128, 192, 32, 96, 64))
        self.base3 = nn.Sequential(
            Mixed(480, 192, 96, 208, 16, 48, 64),
            Mixed(512, 160, 112, 224, 24, 64, 64),
            Mixed(512, 128, 128, 256, 24, 64, 64),
            Mixed(512, 112, 144, 288, 32, 64, 64),
            Mixed(528, 256, 160, 320, 32, 128, 128),
        )
        self.base4 = nn.Sequential(
            Mixed(832, 256, 160, 320, 32, 128, 128),
            Mixed(832, 384, 192, 384, 48, 128, 128),
        )

    def forward(self, video: torch.Tensor) -> list[torch.Tensor]:
        """Returns the taps of a clip [B, 3, T, H, W], shallow to deep."""
        y3 = self.base1(video)
        y2 = self.base2(self.maxp2(y3))
        y1 = self.base3(self.maxp3(y2))
        return [y3, y2, y1, self.base4(self.maxp4(y1))]


def _step(i: int, o: int, time: int) -> list[nn.Module]:
    """Builds one step of the decoder; its kernel and stride in time are equal."""
    conv = nn.Conv3d(i, o, (time, 3, 3), (time, 1, 1), (0, 1, 1), bias=False)
    return [conv, nn.ReLU(), nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear")]


class Decoder(nn.Module):
    """From the deepest feature and the taps to the map; clips of 16 or 32 frames, three skips."""

    def __init__(self, clip_size: int):
        super().__init__()
        self.convtsp1 = nn.Sequential(*_step(1024, 832, 1))
        self.convtsp2 = nn.Sequential(*_step(832, 480, 3))
        self.convtsp3 = nn.Sequential(*_step(480, 192, 5))
        last = [nn.Conv3d(32, 32, (2, 1, 1), (2, 1, 1), bias=False), nn.ReLU()] if clip_size == 32 else []
        self.convtsp4 = nn.Sequential(*_step(192, 64, 5), *_step(64, 32, 2), *last, nn.Conv3d(32, 1, 1), nn.Sigmoid())

    def forward(self, deepest: torch.Tensor, taps: list[torch.Tensor]) -> torch.Tensor:
        """Returns the map [B, H, W]; `taps` are y3, y2 and y1."""
        y3, y2, y1 = taps
        x = torch.cat([self.convtsp1(deepest), y1], 2)
        x = torch.cat([self.convtsp2(x), y2], 2)
        x = torch.cat([self.convtsp3(x), y3], 2)
        return self.convtsp4(x)[:, 0, 0]


class Network(nn.Module):
    """ViNet, clips of 16 or 32 frames."""

    def __init__(self, clip_size: int = 32):
        super().__init__()
        self.backbone, self.decoder = Backbone(), Decoder(clip_size)

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Maps a clip [B, 3, T, H, W] to the map of its last frame [B, H, W]."""
        *taps, deepest = self.backbone(video)
        return self.decoder(deepest, taps)
