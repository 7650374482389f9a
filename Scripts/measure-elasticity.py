#!/usr/bin/env python3
"""What changes of the cluster cost a ResNet-18 job with SGD, from the logs of real processes on this machine (two cores at least).

Joins: how long the members wait between two generations. Checkpoints: how long the steps wait for the snapshot. Restarts: from
kill -9 of the coordinator to all members being back, and the steps made meanwhile. Prints the figures; takes about two minutes.

Usage: Scripts/measure-elasticity.py [DIRECTORY OF EXECUTABLES]
"""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

SPEC = """
version: 1
name: measured
seed: 7
data:
  source: strip
  strip: {trainCount: 512, testCount: 64, size: 32}
model: {architecture: resnet18, stem: small, stemStride: 2}
training:
  epochs: 400
  batchSize: 32
  optimizer: {method: sgd, learningRate: 0.01}
quantization: {enabled: false}
checkpoint: {everyEpochs: 400, everySteps: 20, keep: 2}
evaluation: {everyEpochs: 400}
cluster: {joinWindowMilliseconds: 200}
"""
LIMIT = 240  # seconds for each thing that is waited for


class Cluster:
    def __init__(self, executables: pathlib.Path, folder: pathlib.Path):
        self.executables, self.folder = executables, folder
        self.endpoint = f"ipc://{folder}/control"
        self.processes: dict[str, subprocess.Popen] = {}

    def start(self, name: str, program: str, *arguments: str) -> None:
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                [self.executables / program, *arguments], stdout=log, stderr=log, start_new_session=True)

    def start_coordinator(self) -> None:
        self.start("coordinator", "temper-coordinator", "--directory", f"{self.folder}/runs", "--listen", self.endpoint)

    def start_worker(self, name: str) -> None:
        self.start(name, "temper-worker", "--name", name, "--threads", "1", "--coordinator", self.endpoint,
                   "--runtime-directory", f"{self.folder}/sockets")

    def temper(self, *arguments: str) -> str:
        done = subprocess.run([self.executables / "temper", *arguments, "--coordinator", self.endpoint],
                              capture_output=True, text=True)
        return done.stdout if done.returncode == 0 else ""

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def count(self, name: str, pattern: str) -> int:
        return len(re.findall(pattern, self.log(name)))

    def job(self) -> dict:
        text = self.temper("jobs", "--json")
        jobs = json.loads(text) if text else []
        return jobs[0] if jobs else {}

    def wait(self, what: str, condition) -> None:
        end = time.monotonic() + LIMIT
        while not condition():
            if time.monotonic() > end:
                sys.exit(f"no {what} within {LIMIT} s\n{self.log('coordinator')[-2000:]}")
            time.sleep(0.05)

    def wait_for_steps(self, count: int) -> None:
        first = self.job().get("step", 0)
        self.wait(f"{count} more steps", lambda: self.job().get("step", 0) >= first + count)

    def end(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()


def figures(values: list[float]) -> str:
    values = sorted(values)
    return f"{len(values)} times: median {values[len(values) // 2]:.0f} ms, {values[0]:.0f} to {values[-1]:.0f}"


def measure(cluster: Cluster) -> None:
    cluster.start_coordinator()
    cluster.start_worker("w-1")
    (cluster.folder / "job.yaml").write_text(SPEC)
    cluster.wait("coordinator", lambda: cluster.count("coordinator", "listening") > 0)
    cluster.temper("submit", f"{cluster.folder}/job.yaml")
    cluster.wait("steps", lambda: cluster.job().get("step", 0) > 20)
    for index in (2, 3, 4):
        cluster.start_worker(f"w-{index}")
        cluster.wait(f"generation with w-{index}", lambda: cluster.job().get("workers", 0) == index)
        cluster.wait_for_steps(25)
        if index == 2:
            cluster.wait_for_steps(200)  # ten checkpoints, with a core for each worker
            checkpoints = [
                float(value) for name in ("w-1", "w-2")
                for value in re.findall(r"held the steps up for (\d+) ms", cluster.log(name))]
    restarts, meanwhile = [], []
    for _ in range(5):
        back = cluster.count("coordinator", "all members are back")
        steps = cluster.job()["step"]
        cluster.processes["coordinator"].send_signal(signal.SIGKILL)
        cluster.processes["coordinator"].wait()
        began = time.monotonic()
        cluster.start_coordinator()
        cluster.wait("members", lambda: cluster.count("coordinator", "all members are back") > back)
        restarts.append(1000 * (time.monotonic() - began))
        cluster.wait("a report", lambda: "step" in cluster.job())
        meanwhile.append(cluster.job()["step"] - steps)
        cluster.wait_for_steps(15)
    joins = [float(value) for value in re.findall(r"starts at step \d+, (\d+) ms after", cluster.log("coordinator"))]
    print("join, wait of the members:", figures(joins))
    print("checkpoint, wait of the steps:", figures(checkpoints))
    print("coordinator, killed to all members back:", figures(restarts))
    print("steps from before each kill to the first report after it:", meanwhile)


def main() -> None:
    executables = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".build/release").resolve()
    with tempfile.TemporaryDirectory(prefix="temper-") as folder:
        os.environ.pop("TEMPER_COORDINATOR", None)
        cluster = Cluster(executables, pathlib.Path(folder))
        try:
            measure(cluster)
        finally:
            cluster.end()


main()
