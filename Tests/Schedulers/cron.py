#!/usr/bin/env python3
"""Cluster/cron on a real cron daemon: it launches a worker every minute, and no two run at once.

In a mount namespace of its own, so that this machine's cron tables are not touched. The first worker is frozen over two full
minutes and then killed: cron starts none beside it, and the next minute starts another, which resumes and finishes the job with the
SHA-256 of an undisturbed worker. That of the minute after finds nothing to do and ends with 0. Needs root and Debian's cron; about
five minutes, most of them idle.
"""
import os
import pathlib
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Storm"))
from cluster import EXECUTABLES, ROOT, Cluster, Failure, job  # noqa: E402


def running(cluster):
    """Process numbers of workers of this test's coordinator."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            name = os.path.basename(os.readlink(path / "exe"))
            environment = (path / "environ").read_bytes()
        except OSError:
            continue
        if name == "temper-worker" and f"TEMPER_COORDINATOR={cluster.endpoint}\0".encode() in environment:
            found.append(int(path.name))
    return found


def isolate(folder):
    """Empty cron tables for this process and its children only."""
    for name in ("cron.d", "crontabs"):
        (folder / name).mkdir()
    (folder / "crontab").touch()
    for source, target in [("cron.d", "/etc/cron.d"), ("crontab", "/etc/crontab"),
                           ("crontabs", "/var/spool/cron/crontabs")]:
        subprocess.run(["mount", "--bind", folder / source, target], check=True)
    # The daemon's number and the lock.
    subprocess.run(["mount", "-t", "tmpfs", "temper-test", "/run"], check=True)
    pathlib.Path("/run/lock").mkdir()


def table(cluster):
    """The line of Cluster/cron with this test's coordinator, user, programs and log."""
    text = (ROOT / "Cluster/cron/temper-worker").read_text()
    for old, new in [
        ("TEMPER_COORDINATOR=tcp://10.0.0.1:7070", f"TEMPER_COORDINATOR={cluster.endpoint}"),
        ("PATH=/usr/local/bin", f"PATH={EXECUTABLES}"), ("* * * * * temper ", "* * * * * root "),
        ("/var/log/temper-worker.log", f"{cluster.directory}/worker.log"),
    ]:
        assert old in text, f"Cluster/cron/temper-worker has no '{old}'"
        text = text.replace(old, new)
    return text


def test(cluster):
    folder = cluster.directory / "cron"
    folder.mkdir()
    isolate(folder)
    file = pathlib.Path("/etc/cron.d/temper-worker")
    file.write_text(table(cluster))
    file.chmod(0o644)
    cluster.coordinator()
    number = cluster.submit(job(epochs=40, every=5))
    daemon = subprocess.Popen(["/usr/sbin/cron", "-f"], start_new_session=True)
    seen = set()

    def watch():
        now = running(cluster)
        if len(now) > 1:
            raise cluster.failure(f"{len(now)} workers at once: {now}")
        seen.update(now)
        return now

    try:
        first = cluster.wait("a worker launched by cron", 70, watch)[0]
        cluster.wait("steps", 20, lambda: cluster.info(number)["step"] > 20)
        os.kill(first, signal.SIGSTOP)
        start = time.monotonic()
        while time.monotonic() - start < 121:
            if watch() != [first]:
                raise cluster.failure("the first worker is not alone")
            time.sleep(0.1)
        os.kill(first, signal.SIGKILL)
        cluster.wait("the end of the killed one", 5, lambda: not running(cluster))
        cluster.wait("a second worker", 70, watch)
        found = cluster.result(number)
        cluster.wait("its end with nothing to do", 20, lambda: not watch())
        cluster.wait("a third worker", 70, lambda: len(seen) >= 3 or (watch() and False))
        cluster.wait("its end with nothing to do", 20, lambda: not watch())
        log = (cluster.directory / "worker.log").read_text()
        assert log.count("nothing to do for") == 2, log
        return found
    finally:
        daemon.terminate()
        daemon.wait()
        for process in running(cluster):
            os.kill(process, signal.SIGKILL)


def main():
    if "--isolated" not in sys.argv:
        packages = {**os.environ, "apt_packages": "cron"}
        subprocess.run([str(ROOT / "Scripts/install-packages.sh")], env=packages, check=True)
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, __file__, "--isolated"])
    start = time.monotonic()
    try:
        with Cluster() as cluster:
            cluster.coordinator()
            cluster.worker("w1")
            expected = cluster.result(cluster.submit(job(epochs=40, every=5)))
        with Cluster() as cluster:
            found = test(cluster)
            if found != expected:
                raise Failure(f"SHA-256 {found}, undisturbed {expected}")
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print(f"cron: one worker at a time, killed and started again, same SHA-256 {found} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
