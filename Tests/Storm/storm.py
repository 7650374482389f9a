#!/usr/bin/env python3
"""A storm of kill -9: coordinator and workers die again and again while a job trains, and its SHA-256 stays the same.

Each run trains one small job with four workers in a fresh directory. A strike kills one worker, several, all, the
coordinator, or coordinator and workers at one moment, in training, evaluation, saving or while a generation forms;
whoever was killed is started again. Now and then a process is frozen instead (SIGSTOP), longer than the cluster waits.
The run passes when the job ends with the SHA-256 of an undisturbed one-worker run.

    make storm KILLS=2000        goes on where an interrupted storm stopped (see --record), then writes --result
    Tests/Storm/storm.py --kills 40 --seed 3

Exit code 1 with the logs of the cluster when a run ends with another result, fails, or stands still for a minute.
"""
import argparse
import collections
import json
import os
import pathlib
import random
import re
import signal
import statistics
import subprocess
import sys
import time

from cluster import ROOT, Cluster, Failure, job

WORKERS = ["w1", "w2", "w3", "w4"]
# (weight, workers killed, coordinator killed, frozen)
STRIKES = [
    (45, 1, False, False), (27, 2, False, False), (10, 3, False, False), (4, 4, False, False), (7, 0, True, False),
    (4, 1, True, False), (1, 4, True, False), (2, 1, False, True),
]
STANDSTILL = 60
SLOW = 3
LOST = re.compile(r"^w-\d+ \((\w+)\) lost: ")
EPOCHS = 40


class Run:
    """One job under the storm."""

    def __init__(self, cluster, random_numbers, measured, say):
        self.cluster, self.random, self.measured, self.say = cluster, random_numbers, measured, say
        self.coordinator_log = cluster.log("coordinator")
        self.metrics = 0
        self.kills = collections.Counter()
        self.step = 0
        self.generation = 0
        self.over = False
        # Since the last strike: when it was, what was killed, whether it was noticed and training went on.
        self.strike_at = None
        self.waiting_for = set()
        self.struck_generation = 0
        self.stepped = False
        self.measuring = None
        # The coordinator's last lines, shown when something took long.
        self.recent = collections.deque(maxlen=40)

    def watch(self):
        """Takes in what the coordinator has written since the last call."""
        for stamp, text in self.coordinator_log.new():
            self.recent.append(f"{stamp:.3f} {text}")
            lost = LOST.match(text)
            if lost and lost[1] in self.waiting_for:
                self.waiting_for.discard(lost[1])
                self.measured["worker killed: found"].append(stamp - self.strike_at)
            if text.startswith("job 1: finished") or text.startswith("job 1: failed"):
                self.over = True
        path = self.cluster.runs / "jobs/1-tiny/metrics.jsonl"
        if not path.exists():
            return
        with open(path, "rb") as file:
            file.seek(self.metrics)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self.metrics += len(text)
        for line in text.splitlines():
            record = json.loads(line)
            if record.get("kind") != "step":
                continue
            self.step, self.generation = record["step"], record["generation"]
            if self.generation > self.struck_generation and not self.stepped:
                self.stepped = True
                if self.measuring:
                    seconds = time.time() - self.strike_at
                    self.measured[self.measuring].append(seconds)
                    if seconds > SLOW:
                        print(f"  {self.measuring} after {seconds:.1f} s:\n    " + "\n    ".join(self.recent), flush=True)

    def pause(self, seconds):
        deadline = time.monotonic() + seconds
        while not self.over:
            self.watch()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.01))

    def wait_for_step(self):
        deadline = time.monotonic() + STANDSTILL
        while not self.over and not self.stepped:
            self.watch()
            time.sleep(0.01)
            if time.monotonic() > deadline:
                raise self.cluster.failure(f"no step for {STANDSTILL} s; the last was {self.step}")

    def strike(self, hasty):
        _, workers, coordinator, frozen = self.random.choices(STRIKES, [weight for weight, *_ in STRIKES])[0]
        names = self.random.sample(WORKERS, workers)
        self.struck_generation = self.generation
        self.stepped = False
        self.measuring = None
        self.waiting_for = set()
        if frozen:
            self.freeze(names[0])
            return
        # Only where nothing else went wrong at the same time, or just before, does the time mean one thing.
        if not coordinator and not hasty and len(names) < len(WORKERS):
            self.measuring = f"{'worker' if len(names) == 1 else 'several workers'} killed: training again"
            self.waiting_for = set(names)
        self.strike_at = time.time()
        self.cluster.kill(*names, *(["coordinator"] if coordinator else []))
        self.kills["worker"] += len(names)
        self.kills["coordinator"] += coordinator
        if coordinator:
            # The generation goes on without it when no worker was killed: any step counts.
            self.struck_generation = self.generation - (not names)
            self.pause(self.random.uniform(0, 0.5))
            started = time.time()
            self.cluster.coordinator()
            if not names:
                self.strike_at = started
                self.measuring = "coordinator started again: first step reported"
        for name in names:
            self.cluster.worker(name)

    def freeze(self, name):
        process = self.cluster.processes[name]
        process.send_signal(signal.SIGSTOP)
        self.kills["freeze"] += 1
        self.pause(self.random.uniform(0.5, 6))
        process.send_signal(signal.SIGCONT)
        # It may have been given up, or not: steps of this generation count as well.
        self.struck_generation = -1

    def train(self):
        self.cluster.coordinator()
        for name in WORKERS:
            self.cluster.worker(name)
        number = self.cluster.submit(job(epochs=EPOCHS, every=10))
        hasty = 0
        while not self.over:
            # Most strikes hit training; some hit the rendezvous after the strike before. Few in a row: a job whose
            # generations never get to a step is given up, by design.
            if self.strike_at and hasty < 2 and self.random.random() < 0.2:
                hasty += 1
            else:
                hasty = 0
                self.wait_for_step()
            self.pause(self.random.uniform(0, 0.3))
            if not self.over:
                self.strike(hasty > 0)
                self.say(self)
        return self.cluster.result(number)


def reference():
    with Cluster() as cluster:
        cluster.coordinator()
        cluster.worker("w1")
        return cluster.result(cluster.submit(job(epochs=EPOCHS, every=10)))


def commit():
    result = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    return result.stdout.strip() or "unknown"


def read(record):
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


def killed(runs):
    return sum(run["kills"].get("worker", 0) + run["kills"].get("coordinator", 0) for run in runs)


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return f"{os.cpu_count()} processors, {line.split(':')[1].strip()}"
    return f"{os.cpu_count()} processors"


def report(runs):
    """The result page."""
    kills = sum((collections.Counter(run["kills"]) for run in runs), collections.Counter())
    # Another commit may compute other bits; each run was compared with the undisturbed one of its own.
    wrong = [run for run in runs if run["sha256"] != run["undisturbed"]]
    commits = sorted({run["commit"] for run in runs})
    lines = [
        f"# {time.strftime('%Y-%m-%d')}: storm of kill -9", "",
        f"`make storm KILLS=...` (Tests/Storm/storm.py), commits {', '.join(commits)}, {processor()}.", "",
        "| | |", "| --- | --- |", f"| kills, summed over {len(runs)} runs | {killed(runs)} |",
        f"| of them workers, coordinators | {kills['worker']}, {kills['coordinator']} |",
        f"| freezes (SIGSTOP for 0.5 to 6 s) besides | {kills['freeze']} |",
        f"| runs with the SHA-256 of the undisturbed run | {len(runs) - len(wrong)} of {len(runs)} |",
        f"| SHA-256 | {', '.join(f'`{text}`' for text in sorted({run['sha256'] for run in runs}))} |",
        f"| seconds | {sum(run['seconds'] for run in runs):.0f} |", "",
        "Seconds from the kill, or from the start of the coordinator's process:", "",
        "| | n | median | 95 % | longest |", "| --- | --- | --- | --- | --- |",
    ]
    names = sorted({name for run in runs for name in run["measured"]})
    for name in names:
        values = sorted(value for run in runs for value in run["measured"].get(name, []))
        if values:
            high = values[min(len(values) - 1, int(0.95 * len(values)))]
            lines.append(
                f"| {name} | {len(values)} | {statistics.median(values):.3f} | {high:.3f} | {values[-1]:.3f} |")
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000, help="kill -9 in all, those in the record included")
    parser.add_argument("--minutes", type=float, default=600, help="start no further run after this time")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each run has the next")
    parser.add_argument("--record", type=pathlib.Path, help="a JSON object per run, appended; default: none")
    parser.add_argument("--result", type=pathlib.Path, help="where the page of results is written; default: nowhere")
    options = parser.parse_args()
    runs = read(options.record) if options.record else []
    begin = time.monotonic()
    print("undisturbed run ...", flush=True)
    sha256 = reference()
    print(f"SHA-256 {sha256}", flush=True)
    while killed(runs) < options.kills and time.monotonic() - begin < options.minutes * 60:
        seed = options.seed + len(runs)
        start = time.monotonic()
        told = [0.0]
        measured = collections.defaultdict(list)

        def say(run, told=told):
            if time.monotonic() - told[0] > 5:
                told[0] = time.monotonic()
                done = killed(runs) + run.kills["worker"] + run.kills["coordinator"]
                print(f"  {done} of {options.kills} kills; run {len(runs) + 1} (seed {seed}): step {run.step} of "
                      f"{EPOCHS * 32}, generation {run.generation}", flush=True)

        try:
            with Cluster() as cluster:
                run = Run(cluster, random.Random(seed), measured, say)
                found = run.train()
        except Failure as failure:
            print(f"FAILED with seed {seed}: {failure}", file=sys.stderr)
            return 1
        entry = {"seed": seed, "commit": commit(), "kills": run.kills, "sha256": found, "undisturbed": sha256,
                 "generations": run.generation,
                 "seconds": time.monotonic() - start, "measured": measured}
        if found != sha256:
            print(f"FAILED with seed {seed}: SHA-256 {found}, undisturbed {sha256}", file=sys.stderr)
            return 1
        runs.append(entry)
        if options.record:
            options.record.parent.mkdir(parents=True, exist_ok=True)
            with open(options.record, "a") as file:
                file.write(json.dumps(entry) + "\n")
        print(f"run {len(runs)} (seed {seed}): {killed([entry])} kills, {run.kills['freeze']} freezes, "
              f"{run.generation} generations in {entry['seconds']:.0f} s, same SHA-256", flush=True)
    text = report(runs)
    print("\n" + text)
    if options.result:
        options.result.parent.mkdir(parents=True, exist_ok=True)
        options.result.write_text(text)
    print(f"{killed(runs)} kills in {len(runs)} runs, one SHA-256")
    return 0


if __name__ == "__main__":
    sys.exit(main())
