"""What the numbers were measured on and with."""

import datetime
import os
import platform
from importlib import metadata
from typing import Any

from benchmarks.kinds import cpu_fields, cpu_kind

PACKAGES = (
    "tinycnn",
    "numpy",
    "torch",
    "scikit-learn",
    "onnx",
    "onnxruntime",
    "threadpoolctl",
    "matplotlib",
)


def describe_machine() -> dict[str, Any]:
    """Describe the machine, as far as it tells."""
    fields = cpu_fields()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "system": platform.system(),
        "architecture": platform.machine(),
        "cpu_kind": cpu_kind(fields),
        "cpu_model": fields.get("model name") or platform.processor() or "unknown",
        "cpus": os.cpu_count(),
        "cpus_available": cpus_available(),
        "memory_gb": memory_gb(),
        "virtual": "hypervisor" in fields.get("flags", "").split(),
        "libc": " ".join(platform.libc_ver()),
        "load_average_start": load_average(),
    }


def cpus_available() -> int:
    """Count the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gb() -> float | None:
    """Return the size of the memory in GB, if the system tells."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError, OSError):
        return None


def load_average() -> float | None:
    """Return the load of the last minute: how many processes wanted a CPU, ours included."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions() -> dict[str, str | None]:
    """Return the version of everything that takes part; None for what is not installed."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found
