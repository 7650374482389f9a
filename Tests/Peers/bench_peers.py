#!/usr/bin/env python3
"""Temper beside PyTorch: training steps of ResNet-18, all-reduce, scaling, in one run on the same cores.

Everything takes turns, round by round, so that a machine that slows down slows all; each number is the median over rounds
of medians, each ratio the median over rounds of that round's ratio. Every piece has a time limit: what gives no result says so.
Writes a dated page to Docs/Results unless --quick, which checks in a minute or two that all pieces work.
"""
import argparse
import contextlib
import pathlib
import sys
import time

import report
from processes import HERE, Refused, StepServer, run_json

EAGER = [
    "fp32 contiguous", "fp32 channels_last", "bf16 contiguous", "bf16 channels_last", "qat contiguous",
    "qat channels_last", "qat unfused BatchNorm", "qat unfused observers",
]
COMPILED = ["fp32 compiled", "bf16 compiled", "qat compiled"]
PIECES = ["steps", "allreduce", "scaling"]


class Clock:
    """The time that is left; pieces that would begin after the end are left out."""

    def __init__(self, minutes: float):
        self.end = time.monotonic() + 60 * minutes

    def limit(self, seconds: float) -> float:
        left = self.end - time.monotonic()
        if left < 5:
            raise Refused("left out: the run's time was over")
        return min(seconds, left)


def note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def bench_steps(options: argparse.Namespace, clock: Clock, size: int, batch: int) -> report.Series:
    """Steps of one size: PyTorch's variants and Temper's precisions in turn."""
    series = report.Series(f"{size}x{size} pixels, batch {batch}", batch)
    with contextlib.ExitStack() as stack:
        def server() -> StepServer:
            return stack.enter_context(StepServer(size, batch, options.threads))

        eager = server()
        servers = {variant: eager for variant in EAGER if variant in options.variants}
        for variant in [name for name in COMPILED if name in options.variants and options.compile_seconds > 0]:
            servers[variant] = server()
            note(f"{series.title}: {variant}")
            try:
                servers[variant].measure(variant, 1, clock.limit(options.compile_seconds))
            except Refused as refusal:
                series.refuse(f"PyTorch {variant}", str(refusal))
                del servers[variant]
        command = [options.temper, "bench", "step", "--json", "--size", size, "--batch", batch, "--threads",
                   options.threads, "--repetitions", options.repetitions]
        for turn in range(options.rounds):
            note(f"{series.title}: round {turn + 1} of {options.rounds}")
            series.begin_round()
            for variant, peer in list(servers.items()):
                try:
                    # The first answer of a process takes longer: it loads PyTorch.
                    milliseconds = peer.measure(variant, options.repetitions, clock.limit(60 if turn else 120))
                    series.add(f"PyTorch {variant}", milliseconds)
                    note(f"  {variant}: {milliseconds:.0f} ms")
                except Refused as refusal:
                    series.refuse(f"PyTorch {variant}", str(refusal))
                    del servers[variant]
            try:
                series.add_temper(run_json(command, options.threads, clock.limit(120)))
            except Refused as refusal:
                series.refuse("Temper", str(refusal))
    return series


def bench_all_reduce(options: argparse.Namespace, clock: Clock, workers: int) -> report.Series:
    series = report.Series(f"all-reduce of {options.mebibytes} MiB, {workers} processes", None)
    shared = ["--workers", workers, "--size-mib", options.mebibytes, "--repetitions", 3 * options.repetitions]
    commands = {
        "gloo": [sys.executable, HERE / "collectives.py", "allreduce", *shared],
        "Temper": [options.temper, "bench", "allreduce", "--json", *shared],
    }
    for turn in range(options.rounds):
        note(f"{series.title}: round {turn + 1} of {options.rounds}")
        series.begin_round()
        for name, command in commands.items():
            try:
                series.add(name, report.median_of(run_json(command, 1, clock.limit(60))))
            except Refused as refusal:
                series.refuse(name, str(refusal))
    return series


def bench_scaling(options: argparse.Namespace, clock: Clock, size: int, batch: int) -> report.Series:
    """One and two processes of one thread on the same global batch."""
    series = report.Series(f"1 and 2 processes of 1 thread, {size}x{size} pixels, global batch {batch}", batch)
    for turn in range(max(1, options.rounds // 2)):
        note(f"{series.title}: round {turn + 1}")
        series.begin_round()
        for workers in [1, 2]:
            for name, variant in [("fp32", "fp32 contiguous"), ("qat", "qat contiguous")]:
                command = [sys.executable, HERE / "collectives.py", "ddp", "--workers", workers, "--variant", variant,
                           "--size", size, "--batch", batch, "--repetitions", options.repetitions]
                try:
                    result = run_json(command, 1, clock.limit(90))
                    series.add(f"PyTorch {name}, {workers}", report.median_of(result))
                except Refused as refusal:
                    series.refuse(f"PyTorch {name}, {workers}", str(refusal))
            command = [options.temper, "bench", "step", "--json", "--workers", workers, "--threads", 1, "--size", size,
                       "--batch", batch, "--repetitions", options.repetitions, "--precisions", "fp32,qat"]
            try:
                for phase in run_json(command, 1, clock.limit(90))["phases"]:
                    series.add(f"Temper {phase['precision']}, {workers}", phase["medianMilliseconds"])
            except Refused as refusal:
                series.refuse(f"Temper, {workers}", str(refusal))
    return series


def names(allowed: list[str]):
    """Reads names separated by commas."""
    def read(text: str) -> list[str]:
        result = [name.strip() for name in text.split(",")]
        for name in result:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"'{name}' is not one of: {', '.join(allowed)}")
        return result
    return read


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--temper", type=pathlib.Path, default=pathlib.Path(".build/release/temper"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--repetitions", type=int, default=3, help="steps of each variant and round")
    parser.add_argument("--compile-seconds", type=float, default=75, help="limit of each torch.compile; 0 leaves it out")
    parser.add_argument("--pieces", type=names(PIECES), default=PIECES, help="what to measure: " + ", ".join(PIECES))
    parser.add_argument("--variants", type=names(EAGER + COMPILED), default=EAGER + COMPILED,
                        help="PyTorch's steps to take, separated by commas: fewer of them make shorter rounds")
    parser.add_argument("--minutes", type=float, default=12, help="limit of the whole run")
    parser.add_argument("--quick", action="store_true", help="one small round without torch.compile, printed only")
    parser.add_argument("--output", type=pathlib.Path, help="the page; default Docs/Results/DATE-peers.md")
    options = parser.parse_args()
    options.mebibytes = 43
    sizes = [(64, 64), (224, 16)]
    if options.quick:
        options.rounds, options.repetitions, options.compile_seconds, options.mebibytes = 1, 1, 0, 4
        sizes = [(64, 8)]
    clock, start = Clock(options.minutes), time.monotonic()
    context = report.context(options)
    steps = [bench_steps(options, clock, size, batch) for size, batch in sizes if "steps" in options.pieces]
    reductions = [bench_all_reduce(options, clock, workers) for workers in [2, 4] if "allreduce" in options.pieces]
    scaling = bench_scaling(options, clock, *sizes[0]) if "scaling" in options.pieces else None
    page = report.page(context, steps, reductions, scaling, seconds=time.monotonic() - start)
    if options.quick and options.output is None:
        return print(page)
    output = options.output or pathlib.Path(f"Docs/Results/{time.strftime('%Y-%m-%d')}-peers.md")
    output.write_text(page)
    print(page)
    note(f"written to {output}")


if __name__ == "__main__":
    main()
