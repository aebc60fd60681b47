"""STANet's CVPR network in plain PyTorch: ResNeXt-101 on three frames, VGGSound on a spectrogram, and their head."""

import torch
from torch import nn
from torch.nn import functional as F


def _shortcut(i: int, o: int, stride: int) -> nn.Module:
    if i == o and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))


class Bottleneck(nn.Module):
    """ResNeXt's block: 1x1, 3x3 in 32 groups (with the stride) and 1x1 convolution, and a shortcut."""

    def __init__(self, i: int, o: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, stride, 1, groups=32, bias=False), nn.BatchNorm2d(o)
        self.conv3, self.bn3 = nn.Conv2d(o, o, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = _shortcut(i, o, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, i, H, W] to [B, o, H', W']."""
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, i: int, o: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.downsample = _shortcut(i, o, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, i, H, W] to [B, o, H', W']."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.downsample(x))


def _stem(i: int) -> nn.Module:
    conv = nn.Conv2d(i, 64, 7, 2, 3, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1))


def _stage(block: type, i: int, o: int, depth: int, stride: int) -> nn.Module:
    return nn.Sequential(block(i, o, stride), *(block(o, o, 1) for _ in range(depth - 1)))


class NetVLAD(nn.Module):
    """Residuals from 16 centres, softly assigned, as one vector of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.centroids = nn.Conv2d(512, 16, 1), nn.Parameter(torch.rand(16, 512))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps [B, 512, h, w] to [B, 8192]."""
        x = F.normalize(x, dim=1)
        weights = self.conv(x).flatten(2).softmax(1)
        vlad = weights @ x.flatten(2).transpose(1, 2) - weights.sum(2, keepdim=True) * self.centroids
        return F.normalize(F.normalize(vlad, dim=2).flatten(1), dim=1)


class Network(nn.Module):
    """STANet, one map of the middle of three frames, always fused."""

    def __init__(self) -> None:
        super().__init__()
        self.layerV_0, self.layerA_0, self.layerA_p = _stem(3), _stem(1), NetVLAD()
        i = 64
        for number, (depth, o) in enumerate(((3, 256), (4, 512), (23, 1024), (3, 2048)), start=1):
            setattr(self, f"layerV_{number}", _stage(Bottleneck, i, o, depth, 1 if number == 1 else 2))
            i = o
        i = 64
        for number, o in enumerate((64, 128, 256, 512), start=1):
            setattr(self, f"layerA_{number}", _stage(BasicBlock, i, o, 2, 1 if number == 1 else 2))
            i = o
        self.Aup1, self.Aup2 = nn.ConvTranspose2d(8192, 32, 4, 2), nn.ConvTranspose2d(32, 32, 4, 2)
        self.Aup3 = nn.ConvTranspose2d(32, 32, 3, 1)
        self.atten_conv, self.attention = nn.Conv2d(64, 64, 1), nn.Conv2d(64, 1, 1)
        self.downv2, self.downv3, self.downv4 = (nn.Conv2d(i, 32, 1) for i in (512, 1024, 2048))
        self.refineST, self.AVTFuse = nn.Conv3d(32, 1, (3, 1, 1)), nn.Conv2d(96, 32, 1)
        self.refineV33, self.refineV22 = nn.Conv2d(64, 32, 3, padding=1), nn.Conv2d(64, 32, 3, padding=1)
        self.predictF = nn.Conv2d(32, 1, 1)

    def _hear(self, spectrogram: torch.Tensor) -> torch.Tensor:
        x = self.layerA_0(spectrogram)
        for number in range(1, 5):
            x = getattr(self, f"layerA_{number}")(x)
        return self.layerA_p(x)

    def forward(self, video: torch.Tensor, spectrogram: torch.Tensor) -> torch.Tensor:
        """Maps frames [B, 3, 3, H, W] (the second axis is time) and [B, 1, F, N] to the middle one's map [B, H, W]."""
        clips, frames = video.shape[:2]
        x, taps = self.layerV_0(video.flatten(0, 1)), []
        for number in range(1, 5):
            x = getattr(self, f"layerV_{number}")(x)
            taps.append(x)
        low, middle = (tap.unflatten(0, (clips, frames))[:, 1] for tap in taps[1:3])
        reduced = self.downv4(x).unflatten(0, (clips, frames))
        t = reduced[:, 1]
        gate = self.refineST(reduced.transpose(1, 2))[:, :, 0].sigmoid()
        spread = self.Aup3(self.Aup2(self.Aup1(self._hear(spectrogram)[..., None, None])))
        if spread.shape[2:] != t.shape[2:]:
            spread = F.interpolate(spread, t.shape[2:], mode="bilinear")
        mask = self.attention(self.atten_conv(torch.cat([spread, t], 1))).sigmoid()
        y = self.AVTFuse(torch.cat([F.relu(t * gate + t), F.relu(mask * t + t), t], 1))
        y = F.interpolate(y, middle.shape[2:], mode="bilinear")
        y = self.refineV33(torch.cat([y, self.downv3(middle)], 1))
        y = F.interpolate(y, low.shape[2:], mode="bilinear")
        y = self.refineV22(torch.cat([y, self.downv2(low)], 1))
        return F.interpolate(self.predictF(y), video.shape[3:], mode="bilinear")[:, 0].sigmoid()
