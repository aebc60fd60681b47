"""How PyTorch runs a network: memory formats, number formats and torch.compile, on the CPU or a GPU.

Needs PyTorch; imported only where it is installed.
"""

import contextlib
import dataclasses
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.measure import Run, timed


@dataclasses.dataclass(frozen=True)
class Mode:
    """One way to run a network.

    Attributes:
        channels_last: keep images and videos in the order of ours, channels last.
        compiled: by torch.compile.
        precision: "fp32", "tf32" (products of 10 bits on a GPU) or "bf16" (weights and activations).
    """

    channels_last: bool = False
    compiled: bool = False
    precision: str = "fp32"

    @property
    def name(self) -> str:
        """Returns the name of the mode's row."""
        parts = ["torch.compile" if self.compiled else "PyTorch eager"]
        parts += ["channels last"] if self.channels_last else []
        return ", ".join([*parts, FORMATS[self.precision]] if self.precision != "fp32" else parts)


FORMATS = {"fp32": "float32", "tf32": "TF32", "bf16": "bfloat16"}
# Of a GPU's float32 products; the eager mode of each is what ours of that format is compared with.
PRECISIONS = {"cpu": ("fp32",), "gpu": ("fp32", "tf32", "bf16")}


def modes(device: str, with_compile: bool) -> list[Mode]:
    """Returns the modes to measure on a device: eager in every format, in both orders of memory, and compiled."""
    found = []
    for precision in PRECISIONS[device]:
        found += [Mode(False, False, precision)]
        if precision != "fp32" or device == "cpu":
            found += [Mode(True, False, precision)]
            found += [Mode(True, True, precision)] if with_compile else []
    return found


def device_of(device: str) -> torch.device:
    """Returns PyTorch's device for ours."""
    return torch.device("cuda" if device == "gpu" else "cpu")


def wait(result: Any) -> None:
    """Waits until the device has finished."""
    del result
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextlib.contextmanager
def products(mode: Mode) -> Iterator[None]:
    """Sets within the context whether float32 products on a GPU are rounded to TF32, by cuBLAS and cuDNN."""
    rounded = mode.precision == "tf32"
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = rounded
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def _format(x: torch.Tensor) -> torch.memory_format | None:
    return {4: torch.channels_last, 5: torch.channels_last_3d}.get(x.ndim)


def placed(x: torch.Tensor, device: str, mode: Mode) -> torch.Tensor:
    """Returns an input or a weight on the device, in the mode's formats."""
    x = x.to(device_of(device))
    if x.is_floating_point() and mode.precision == "bf16":
        x = x.bfloat16()
    return x.contiguous(memory_format=_format(x)) if mode.channels_last and _format(x) else x


def tensors(arrays: Sequence[np.ndarray], device: str, mode: Mode) -> list[torch.Tensor]:
    """Returns arrays in PyTorch's order as inputs of a mode."""
    return [placed(torch.from_numpy(np.ascontiguousarray(x)), device, mode) for x in arrays]


def network(build: Callable[[], nn.Module], device: str, mode: Mode) -> nn.Module:
    """Builds a network for inference in a mode; not compiled yet."""
    torch.manual_seed(0)
    model = build().eval().to(device_of(device))
    if mode.precision == "bf16":
        model = model.bfloat16()
    if mode.channels_last:
        for parameter in model.parameters():
            parameter.data = placed(parameter.data, device, mode)
    return model


def forward_run(build: Callable[[], nn.Module], arrays: Sequence[np.ndarray], device: str, mode: Mode) -> Run:
    """Returns a run of a network's inference.

    Args:
        build: makes the network.
        arrays: its inputs, in PyTorch's order, batch first.
        device: "cpu" or "gpu".
        mode: how it is run.
    """
    model, given = network(build, device, mode), tensors(arrays, device, mode)
    call_model = torch.compile(model) if mode.compiled else model

    def call() -> Any:
        with torch.inference_mode(), products(mode):
            return call_model(*given)

    eager = Mode(precision=mode.precision).name
    seconds = timed(lambda: wait(call()))[0]
    held = (*model.parameters(), *model.buffers(), *given)
    values = {"compile s": seconds} if mode.compiled else {"memory MB": peak_megabytes(call, device, held)}
    return Run(call, wait, len(arrays[0]), values, against=eager)


class _Living(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, among those made within the context."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else (out,):
            if isinstance(x, torch.Tensor):
                self._count(x.untyped_storage())
        return out

    def _count(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if not place or place in self._known:
            return
        self._known.add(place)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, place, size)

    def _forget(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.now -= size


def peak_megabytes(call: Callable[[], Any], device: str, held: Sequence[torch.Tensor]) -> float:
    """Returns the megabytes that a call needs: what is held all the time, and what it makes, at the worst moment."""
    always = sum(x.numel() * x.element_size() for x in held)
    if device == "gpu":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        wait(call())
        return (always + torch.cuda.max_memory_allocated() - before) / 1e6
    with _Living() as living:
        call()
    return (always + living.peak) / 1e6


def training_run(
    build: Callable[[], nn.Module], targets: Sequence[np.ndarray], arrays: Sequence[np.ndarray], device: str, mode: Mode
) -> Run:
    """Returns a run of a training step with Adam; in "bf16" by autocast, parameters in float32.

    Args:
        build: makes a module that returns the loss of (*targets, *inputs).
        targets: density and fixations, [B, H, W].
        arrays: inputs in PyTorch's order, batch first.
        device: "cpu" or "gpu".
        mode: how it is run.
    """
    kept = dataclasses.replace(mode, precision="fp32")
    model = network(build, device, kept).train()
    given = [*tensors(targets, device, Mode()), *tensors(arrays, device, kept)]
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_of = torch.compile(model) if mode.compiled else model
    cast = torch.autocast(device_of(device).type, torch.bfloat16, enabled=mode.precision == "bf16")

    def call() -> Any:
        with products(mode):
            optimizer.zero_grad(set_to_none=True)
            with cast:
                loss = loss_of(*given)
            loss.backward()
            optimizer.step()
        return loss

    seconds = timed(lambda: wait(call()))[0]  # which makes Adam's state, too
    optimizer.zero_grad(set_to_none=True)
    state = [x for of_one in optimizer.state.values() for x in of_one.values() if isinstance(x, torch.Tensor)]
    held = (*model.parameters(), *model.buffers(), *given, *state)
    values = {"compile s": seconds} if mode.compiled else {"memory MB": peak_megabytes(call, device, held)}
    return Run(call, wait, len(arrays[0]), values, against=Mode(precision=mode.precision).name)
