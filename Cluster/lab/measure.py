#!/usr/bin/env python3
"""How much of a step the hosts of a lab spend waiting for gradients, by number of hosts and rate of the links.

Trains a few steps of a full-width ResNet-18 in FP32 with one worker per host and reads what each worker logs at its end. Beside
it stands the time that the transfer alone would take: 2(P-1)/P of the gradient's bytes at the rate of a link.

    measure.py --hosts 2 4 --rate 1gbit [--gradients fp16]
"""
import argparse
import pathlib
import re
import subprocess
import sys

LAB = pathlib.Path(__file__).with_name("lab.py")
sys.path.insert(0, str(LAB.parents[2] / "Tests/Storm"))
from cluster import Cluster  # noqa: E402

JOB = """
version: 1
name: lab
seed: 7
data:
  source: strip
  strip: {{trainCount: {samples}, testCount: 16, size: {size}}}
model: {{architecture: resnet18, stem: small, stemStride: 2}}
training:
  epochs: 1
  batchSize: {batch}
  precision: fp32
{gradients}  optimizer: {{method: sgd, learningRate: 0.01}}
quantization: {{enabled: false}}
checkpoint: {{everyEpochs: 1}}
evaluation: {{everyEpochs: 1}}
cluster: {{minimumWorkers: {hosts}, hangSeconds: 600}}
"""
PARAMETERS = 11.17e6
RATES = {"k": 1e3, "m": 1e6, "g": 1e9}


def lab(name, *arguments):
    subprocess.run([str(LAB), "--name", name, *arguments], check=True)


def measure(hosts, options):
    name = f"temper-measure-{hosts}"
    lab(name, "up", "--hosts", str(hosts), "--network-only", *(["--rate", options.rate] if options.rate else []))
    try:
        with Cluster() as cluster:
            at = lambda number: ["ip", "netns", "exec", f"{name}-{number}"]  # noqa: E731
            coordinator = "tcp://10.77.0.1:7070"
            cluster.coordinator("--listen", coordinator, prefix=at(1))
            for number in range(1, hosts + 1):
                cluster.worker(f"host-{number}", "--data-interface", f"10.77.0.{number}", prefix=at(number),
                               coordinator=coordinator)
            number = cluster.submit(JOB.format(
                samples=options.steps * options.batch, size=options.size, batch=options.batch, hosts=hosts,
                gradients=f"  gradients: {options.gradients}\n" if options.gradients != "fp32" else ""))
            cluster.result(number, seconds=600)
            for process in cluster.processes.values():
                process.terminate()
            for process in cluster.processes.values():
                process.wait(timeout=30)
            shares, seconds = [], []
            for worker in range(1, hosts + 1):
                text = (cluster.directory / f"host-{worker}.log").read_text()
                match = re.search(r"steps took ([\d.e-]+) seconds, ([\d.]+) % of it waiting", text)
                seconds.append(float(match[1]) / options.steps)
                shares.append(float(match[2]))
            return sum(seconds) / hosts, shares
    finally:
        lab(name, "down")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, nargs="+", default=[2, 4])
    parser.add_argument("--rate", help="of every link, as tc writes it; default: unlimited")
    parser.add_argument("--gradients", default="fp32", choices=["fp32", "fp16"])
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=30)
    options = parser.parse_args()
    print("| hosts | rate | gradients | step | waiting for gradients, by host | transfer alone |\n| --- | --- | --- | --- | --- | --- |")
    for hosts in options.hosts:
        step, shares = measure(hosts, options)
        alone = "-"
        if options.rate:
            bits = float(options.rate[:-4]) * RATES[options.rate[-4]]
            width = 4 if options.gradients == "fp32" else 2
            alone = f"{2 * (hosts - 1) / hosts * PARAMETERS * width * 8 / bits * 1000:.0f} ms"
        print(f"| {hosts} | {options.rate or 'unlimited'} | {options.gradients} | {step * 1000:.0f} ms | "
              f"{', '.join(f'{share:.1f} %' for share in shares)} | {alone} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
