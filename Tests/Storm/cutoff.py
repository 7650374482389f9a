#!/usr/bin/env python3
"""How long until a machine that is cut off is found, and until the others train again (design, 7.3: 4 s).

Three hosts of a lab (Cluster/lab), a worker on each. Again and again one of hosts 2 and 3 is unplugged from the switch, found,
and plugged in again when the others have trained on. Ends with the SHA-256 of an undisturbed worker. Needs root.
"""
import argparse
import json
import re
import statistics
import subprocess
import sys
import time

from cluster import ROOT, Cluster, Failure, job

EPOCHS = 150
NAME = "temper-cutoff"


def lab(*arguments):
    subprocess.run([str(ROOT / "Cluster/lab/lab.py"), "--name", NAME, *arguments], check=True)


def newest(cluster):
    """(generation, step) of the newest progress."""
    path = cluster.runs / "jobs/1-tiny/metrics.jsonl"
    lines = path.read_text().splitlines()[-20:] if path.exists() else []
    steps = [record for record in map(json.loads, lines) if record.get("kind") == "step"]
    return (steps[-1]["generation"], steps[-1]["step"]) if steps else (0, 0)


def once(cluster, number, log, measured):
    cluster.wait("three workers", 60, lambda: cluster.info(number)["workers"] == 3 and newest(cluster)[1] > 0, pause=0.2)
    time.sleep(1)
    log.new()
    generation, _ = newest(cluster)
    host = 2 + len(measured["found"]) % 2
    start = time.time()
    lab("cut", str(host))
    found = cluster.wait("the end of the generation", 30, lambda: next(
        (stamp for stamp, text in log.new() if re.match(r"job 1: generation \d+ ends", text)), None), pause=0.01)
    measured["found"].append(found - start)
    cluster.wait("steps without it", 30, lambda: newest(cluster)[0] > generation, pause=0.01)
    measured["training again"].append(time.time() - start)
    lab("mend", str(host))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=6)
    options = parser.parse_args()
    measured = {"found": [], "training again": []}
    text = job(epochs=EPOCHS, every=50, evaluate=EPOCHS)
    lab("up", "--hosts", "3", "--network-only")
    try:
        with Cluster() as cluster:
            at = lambda host: ["ip", "netns", "exec", f"{NAME}-{host}"]  # noqa: E731
            cluster.coordinator("--listen", "tcp://10.77.0.1:7070", prefix=at(1))
            for host in (1, 2, 3):
                cluster.worker(f"w{host}", "--data-interface", f"10.77.0.{host}", prefix=at(host),
                               coordinator="tcp://10.77.0.1:7070")
            number = cluster.submit(text)
            log = cluster.log("coordinator")
            for _ in range(options.times):
                once(cluster, number, log, measured)
            found = cluster.result(number, seconds=300)
        with Cluster() as cluster:
            cluster.coordinator()
            cluster.worker("w1")
            expected = cluster.result(cluster.submit(text), seconds=300)
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    finally:
        lab("down")
    if found != expected:
        print(f"FAILED: SHA-256 {found}, undisturbed {expected}", file=sys.stderr)
        return 1
    print("| machine cut off | n | median | longest |\n| --- | --- | --- | --- |")
    for name, values in measured.items():
        print(f"| {name} | {len(values)} | {statistics.median(values):.2f} s | {max(values):.2f} s |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
