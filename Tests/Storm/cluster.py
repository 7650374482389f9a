"""A cluster of real processes in a folder of its own: coordinator, workers, and what their logs say.

Used by storm.py, by the tests of Cluster/ and by Cluster/lab. Everything that was started ends with `close`, whatever
happens in between. Time is read from the logs' own stamps, so reading them late does not falsify what is measured.
"""
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXECUTABLES = pathlib.Path(os.environ.get("TEMPER_EXECUTABLES", ROOT / ".build/release"))
LINE = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\w+) (.*)$")

JOB = """
version: 1
name: {name}
seed: 7
data:
  source: strip
  strip: {{trainCount: {train}, testCount: 128, size: 32}}
  rareClasses: [crack, particle, pit]
  augmentation: {{flipHorizontal: true, shift: 2}}
  sampling: {{method: balanced}}
model: {{architecture: resnet10, width: 0.125, stem: small, stemStride: 2}}
training:
  epochs: {epochs}
  batchSize: 32
  optimizer: {{method: sgd, learningRate: 0.05}}
  schedule: {{method: cosine, warmupEpochs: 1}}
  ema: {{decay: 0.99}}
quantization: {{startEpoch: {start}, calibrationBatches: 2}}
checkpoint: {{everyEpochs: 1, everySteps: {every}, keep: 3}}
evaluation: {{batchSize: 64, everyEpochs: {evaluate}}}
cluster: {{joinWindowMilliseconds: 200}}
"""


# Told to end, the tests clean up as after any failure.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


class Failure(Exception):
    """What went wrong, with the end of every log."""


def job(name="tiny", epochs=6, train=1024, start=4, every=0, evaluate=2):
    """A job of train / 32 steps an epoch: small, and with everything in it that a result depends on."""
    return JOB.format(name=name, epochs=epochs, train=train, start=start, every=every, evaluate=evaluate)


class Log:
    """Lines of a log file as they are written: (seconds since 1970, text)."""

    def __init__(self, path):
        self.path = path
        self.position = 0

    def new(self):
        if not self.path.exists():
            return []
        with open(self.path, "rb") as file:
            file.seek(self.position)
            text = file.read()
        # A line that is still being written is left for the next time.
        text = text[: text.rfind(b"\n") + 1]
        self.position += len(text)
        lines = []
        for line in text.decode(errors="replace").splitlines():
            match = LINE.match(line)
            if match:
                stamp = datetime.datetime.fromisoformat(match[1].replace("Z", "+00:00")).timestamp()
                lines.append((stamp, match[3]))
        return lines


class Cluster:
    """Coordinator and workers of one test."""

    def __init__(self, directory=None, endpoint=None):
        self.directory = pathlib.Path(directory or tempfile.mkdtemp(prefix="temper-cluster-"))
        self.directory.mkdir(parents=True, exist_ok=True)
        self.runs = self.directory / "runs"
        self.endpoint = endpoint or f"ipc://{self.directory}/control"
        self.processes = {}
        self.started = []
        # Keys of this cluster's own programs; links over tcp need them.
        self.environment = {**os.environ, "TEMPER_KEYS": str(self.directory / "keys")}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Processes

    def start(self, name, program, arguments, prefix=()):
        with open(self.directory / f"{name}.log", "ab") as log:
            process = subprocess.Popen(
                [*prefix, str(EXECUTABLES / program), *arguments, "--exit-with-parent"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)
        self.processes[name] = process
        self.started.append(process)
        return process

    def coordinator(self, *arguments, prefix=()):
        listen = ["--directory", str(self.runs), "--listen", self.endpoint, *arguments]
        if any(argument.startswith("tcp://") for argument in arguments):
            self.temper("keys", "init", "--directory", str(self.runs))
        return self.start("coordinator", "temper-coordinator", listen, prefix)

    def worker(self, name, *arguments, prefix=(), coordinator=None):
        return self.start(
            name, "temper-worker",
            ["--coordinator", coordinator or self.endpoint, "--name", name, "--threads", "1",
             "--runtime-directory", str(self.directory / "sockets"), *arguments], prefix)

    def kill(self, *names):
        """kill -9 for all of them at one moment; returns when they are gone."""
        for name in names:
            self.processes[name].send_signal(signal.SIGKILL)
        for name in names:
            self.processes[name].wait()

    # The operator's side

    def temper(self, *arguments, check=True):
        result = subprocess.run(
            [str(EXECUTABLES / "temper"), *arguments], capture_output=True, text=True, timeout=120,
            env=self.environment)
        if check and result.returncode != 0:
            raise self.failure(f"temper {' '.join(arguments)} exits with {result.returncode}: {result.stderr}")
        return result

    def submit(self, text):
        path = self.directory / "job.yaml"
        path.write_text(text)
        reply = self.temper("submit", str(path), "--coordinator", self.endpoint, "--timeout", "30", "--json")
        return json.loads(reply.stdout)[-1]["job"]

    def jobs(self):
        return json.loads(self.temper("jobs", "--coordinator", self.endpoint, "--timeout", "30", "--json").stdout)

    def info(self, number):
        for info in self.jobs():
            if info["job"] == number:
                return info
        raise self.failure(f"the coordinator knows no job {number}")

    def result(self, number, seconds=120):
        """The SHA-256 of the finished job."""
        info = self.wait(f"the end of job {number}", seconds, lambda: self.over(number), pause=0.2)
        if info["state"] != "finished":
            raise self.failure(f"job {number} is {info['state']}: {info.get('reason')}")
        return info["sha256"]

    def over(self, number):
        info = self.info(number)
        return info if info["state"] in ("finished", "failed", "cancelled") else None

    def log(self, name):
        return Log(self.directory / f"{name}.log")

    def wait(self, what, seconds, condition, pause=0.02):
        deadline = time.monotonic() + seconds
        while True:
            value = condition()
            if value:
                return value
            if time.monotonic() > deadline:
                raise self.failure(f"no {what} within {seconds} s")
            time.sleep(pause)

    def failure(self, reason):
        parts = [reason]
        for path in sorted(self.directory.glob("*.log")):
            lines = path.read_text(errors="replace").splitlines()[-15:]
            parts.append(f"--- {path.stem}\n" + "\n".join(lines))
        return Failure("\n".join(parts))
