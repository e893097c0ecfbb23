"""Results for people and programs: tables for the terminal and in Markdown, and the JSON file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PLOT_TEXTS = {
    "epochs.png": "Seconds per epoch of tinycnn and PyTorch",
    "scaling.png": "Time and memory against the number of images, filters and the batch size",
}


def add(results: dict[str, Any], outcome: Mapping[str, Any]) -> None:
    """Enter the outcome of an experiment, and who was skipped or failed in it."""
    results["experiments"].append(outcome)
    results["skipped"].update(outcome["skipped"])
    for name, reason in outcome["failed"].items():
        results["failed"][f"{outcome['name']}: {name}"] = reason


def require_same_kind(path: Path, cpu_kind: str) -> None:
    """Raise FileExistsError if a file of results is of another kind of CPU."""
    if path.exists():
        there = json.loads(path.read_text(encoding="utf-8"))["machine"]["cpu_kind"]
        if there != cpu_kind:
            raise FileExistsError(
                f"--output: {path} was measured on {there}, and this is {cpu_kind}; choose "
                "another folder"
            )


def write(results: Mapping[str, Any], folder: Path) -> None:
    """Write latest.json and latest.md."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "latest.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "latest.md").write_text(markdown(results), encoding="utf-8")


def closing_words(results: Mapping[str, Any], folder: Path) -> str:
    """Name who was skipped, who failed, and where the results are."""
    lines = [*absentees(results), f"written to {folder}: latest.json, latest.md"]
    return ", ".join(["\n".join(lines), *results["plots"]])


def text_table(outcome: Mapping[str, Any], cpu_kind: str) -> str:
    """Format one experiment for the terminal."""
    header, rows = cells(outcome, cpu_kind)
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    lines = [outcome["title"]]
    for row in (header, *rows):
        name, *values = (cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        lines.append("  ".join(["", row[0].ljust(len(name)), *values]))
    lines += [f"  {line}" for line in conclusions(outcome)]
    return "\n".join(lines) + "\n"


def markdown(results: Mapping[str, Any]) -> str:
    """Format all results for a page."""
    parts = ["# Benchmark results", _provenance(results), *_overview(results)]
    for outcome in results["experiments"]:
        header, rows = cells(outcome, results["machine"]["cpu_kind"])
        ruler = ["---", *["---:"] * (len(header) - 1)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in (header, ruler, *rows))
        parts += [f"## {outcome['title']}", table]
        parts.append("\n".join(f"- {line}" for line in conclusions(outcome)))
    parts.append("\n".join(f"- {line}" for line in absentees(results)))
    parts += [f"![{PLOT_TEXTS[name]}]({name})" for name in results["plots"]]
    return "\n\n".join(part for part in parts if part) + "\n"


def _overview(results: Mapping[str, Any]) -> list[str]:
    """List all ratios in one table, if there are any."""
    rows = []
    for outcome in results["experiments"]:
        shares = {"share of sgemm's rate": outcome["sgemm"].get("fraction")}
        for label, value in {**outcome["ratios"], **shares}.items():
            if value is not None:
                rows.append(f"| {outcome['title']} | {label} | {value:.2f} |")
    if not rows:
        return []
    head = [f"| {results['machine']['cpu_kind']} | what | |", "|---|---|---:|"]
    return ["## All ratios", "\n".join([*head, *rows])]


def cells(outcome: Mapping[str, Any], cpu_kind: str) -> tuple[list[str], list[list[str]]]:
    """Return the header, which begins with the CPU, and the rows of an experiment's table."""
    contestants = outcome["contestants"]
    checked = any(row["error"] is not None for row in contestants)
    scaling = any(row["line"] for row in contestants)
    header = [cpu_kind, "median", "min"]
    header += ["per image"] if scaling else ["against the first"]
    header += ["extra memory"] if outcome["shows_memory"] else []
    header += ["error"] if checked else []
    rows = []
    for row in contestants:
        line = [row["name"], seconds_text(row["median"]), seconds_text(row["min"])]
        if scaling:
            line.append(seconds_text(row["median"] / row["n_images"]))
        else:
            line.append(f"{row['median'] / contestants[0]['median']:.2f}")
        if outcome["shows_memory"]:
            line.append(f"{row['extra_peak_bytes'] / 1e6:.1f} MB")
        if checked:
            line.append("" if row["error"] is None else f"{row['error']:.0e}")
        rows.append(line)
    return header, rows


def conclusions(outcome: Mapping[str, Any]) -> list[str]:
    """Put in words what follows from the table: ratios, share of sgemm, who is missing."""
    lines = [f"{label}: {ratio:.2f}" for label, ratio in outcome["ratios"].items()]
    if outcome["sgemm"]:
        lines.append(
            "useful work of tinycnn: {useful_gflops_per_second:.1f} GFLOP/s, {fraction:.2f} of "
            "sgemm's {sgemm_gflops_per_second:.1f}".format(**outcome["sgemm"])
        )
    if outcome["group"] == "epochs":
        faults = [f"{row['name']} {row['page_faults']:,}" for row in outcome["contestants"]]
        lines.append(f"page faults of the last run: {', '.join(faults)}")
    lines += [
        f"{row['name']}: measured on {row['facts']['measured_images']:,} images, scaled up"
        for row in outcome["contestants"]
        if "measured_images" in row["facts"]
    ]
    return lines + absentees(outcome)


def absentees(results: Mapping[str, Any]) -> list[str]:
    """Name those who were skipped and those who failed, all of one reason on one line."""
    lines = []
    for fate in ("skipped", "failed"):
        names: dict[str, list[str]] = {}
        for name, reason in results[fate].items():
            names.setdefault(reason, []).append(name)
        lines += [f"{fate}: {'; '.join(who)} ({reason})" for reason, who in names.items()]
    return lines


def seconds_text(seconds: float) -> str:
    """Format a time with three digits and a fitting unit."""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if seconds * factor >= 1 or unit == "us":
            break
    value = seconds * factor
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{decimals}f} {unit}"


def _provenance(results: Mapping[str, Any]) -> str:
    """Say with which command, when and on what the numbers were measured."""
    machine = results["machine"]
    kind = "virtual machine" if machine["virtual"] else "machine"
    installed = {name: version for name, version in results["versions"].items() if version}
    lines = [
        f"- command: `{results['command']}`",
        f"- date: {machine['date']}",
        f"- CPU: {machine['cpu_kind']} ({machine['cpu_model']}), "
        f"{machine['cpus_available']} of {machine['cpus']} CPUs usable, "
        f"{machine['memory_gb']} GB, {machine['architecture']} {kind}, "
        f"{machine['system']}, {machine['libc']}",
        f"- load average: {machine['load_average_start']} at the start, "
        f"{machine.get('load_average_end')} at the end",
        f"- data: {results['images']:,} images, {results['data']}",
        f"- {results['repeats']} repeats or more of everything, interleaved; medians of wall time",
        "- error: how far a result is from NumPy's in float64, as benchmarks/checks.py says",
        "- " + ", ".join(f"{name} {version}" for name, version in installed.items()),
    ]
    return "\n".join(lines)
