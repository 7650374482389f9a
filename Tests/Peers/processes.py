"""Child processes with time limits: Temper's benchmarks, and PyTorch's in their own virtual environment."""
import json
import os
import pathlib
import selectors
import signal
import subprocess
import sys
from statistics import median

HERE = pathlib.Path(__file__).parent


class Refused(Exception):
    """A piece that gave no result; the message goes into the table."""


def environment(threads: int) -> dict[str, str]:
    """The same threads for everyone; the cache of torch.compile outlives a run, because its time is not measured."""
    cache = f"/tmp/temper-peers-{os.getuid()}"
    return os.environ | {"OMP_NUM_THREADS": str(threads), "TORCHINDUCTOR_CACHE_DIR": cache}


def kill(process: subprocess.Popen) -> None:
    """Ends a process and its children, which are in a session of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def run_json(command: list[object], threads: int, limit: float) -> dict:
    """The JSON object that a command prints last."""
    process = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=environment(threads), start_new_session=True)
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        raise Refused(f"no result within {limit:.0f} s") from None
    finally:
        kill(process)
    if process.returncode != 0 or not output.strip():
        last = (errors.strip().splitlines() or ["no message"])[-1]
        raise Refused(f"exit code {process.returncode}: {last[:200]}")
    return json.loads(output.strip().splitlines()[-1])


class StepServer:
    """A step_server.py; used as a context."""

    def __init__(self, size: int, batch: int, threads: int):
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "step_server.py"), "--size", str(size), "--batch", str(batch), "--threads",
             str(threads)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment(threads), start_new_session=True)

    def __enter__(self) -> "StepServer":
        return self

    def __exit__(self, *_: object) -> None:
        kill(self.process)

    def measure(self, variant: str, repetitions: int, limit: float) -> float:
        """Median milliseconds; after a refusal the server is gone if it was too slow."""
        if self.process.poll() is not None:
            raise Refused("the process has ended")
        request = json.dumps({"variant": variant, "repetitions": repetitions}) + "\n"
        self.process.stdin.write(request.encode())
        self.process.stdin.flush()
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                kill(self.process)
                raise Refused(f"no result within {limit:.0f} s")
        line = self.process.stdout.readline()
        if not line:
            raise Refused("the process has ended")
        reply = json.loads(line)
        if "error" in reply:
            raise Refused(reply["error"])
        return median(reply["milliseconds"])
