#!/usr/bin/env python3
"""Cluster/slurm on a real Slurm: munged, slurmctld and slurmd of this machine in a folder of their own.

Submits the array as it is, lets its workers train, cancels one task, requeues another, lets a third run out of time, and
compares the SHA-256 with that of an undisturbed worker. Needs root and Debian's slurm-wlm and munge; about two minutes.
"""
import os
import pathlib
import re
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "Storm"))
from cluster import EXECUTABLES, ROOT, Cluster, Failure, job  # noqa: E402

EPOCHS = 120
CONFIGURATION = """
ClusterName=temper-test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort=6917
SlurmdPort=6918
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=6
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2
ReturnToService=2
JobRequeue=1
KillWait=25
MinJobAge=600
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 Sockets=1 CoresPerSocket=8 ThreadsPerCore=1 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=60 State=UP
"""


class Slurm:
    """The three daemons, and the commands that talk to them."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(mode=0o755)
        self.daemons = []
        for name in ("state", "spool"):
            (folder / name).mkdir(mode=0o755)
        host = os.uname().nodename.split(".")[0]
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(CONFIGURATION.format(host=host, folder=folder))
        key = folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        self.environment = {**os.environ, "SLURM_CONF": str(self.configuration)}
        self.start("munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
                   f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
                   f"--seed-file={folder}/munge.seed")
        self.until("munged", lambda: (folder / "munge.socket").exists())
        self.start("slurmctld", "-D", "-c")
        self.start("slurmd", "-D", "-c", "-N", host)
        self.until("a node that is idle", lambda: "idle" in self.command("sinfo", "-h", "-o", "%t", check=False))

    def start(self, *command):
        with open(self.folder / f"{command[0]}.out", "ab") as log:
            self.daemons.append(subprocess.Popen(
                [f"/usr/sbin/{command[0]}", *command[1:]], env=self.environment, stdin=subprocess.DEVNULL, stdout=log,
                stderr=log))

    def command(self, *command, check=True, cwd=None):
        result = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, cwd=cwd)
        if check and result.returncode != 0:
            raise Failure(f"{' '.join(command)} exits with {result.returncode}: {result.stderr}")
        return result.stdout

    def until(self, what, condition, seconds=60):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                logs = [f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-15:])
                        for path in [*self.folder.glob("*.log"), *self.folder.glob("*.out")]]
                raise Failure("\n".join([f"no {what} within {seconds} s", *logs]))
            time.sleep(0.2)

    def stop(self):
        self.command("scancel", "--user=root", check=False)
        # The steps' own daemons end only while there is somebody to tell.
        deadline = time.monotonic() + 60
        while self.command("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
            time.sleep(0.5)
        for daemon in reversed(self.daemons):
            daemon.terminate()
        for daemon in self.daemons:
            try:
                daemon.wait(timeout=30)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def undisturbed(text):
    with Cluster() as cluster:
        cluster.coordinator()
        cluster.worker("w1", "--threads", "2")
        return cluster.result(cluster.submit(text), seconds=900)


def workers(cluster):
    text = cluster.temper("workers", "--coordinator", cluster.endpoint, "--timeout", "30").stdout
    return set(re.findall(r"slurm-\d+_\d+", text))


def test(cluster, slurm):
    text = job(epochs=EPOCHS, every=50)
    cluster.coordinator("--listen", "tcp://127.0.0.1:7171")
    number = cluster.submit(text)
    script = ROOT / "Cluster/slurm/temper-workers.sbatch"
    variables = f"ALL,TEMPER_COORDINATOR=tcp://127.0.0.1:7171,TEMPER_WORKER={EXECUTABLES}/temper-worker,TEMPER_KEYS={cluster.directory}/keys"
    reply = slurm.command("sbatch", "--parsable", "--array=0-3", "--time=2", "--signal=B:USR1@95", f"--export={variables}",
                          str(script), cwd=slurm.folder)
    array = reply.strip()
    slurm.until("four workers named after their tasks",
                lambda: workers(cluster) == {f"slurm-{array}_{task}" for task in range(4)})
    cluster.wait("steps", 60, lambda: cluster.info(number)["step"] > 20, pause=0.2)
    slurm.command("scancel", f"{array}_0")
    slurm.until("the end of the cancelled task", lambda: f"slurm-{array}_0" not in workers(cluster))
    slurm.command("scontrol", "requeue", f"{array}_1")
    starts = lambda task: (slurm.folder / f"temper-{array}_{task}.log").read_text()  # noqa: E731
    slurm.until("the second start of the requeued task", lambda: "start 1 on" in starts(1))
    slurm.until("its return as a worker", lambda: f"slurm-{array}_1" in workers(cluster))
    # USR1 comes 95 s before the limit of 120 s, or up to 60 s earlier; the script requeues itself.
    slurm.until("the second start of a task that ran out of time", lambda: "start 1 on" in starts(2), seconds=120)
    assert "SIGUSR1" in starts(2) and "ended with 75" in starts(2), starts(2)
    assert "start 1 on" not in starts(0), "a cancelled task must not come back"
    return text, cluster.result(number, seconds=900)


def main():
    packages = {**os.environ, "apt_packages": "slurm-wlm munge"}
    subprocess.run([str(ROOT / "Scripts/install-packages.sh")], env=packages, check=True)
    start = time.monotonic()
    try:
        with Cluster() as cluster:
            slurm = Slurm(cluster.directory / "slurm")
            try:
                text, found = test(cluster, slurm)
            finally:
                slurm.stop()
        expected = undisturbed(text)
        if found != expected:
            raise Failure(f"SHA-256 {found}, undisturbed {expected}")
    except Failure as failure:
        print(f"FAILED: {failure}", file=sys.stderr)
        return 1
    print(f"Slurm: cancelled, requeued and out of time, same SHA-256 {found} ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
