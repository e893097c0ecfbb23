"""Kinds of CPU: results of different kinds stand apart, each in a folder with the kind's name."""

import platform
import re
from collections.abc import Container, Mapping
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
RESULTS = Path(__file__).resolve().parent / "results"

VENDORS = {"GenuineIntel": "intel", "AuthenticAMD": "amd", "ARM": "arm"}

# Family and models, for the CPUs whose name does not tell: in virtual machines, mostly.
MICROARCHITECTURES: dict[str, dict[int, dict[str, Container[int]]]] = {
    "intel": {
        6: {
            "haswell": (60, 63, 69, 70),
            "broadwell": (61, 71, 79, 86),
            "skylake": (78, 94, 142, 158),
            "skylake-server": (85,),
            "ice-lake": (106, 108, 125, 126),
            "alder-lake": (151, 154, 190),
            "raptor-lake": (183, 186, 191),
            "sapphire-rapids": (143,),
            "emerald-rapids": (207,),
            "granite-rapids": (173, 174),
        }
    },
    "amd": {
        23: {
            "zen": range(0x00, 0x30),
            "zen2": range(0x30, 0x100),
        },
        25: {
            "zen3": (*range(0x00, 0x10), *range(0x20, 0x60)),
            "zen4": (*range(0x10, 0x20), *range(0x60, 0x80), *range(0xA0, 0xB0)),
        },
        26: {"zen5": range(0x00, 0x80)},
    },
}

# The last of these whose flag a CPU has names its instructions.
INSTRUCTIONS = (
    ("asimd", "neon"),
    ("sve", "sve"),
    ("avx2", "avx2"),
    ("avx512f", "avx512"),
)

# What says nothing in the name of a model.
NOISE = re.compile(r"\((r|tm)\)|@.*|\b(cpu|processor|\d+-core)\b", re.IGNORECASE)


def cpu_fields() -> dict[str, str]:
    """Return what Linux says of the first CPU; empty elsewhere."""
    if not CPUINFO.exists():
        return {}
    first, _, _ = CPUINFO.read_text().partition("\n\n")
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def cpu_kind(fields: Mapping[str, str] | None = None) -> str:
    """Name the kind of CPU: vendor, microarchitecture or model, instructions.

    Parameters
    ----------
    fields : mapping of str to str, optional
        As :func:`cpu_fields` returns them; those of this machine by default.

    Returns
    -------
    kind : str
        Letters, digits and hyphens, such as "amd-zen4-avx512".
    """
    fields = cpu_fields() if fields is None else fields
    vendor = VENDORS.get(fields.get("vendor_id", ""), "")
    model = fields.get("model name") or platform.processor() or platform.machine()
    flags = (fields.get("flags") or fields.get("Features") or "").split()
    instructions = [name for flag, name in INSTRUCTIONS if flag in flags]
    design = _microarchitecture(vendor, fields) or _slug(NOISE.sub(" ", model))
    if vendor and not design.startswith(vendor):
        design = f"{vendor}-{design}"
    return "-".join([design, *instructions[-1:]])


def results_folder() -> Path:
    """Return the folder for results of this machine's kind."""
    return RESULTS / cpu_kind()


def _microarchitecture(vendor: str, fields: Mapping[str, str]) -> str | None:
    family, model = (fields.get(key, "") for key in ("cpu family", "model"))
    if not (family.isdigit() and model.isdigit()):
        return None
    designs = MICROARCHITECTURES.get(vendor, {}).get(int(family), {})
    return next((name for name, models in designs.items() if int(model) in models), None)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
