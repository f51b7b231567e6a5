"""What a net is trained on and maps on, and how precisely: CUDA, then Apple's GPU, then the processor."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..messages import Progress

PRECISIONS = ("automatic", "float32", "bfloat16")


@dataclass(frozen=True)
class Compute:
    """
    A device, and the type that convolutions and products are worked out in where that is not float32.

    Weights, sums, losses and the optimiser's state stay float32 (mixed precision). bfloat16 has float32's range, so losses
    need no scaling.
    """

    device: torch.device
    low: torch.dtype | None = None

    def precision(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the net is run."""
        if self.low is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.low)

    def tensor(self, array: npt.NDArray[Any]) -> Tensor:
        """Put an array on the device; no copy on the processor."""
        return torch.from_numpy(array).to(self.device)

    def sentence(self, doing: str = "Training") -> str:
        """Say what is used."""
        if self.device.type == "cuda":
            where = f"the graphics card {torch.cuda.get_device_name(self.device)}"
        elif self.device.type == "mps":
            where = "Apple's graphics processor"
        else:
            where = f"the processor ({torch.get_num_threads()} threads)"
        how = "in float32" if self.low is None else "in mixed precision (bfloat16 and float32)"
        return f"{doing} on {where}, {how}."

    def forget(self) -> None:
        """Give back what memory the device keeps for later."""
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()


def choose_compute(precision: str, progress: Progress) -> Compute:
    """
    Return the best device that is there, in the precision that was asked for.

    ``automatic`` takes bfloat16 on a GPU that has it, and float32 on the processor, whose results were what all measured
    scores rest on. Where bfloat16 was asked for and is only imitated, a warning says so.
    """
    device, has_low = best_device()
    if precision == "bfloat16" and not has_low:
        progress.warning(
            "PRECISION is bfloat16, which this device does not have and only imitates, slowly. float32 is the faster one here."
        )
    low = precision == "bfloat16" or (precision == "automatic" and has_low and device.type != "cpu")
    return Compute(device, torch.bfloat16 if low else None)


def best_device(*, processor: bool = False) -> tuple[torch.device, bool]:
    """Return the best device that is there, or the processor if that is asked for, and whether it has bfloat16."""
    if torch.cuda.is_available() and not processor:
        # each of torchrun's processes on a machine takes a card of its own
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
        torch.backends.cudnn.deterministic = True  # the same seed gives the same net, the same command the same map
        return device, torch.cuda.get_device_capability(device) >= (8, 0)
    if torch.backends.mps.is_available() and not processor:
        return torch.device("mps"), _mps_has_bfloat16()
    return torch.device("cpu"), processor_has_bfloat16()


def processor_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (AVX512-BF16, AMX, or an ARM with bf16)."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "arm_bf16"))
    with contextlib.suppress(OSError):
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split()
        return any(name in flags for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False


def device_of(net: nn.Module) -> torch.device:
    """Return where a net's weights are; the processor for one that has none."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device, or the machine, has no memory left."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        words in text for words in ("out of memory", "not enough memory", "can't allocate memory")
    )


def free_bytes(compute: Compute) -> int | None:
    """Return how much memory is free for training, or None where nobody tells."""
    if compute.device.type == "cuda":
        return int(torch.cuda.mem_get_info(compute.device)[0])
    if compute.device.type == "mps":
        return int(torch.mps.recommended_max_memory()) - int(torch.mps.driver_allocated_memory())
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    with contextlib.suppress(AttributeError, ValueError, OSError):  # macOS tells all of it, not what is free
        return int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE")) // 2
    return None


def _mps_has_bfloat16() -> bool:
    """Try it: macOS 14 and later have it."""
    try:
        with torch.no_grad(), torch.autocast("mps", dtype=torch.bfloat16):
            convolution = nn.Conv2d(1, 1, 3).to("mps")
            return bool(torch.isfinite(convolution(torch.ones(1, 1, 4, 4, device="mps")).float()).all())
    except (RuntimeError, TypeError, ValueError):
        return False
