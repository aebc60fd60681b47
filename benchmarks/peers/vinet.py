"""A plain PyTorch network with ViNet's convolutions, pools and upsamplings, only for timing.

Needs the `bench` extra. Its layers are those of `avsd_jax.nn.s3d` and `avsd_jax.nn.vinet_decoder`, in the
most straightforward PyTorch, with random weights; it loads no checkpoint.
"""

import torch
from torch import nn

Triple = tuple[int, int, int]


def _unit(i: int, o: int, kernel: Triple = (1, 1, 1), stride: Triple = (1, 1, 1)) -> list[nn.Module]:
    """Builds a bias-free convolution that keeps the size at stride 1, BatchNorm and ReLU."""
    conv = nn.Conv3d(i, o, kernel, stride, tuple(k // 2 for k in kernel), bias=False)
    return [conv, nn.BatchNorm3d(o, eps=1e-3), nn.ReLU()]


def _separable(i: int, o: int, k: int, s: int = 1) -> list[nn.Module]:
    return _unit(i, o, (1, k, k), (1, s, s)) + _unit(o, o, (k, 1, 1), (s, 1, 1))


class _Mixed(nn.Module):
    """Inception block."""

    def __init__(self, i: int, only: int, reduce1: int, out1: int, reduce2: int, out2: int, pooled: int):
        super().__init__()
        self.branches = nn.ModuleList(
            [
                nn.Sequential(*_unit(i, only)),
                nn.Sequential(*_unit(i, reduce1), *_separable(reduce1, out1, 3)),
                nn.Sequential(*_unit(i, reduce2), *_separable(reduce2, out2, 3)),
                nn.Sequential(nn.MaxPool3d(3, 1, 1), *_unit(i, pooled)),
            ]
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], 1)


def _step(i: int, o: int, time: int) -> nn.Module:
    """Builds one decoder step; its kernel and stride in time are equal."""
    conv = nn.Conv3d(i, o, (time, 3, 3), (time, 1, 1), (0, 1, 1), bias=False)
    return nn.Sequential(conv, nn.ReLU(), nn.Upsample(scale_factor=(1, 2, 2), mode="trilinear"))


class ViNet(nn.Module):
    """ViNet, [B, 3, T, H, W] -> [B, H, W]; clips of 16 or 32 frames, three skips."""

    def __init__(self, clip_size: int):
        super().__init__()
        spatial_pool = nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(*_separable(3, 64, 7, 2), spatial_pool, *_unit(64, 64), *_separable(64, 192, 3)),
                nn.Sequential(
                    spatial_pool, _Mixed(192, 64, 96, 128, 16, 32, 32), _Mixed(256, 128, 128, 192, 32, 96, 64)
                ),
                nn.Sequential(
                    nn.MaxPool3d(3, 2, 1),
                    _Mixed(480, 192, 96, 208, 16, 48, 64),
                    _Mixed(512, 160, 112, 224, 24, 64, 64),
                    _Mixed(512, 128, 128, 256, 24, 64, 64),
                    _Mixed(512, 112, 144, 288, 32, 64, 64),
                    _Mixed(528, 256, 160, 320, 32, 128, 128),
                ),
                nn.Sequential(
                    nn.MaxPool3d(2, 2),
                    _Mixed(832, 256, 160, 320, 32, 128, 128),
                    _Mixed(832, 384, 192, 384, 48, 128, 128),
                ),
            ]
        )
        self.steps = nn.ModuleList([_step(1024, 832, 1), _step(832, 480, 3), _step(480, 192, 5)])
        last = [nn.Conv3d(32, 32, (2, 1, 1), (2, 1, 1), bias=False), nn.ReLU()] if clip_size == 32 else []
        self.tail = nn.Sequential(_step(192, 64, 5), _step(64, 32, 2), *last, nn.Conv3d(32, 1, 1), nn.Sigmoid())

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Predicts the map of each clip's last frame."""
        taps = [video]
        for stage in self.stages:
            taps.append(stage(taps[-1]))
        x = taps.pop()
        for step in self.steps:
            x = torch.cat([step(x), taps.pop()], 2)
        return self.tail(x)[:, 0, 0]
