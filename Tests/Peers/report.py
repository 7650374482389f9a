"""From measurements to the page: medians, spread, ratios, and what they were measured on."""
import argparse
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import time
from importlib.metadata import version
from statistics import median

PARTS = ["forward", "backward", "quantize", "batchNorm", "optimizer", "communication", "other"]


def median_of(result: dict) -> float:
    """The median of a JSON result: Temper's own, or of PyTorch's list."""
    return result["medianMilliseconds"] if "medianMilliseconds" in result else median(result["milliseconds"])


class Series:
    """Milliseconds by name and round."""

    def __init__(self, title: str, batch: int | None):
        self.title, self.batch = title, batch
        self.rounds: list[dict[str, float]] = []
        self.refusals: dict[str, str] = {}
        self.phases: dict[str, dict] = {}

    def begin_round(self) -> None:
        self.rounds.append({})

    def add(self, name: str, milliseconds: float) -> None:
        self.rounds[-1][name] = milliseconds

    def add_temper(self, result: dict) -> None:
        for phase in result["phases"]:
            self.add(f"Temper {phase['precision']}", phase["medianMilliseconds"])
            self.phases[phase["precision"]] = phase

    def refuse(self, name: str, reason: str) -> None:
        self.refusals[name] = reason

    def names(self) -> list[str]:
        return list(dict.fromkeys(name for measured in self.rounds for name in measured))

    def values(self, name: str) -> list[float]:
        return [measured[name] for measured in self.rounds if name in measured]

    def best(self, prefix: str) -> str | None:
        """The name with the smallest median among those that begin so."""
        names = [name for name in self.names() if name.startswith(prefix)]
        return min(names, key=lambda name: median(self.values(name)), default=None)

    def ratio(self, upper: str | None, lower: str | None) -> str:
        """time of upper / time of lower: median over rounds that have both, with extremes."""
        pairs = [measured[upper] / measured[lower] for measured in self.rounds if upper in measured and lower in measured]
        if not pairs:
            return "-"
        return f"{median(pairs):.2f} ({min(pairs):.2f} to {max(pairs):.2f})"

    def table(self) -> list[str]:
        head = ["", "median ms", "rounds' least to most"] + (["images/s"] if self.batch else [])
        lines = [row(head), row(["---"] * len(head))]
        for name in self.names():
            values = self.values(name)
            cells = [name, f"{median(values):.1f}", f"{min(values):.1f} to {max(values):.1f}"]
            lines.append(row(cells + ([f"{1e3 * self.batch / median(values):.1f}"] if self.batch else [])))
        lines += [row([name, "-", reason] + ([""] if self.batch else [])) for name, reason in self.refusals.items()]
        return lines


def row(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def context(options: argparse.Namespace) -> list[str]:
    """What the numbers were measured on, read before the run."""
    def output(*command: str) -> str:
        return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout.strip()

    processor = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                      if line.startswith("model name")), "unknown")
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model\t")), "?")
    commit = output("git", "rev-parse", "--short", "HEAD") or "unknown"
    if output("git", "status", "--porcelain", "--untracked-files=no"):
        commit += " with uncommitted changes"
    return [
        f"- Machine: {processor}, model {model}, {os.cpu_count()} logical processors, {platform.platform()}.",
        f"- Commit {commit}; PyTorch {version('torch')}, Python {platform.python_version()}.",
        f"- Command: `{shlex.join([pathlib.Path(sys.executable).name, *sys.argv])}`, "
        f"{time.strftime('%Y-%m-%d %H:%M')}; load average before the run {os.getloadavg()[0]:.2f}.",
        f"- {options.rounds} rounds in turn of {options.repetitions} steps of each variant after an unmeasured one; "
        f"{options.threads} threads for everyone unless said.",
    ]


def step_ratios(series: Series) -> list[str]:
    """The issue's rows for one size."""
    fp32, bf16, qat = (series.best(f"PyTorch {kind}") for kind in ["fp32", "bf16", "qat"])

    def bytes_ratio(precision: str) -> str:
        phases = series.phases
        if precision not in phases or "fp32" not in phases:
            return "-"
        return f"{phases[precision]['activationBytes'] / phases['fp32']['activationBytes']:.2f}"

    return [
        row(["ratio", "value", "must, aim"]), row(["---"] * 3),
        row([f"FP32: best of PyTorch ({fp32}) / Temper", series.ratio(fp32, "Temper fp32"), "1.3, 1.7"]),
        row([f"QAT: best of PyTorch ({qat}) / Temper", series.ratio(qat, "Temper qat"), "2.5, 4"]),
        row([f"best bf16 of PyTorch ({bf16}) / Temper QAT", series.ratio(bf16, "Temper qat"), "0.9, 1.3"]),
        row(["Temper QAT / Temper FP32", series.ratio("Temper qat", "Temper fp32"), "0.90, 0.70"]),
        row(["Temper FP16 / Temper FP32", series.ratio("Temper fp16", "Temper fp32"), "1.05, 0.85"]),
        row(["PyTorch best QAT / best FP32", series.ratio(qat, fp32), "for comparison"]),
        row(["activation memory, Temper QAT / FP32", bytes_ratio("qat"), "0.5, 0.35"]),
        row(["activation memory, Temper FP16 / FP32", bytes_ratio("fp16"), "0.5"]),
    ]


def parts_table(series: Series) -> list[str]:
    lines = [row(["Temper, ms"] + PARTS), row(["---"] * (len(PARTS) + 1))]
    for precision, phase in series.phases.items():
        lines.append(row([precision] + [f"{phase['parts'][part]:.1f}" for part in PARTS]))
    return lines


def page(context_lines: list[str], steps: list[Series], reductions: list[Series], scaling: Series | None,
         seconds: float) -> str:
    lines = [f"# {time.strftime('%Y-%m-%d')}: Temper beside PyTorch", ""]
    lines += context_lines + [f"- The run took {seconds / 60:.1f} minutes.", ""]
    lines += [
        "A training step of ResNet-18 (full width, 3 channels, 5 classes): forward, backward, SGD with Nesterov momentum. "
        "Temper's includes loading weights, 8 virtual shards and the reduction; PyTorch's BatchNorm is over the whole batch. "
        "Ratios are of times within a round, median with extremes.", ""]
    for series in steps:
        lines += [f"## Step, {series.title}", ""] + series.table() + [""] + step_ratios(series) + [""]
        if series.phases:
            lines += parts_table(series) + [""]
    for series in reductions:
        lines += [f"## {series.title[0].upper()}{series.title[1:]}", ""] + series.table()
        lines += ["", f"gloo / Temper: {series.ratio('gloo', 'Temper')} (must 1, aim 2).", ""]
    if scaling:
        lines += scaling_table(scaling)
    return "\n".join(lines) + "\n"


def scaling_table(series: Series) -> list[str]:
    lines = [f"## Scaling: {series.title}", ""] + series.table() + [""]
    lines += [row(["images/s, 2 against 1", "ratio", "must, aim"]), row(["---"] * 3)]
    for name, goal in [("PyTorch fp32", ""), ("PyTorch qat", ""), ("Temper fp32", "1.85, 1.95"), ("Temper qat", "1.85, 1.95")]:
        lines.append(row([name, series.ratio(f"{name}, 1", f"{name}, 2"), goal]))
    return lines
