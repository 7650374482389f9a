#!/usr/bin/env python3
"""What encryption costs a job: two hosts in network namespaces, a worker on each, with keys (curve) and with --insecure (plain).

Both ways go over the same veth pair. The hosts have addresses of 127.0.0.0/8, because --insecure takes no others; route_localnet
makes the kernel carry them. Runs take turns; prints a table and one JSON object. Processor time is that of a worker's whole process, by
steps: it holds what encryption costs even where other programs take turns on the processors. Needs root and iproute2.
usage: Scripts/measure-encryption.py [--rounds N] [--size PIXELS] [--batch N] [--rate 1gbit]
"""
import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
for folder in ("Cluster/lab", "Tests/Storm"):
    sys.path.insert(0, str(ROOT / folder))
from cluster import Cluster  # noqa: E402
from lab import Lab, run  # noqa: E402

JOB = """version: 1
name: encryption
data: {{source: strip, strip: {{trainCount: {count}, testCount: 16, size: {size}}}}}
model: {{architecture: resnet18}}
training:
  epochs: {epochs}
  batchSize: {batch}
  precision: fp32
  optimizer: {{method: sgd, learningRate: 0.01}}
quantization: {{enabled: false}}
cluster: {{minimumWorkers: 2, hangSeconds: 600}}
evaluation: {{everyEpochs: 1}}
checkpoint: {{everyEpochs: {epochs}}}
"""
HOSTS = 2


class LoopbackLab(Lab):
    """Hosts whose addresses count as loopback, and are not."""

    @staticmethod
    def address(number):
        return f"127.77.0.{number}"

    def up(self, hosts, rate, delay, loss):
        super().up(hosts, rate, delay, loss)
        for number in range(1, hosts + 1):
            name = self.host(number)
            run("ip", "-n", name, "address", "del", "127.0.0.1/8", "dev", "lo")
            run("ip", "netns", "exec", name, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
            run("ip", "-n", name, "route", "replace", "127.77.0.0/24", "dev", "lab0", "src", self.address(number))


def processor_seconds(process):
    """User and system time of all threads."""
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(lab, mode, options):
    """Milliseconds per step of each measured epoch; by worker, processor milliseconds per step and the share of waiting for gradients."""
    flags = ["--insecure"] if mode == "plain" else []
    with Cluster() as cluster:
        at = lambda host: ["ip", "netns", "exec", lab.host(host)]  # noqa: E731
        endpoint = f"tcp://{lab.address(1)}:7070"
        cluster.coordinator("--listen", endpoint, *flags, prefix=at(1))
        for host in range(1, HOSTS + 1):
            cluster.worker(f"host-{host}", "--data-interface", lab.address(host), *flags, prefix=at(host),
                           coordinator=endpoint)
        number = cluster.submit(JOB.format(
            count=options.steps * options.batch, epochs=options.epochs, size=options.size, batch=options.batch))
        cluster.result(number, seconds=900)
        lines = [json.loads(line) for line in
                 (cluster.runs / "jobs" / f"{number}-encryption" / "metrics.jsonl").read_text().splitlines()]
        epochs = [line for line in lines if line["kind"] == "epoch"]
        assert all(line.get("workers", HOSTS) == HOSTS for line in lines), "a worker was missing"
        busy, shares = [], []
        for host in range(1, HOSTS + 1):
            seconds = processor_seconds(cluster.processes[f"host-{host}"])
            busy.append(seconds * 1000 / options.steps / options.epochs)
            cluster.processes[f"host-{host}"].terminate()
            cluster.processes[f"host-{host}"].wait()
            text = " ".join(text for _, text in cluster.log(f"host-{host}").new())
            shares.append(float(re.search(r"([\d.]+) % of it waiting", text)[1]))
        # The first epoch fetches data.
        return [line["seconds"] * 1000 / options.steps for line in epochs[1:]], busy, shares


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", help="of the links, as tc writes it; default: unlimited")
    options = parser.parse_args()
    times = {"plain": [], "curve": []}
    busy = {"plain": [], "curve": []}
    shares = {"plain": [], "curve": []}
    lab = LoopbackLab("temper-encryption")
    lab.up(HOSTS, options.rate, 0, 0)
    try:
        for number in range(options.rounds):
            # Whoever goes first may meet another machine: they take turns at that, too.
            for mode in list(times)[:: 1 if number % 2 == 0 else -1]:
                measured, processor, waiting = measure(lab, mode, options)
                times[mode] += measured
                busy[mode] += processor
                shares[mode] += waiting
                print(f"{mode}: {', '.join(f'{value:.0f}' for value in measured)} ms; processor "
                      f"{', '.join(f'{value:.0f}' for value in processor)} ms", file=sys.stderr, flush=True)
    finally:
        lab.down()
    medians = {mode: statistics.median(measured) for mode, measured in times.items()}
    processor = {mode: statistics.median(measured) for mode, measured in busy.items()}
    print("| links | epochs | step, median | quartiles | processor time, median | of all runs | waiting for gradients |\n"
          "| --- | --- | --- | --- | --- | --- | --- |")
    for mode, measured in times.items():
        low, _, high = statistics.quantiles(measured, n=4)
        print(f"| {mode} | {len(measured)} | {medians[mode]:.0f} ms | {low:.0f}-{high:.0f} | {processor[mode]:.0f} ms | "
              f"{min(busy[mode]):.0f}-{max(busy[mode]):.0f} | "
              f"{statistics.median(shares[mode]):.1f} % |")
    print(json.dumps({"stepMilliseconds": times, "processorMilliseconds": busy, "waitingPercent": shares, "median": medians,
                      "curveOverPlain": medians["curve"] / medians["plain"],
                      "processorCurveOverPlain": processor["curve"] / processor["plain"], "options": vars(options)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
