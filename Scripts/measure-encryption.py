#!/usr/bin/env python3
"""Measures what encryption costs a job: two workers on this machine that reach each other by tcp, with keys and with --insecure.

Each worker gets a mount namespace of its own, so that the two take each other for different hosts and link by tcp instead of ipc
(needs root). Runs take turns; prints one JSON object with the step times of every epoch but the first, which fetches data.
usage: Scripts/measure-encryption.py [--rounds N] [--width W] [--size PIXELS] [--batch N]
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = ROOT / ".build" / "release"
JOB = """version: 1
name: encryption
data: {{source: strip, strip: {{trainCount: {count}, testCount: 64, size: {size}}}}}
model: {{architecture: resnet18, width: {width}}}
training: {{epochs: {epochs}, batchSize: {batch}}}
quantization: {{enabled: false}}
cluster: {{minimumWorkers: 2}}
evaluation: {{everyEpochs: {epochs}}}
checkpoint: {{everyEpochs: {epochs}}}
comparison: {{floatBaseline: false}}
"""


def run(mode: str, options: argparse.Namespace) -> list[float]:
    """Milliseconds per step of each measured epoch."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="temper-encryption-"))
    runs = folder / "runs"
    environment = dict(os.environ, TEMPER_KEYS=str(folder / "keys"))
    endpoint = f"tcp://127.0.0.1:{random.randrange(20000, 30000)}"
    flags = ["--insecure"] if mode == "plain" else []
    processes = []

    def start(arguments: list[str], log: str) -> None:
        with open(folder / log, "w") as file:
            processes.append(subprocess.Popen(arguments, stdout=file, stderr=file, env=environment))

    try:
        subprocess.run([BIN / "temper", "keys", "init", "--directory", runs], check=True, env=environment,
                       stdout=subprocess.DEVNULL)
        start([BIN / "temper-coordinator", "--directory", runs, "--listen", endpoint] + flags, "coordinator")
        time.sleep(0.5)
        for number in (1, 2):
            start(["unshare", "--mount", BIN / "temper-worker", "--coordinator", endpoint, "--threads", "1", "--name",
                   f"w-{number}", "--runtime-directory", folder / f"sockets-{number}"] + flags, f"w-{number}")
        job = folder / "job.yaml"
        job.write_text(JOB.format(count=options.steps * options.batch, epochs=options.epochs, size=options.size,
                                  width=options.width, batch=options.batch))
        subprocess.run([BIN / "temper", "submit", job, "--coordinator", endpoint, "--watch", "--json"] + flags,
                       check=True, env=environment, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (runs / "jobs" / "1-encryption" / "metrics.jsonl").read_text().splitlines()]
        epochs = [line for line in lines if line["kind"] == "epoch"]
        assert all(line.get("workers", 2) == 2 for line in lines), "a worker was missing"
        return [line["seconds"] * 1000 / options.steps for line in epochs[1:]]
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    times: dict[str, list[float]] = {"plain": [], "curve": []}
    for _ in range(options.rounds):
        for mode, measured in times.items():
            measured += run(mode, options)
    medians = {mode: statistics.median(measured) for mode, measured in times.items()}
    print(json.dumps({"stepMilliseconds": times, "median": medians, "curveOverPlain": medians["curve"] / medians["plain"],
                      "options": vars(options)}))


if __name__ == "__main__":
    main()
