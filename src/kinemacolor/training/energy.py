"""Energy that GPUs have used, by their own counters: NVML counts from when the driver was loaded, so two readings are a use.

The counter is the device's, not the process's: what else runs on a GPU meanwhile is counted too. Devices without one (older
than Volta, parts of a divided GPU, other makers' and CPUs) have no figure, rather than a guessed one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import torch

Counter = Callable[[], float]
"""Joules since some moment."""


class Energy:
    """Joules since the last look.

    Args:
        counters: one a device; none gives no figure.
    """

    def __init__(self, counters: Sequence[Counter]) -> None:
        self._counters = counters
        self._before = self._read()

    def used(self) -> float | None:
        """Joules since the last call, or since this was made; None where devices do not tell, or have begun to count anew."""
        before, self._before = self._before, self._read()
        used = None if before is None or self._before is None else self._before - before
        return used if used is not None and used >= 0 else None

    def _read(self) -> float | None:
        if not self._counters:
            return None
        with contextlib.suppress(Exception):  # a driver that has gone away must not stop a training
            return sum(counter() for counter in self._counters)
        return None


def counters_of(devices: Sequence[torch.device]) -> list[Counter]:
    """The energy counters of GPUs; none at all if one of the devices has none, since a sum over some would mislead."""
    if not devices or any(device.type != "cuda" for device in devices):
        return []
    try:
        import pynvml

        pynvml.nvmlInit()
        # By what it is, since CUDA may be shown some devices only, in an order of its own.
        names = [f"GPU-{str(torch.cuda.get_device_properties(device).uuid).removeprefix('GPU-')}" for device in devices]
        handles = [pynvml.nvmlDeviceGetHandleByUUID(name) for name in names]
        found = [lambda handle=handle: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000 for handle in handles]
        for counter in found:
            counter()
    except Exception:  # no NVML, or a device that does not count
        return []
    return found
