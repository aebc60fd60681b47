"""UNISAL in plain PyTorch, with the parts of one domain: a MobileNetV2, a GRU, a decoder.

Modules have the names of the published checkpoint, so that `avsd_jax.torch_import.to_variables` takes its state.
"""

import torch
from torch import nn
from torch.nn import functional as F

DOMAINS = ("DHF1K", "Hollywood", "UCFSports", "SALICON")
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
TAPS = {7: "4x", 14: "2x"}


class Norms(nn.Module):
    """A batch norm for each domain, of which the first one is used."""

    def __init__(self, channels: int):
        super().__init__()
        for domain in DOMAINS:
            setattr(self, f"bn_{domain}", nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies it."""
        return self.bn_DHF1K(x)


def _pointwise(i: int, o: int) -> nn.Module:
    return nn.Conv2d(i, o, 1, bias=False)


def _depthwise(channels: int, stride: int = 1) -> nn.Module:
    return nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False)


class Block(nn.Module):
    """An inverted residual; the layers are counted as in MobileNetV2's public code."""

    def __init__(self, i: int, o: int, expand: int, stride: int = 1, norm: type[nn.Module] = nn.BatchNorm2d):
        super().__init__()
        wide = i * expand
        first = [_pointwise(i, wide), norm(wide), nn.ReLU6()] if expand > 1 else []
        rest = [_depthwise(wide, stride), norm(wide), nn.ReLU6(), _pointwise(wide, o), norm(o)]
        self.conv = nn.Sequential(*first, *rest)
        self.adds = stride == 1 and i == o

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the block."""
        return x + self.conv(x) if self.adds else self.conv(x)


class Inner(nn.Module):
    """A block below one name more."""

    def __init__(self, *arguments: int, norm: type[nn.Module] = Norms):
        super().__init__()
        self.inv_res = Block(*arguments, norm=norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies the block."""
        return self.inv_res(x)


class Trunk(nn.Module):
    """MobileNetV2, with features at three sizes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [self._norm(nn.Conv2d(3, 32, 3, 2, 1, bias=False), 32)]
        self.strides, channels = {}, 32
        for expand, features, count, stride in STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                index = len(layers)
                # Where a skip connection begins, the block is computed unstrided, and then subsampled.
                self.strides[index] = step if index in TAPS else 1
                layers.append(Block(channels, features, expand, 1 if index in TAPS else step))
                channels = features
        layers.append(self._norm(_pointwise(320, 1280), 1280))
        self.features = nn.Sequential(*layers)

    @staticmethod
    def _norm(conv: nn.Module, channels: int) -> nn.Module:
        return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU6())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        """Maps [N, 3, H, W] to features at an 8th, a 16th and a 32nd of the size."""
        taps = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in TAPS:
                taps[TAPS[index]] = x
                step = self.strides[index]
                x = x[:, :, ::step, ::step]
        return taps | {"1x": x}


class SeparableConv(nn.Module):
    """A depthwise and a pointwise convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv_dw, self.sep_bn = _depthwise(channels), Norms(channels)
        self.conv_sep = _pointwise(channels, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies both."""
        return self.conv_sep(F.relu6(self.sep_bn(self.conv_dw(x))))


class Cell(nn.Module):
    """A GRU of separable convolutions."""

    def __init__(self, channels: int):
        super().__init__()
        for name, gate, norm in (("_r", "r", "r"), ("_z", "z", "z"), ("", "h", "out")):
            setattr(self, f"b_{gate}", nn.Parameter(torch.zeros(channels, 1, 1)))
            for kind, given in (("w", "x"), ("u", "h")):
                setattr(self, kind + name, SeparableConv(channels))
                setattr(self, f"norm_{norm}_{given}", Norms(channels))
                setattr(self, f"a_{gate}_{given}", nn.Parameter(torch.ones(channels, 1, 1)))

    def forward(self, x: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
        """Returns the next state."""
        r = torch.sigmoid(self.a_r_x * self.norm_r_x(self.w_r(x)) + self.a_r_h * self.norm_r_h(self.u_r(h)) + self.b_r)
        z = torch.sigmoid(self.a_z_x * self.norm_z_x(self.w_z(x)) + self.a_z_h * self.norm_z_h(self.u_z(h)) + self.b_z)
        kept = self.a_h_h * self.norm_out_h(self.u(h))
        n = torch.tanh(self.a_h_x * self.norm_out_x(self.w(x)) + r * kept + self.b_h)
        return (1 - z) * h + z * n


class Skip(nn.Module):
    """A skip connection."""

    def __init__(self, i: int, wide: int, o: int):
        super().__init__()
        self.expansion = nn.Sequential(_pointwise(i, wide), Norms(wide), nn.ReLU6(), nn.Dropout2d(0.6))
        self.reduction = nn.Sequential(nn.Conv2d(wide, o, 1), Norms(o))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Applies it."""
        return self.reduction(self.expansion(x))


class Recurrence(nn.Module):
    """The one cell, below the checkpoint's name."""

    def __init__(self) -> None:
        super().__init__()
        self.cell_list = nn.ModuleList([Cell(256)])


class Network(nn.Module):
    """UNISAL of the domain DHF1K."""

    def __init__(self) -> None:
        super().__init__()
        self.cnn = Trunk()
        self.post_cnn = Inner(1296, 256, 1, norm=nn.BatchNorm2d)
        self.rnn = Recurrence()
        self.post_rnn = nn.Sequential(_pointwise(256, 256), Norms(256), nn.ReLU6())
        self.skip_2x, self.skip_4x = Skip(160, 320, 128), Skip(64, 128, 64)
        self.upsampling_2, self.post_upsampling_2 = Inner(384, 128, 2), Inner(192, 64, 2)
        for name in map(str.lower, DOMAINS):
            setattr(self, f"coarse_gaussians_{name}", nn.Parameter(torch.rand(16, 2, 2)))
            setattr(self, f"adaptation_{name}", nn.Sequential(nn.Conv2d(64, 1, 1)))
            setattr(self, f"smoothing_{name}", nn.Conv2d(1, 1, 41, bias=False))

    def _priors(self, like: torch.Tensor) -> torch.Tensor:
        curves = []
        for axis, side in enumerate(like.shape[-2:]):
            mu, deviation = self.coarse_gaussians_dhf1k[:, axis, 0], self.coarse_gaussians_dhf1k[:, axis, 1].exp()
            at = torch.linspace(0, 1, side, device=like.device, dtype=like.dtype)
            curves.append(torch.exp(-(((at - mu[:, None]) / deviation[:, None]) ** 2) / 2))
        maps = 6 * curves[0][:, :, None] * curves[1][:, None]
        return maps.expand(len(like), -1, -1, -1)

    def step(self, frame: torch.Tensor, state: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Maps a frame [B, 3, H, W] and the state before to its map [B, H, W], of maximum 1, and the next state."""
        taps = self.cnn(frame)
        x = self.post_cnn(torch.cat([taps["1x"], self._priors(taps["1x"])], 1))
        state = self.rnn.cell_list[0](x, torch.zeros_like(x) if state is None else state)
        x = _double(x + self.post_rnn(state))
        x = self.upsampling_2(torch.cat([x, self.skip_2x(taps["2x"])], 1))
        x = self.post_upsampling_2(torch.cat([_double(x), self.skip_4x(taps["4x"])], 1))
        x = F.interpolate(self.adaptation_dhf1k(x), size=frame.shape[-2:], mode="nearest")
        logits = self.smoothing_dhf1k(F.pad(x, (20, 20, 20, 20), mode="replicate"))[:, 0]
        logs = torch.log_softmax(logits.flatten(1), 1).view_as(logits)
        return torch.exp(logs - logs.amax((1, 2), keepdim=True)), state

    def forward(self, video: torch.Tensor) -> torch.Tensor:
        """Maps [B, T, 3, H, W] to maps [B, T, H, W]."""
        state, maps = None, []
        for frame in video.unbind(1):
            saliency, state = self.step(frame, state)
            maps.append(saliency)
        return torch.stack(maps, 1)


def _double(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
