#!/usr/bin/env python3
"""A cluster of several hosts on one machine: network namespaces joined by a switch, with links as slow or as bad as wanted.

    lab.py up --hosts 4 --rate 1gbit     network, a coordinator on host 1, a worker on every host
    lab.py exec 2 -- ip address          runs a command on a host
    lab.py cut 3; lab.py mend 3          unplugs a host from the switch (its link stays up, as with a dead switch port)
    lab.py down                          ends its processes, removes everything

Hosts are 10.77.0.1, 10.77.0.2 and so on. Needs root and iproute2. --rate is kept by tc tbf on both ends of every link.
--delay (one way) and --loss use tc netem; on a kernel without it a small relay between TUN devices does the same, packet
by packet, for traffic of some MB/s.
"""
import argparse
import ctypes
import fcntl
import heapq
import os
import pathlib
import random
import select
import signal
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXECUTABLES = pathlib.Path(os.environ.get("TEMPER_EXECUTABLES", ROOT / ".build/release"))
TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 0x0001, 0x1000, 0x40000000
PORT = 7070


class Lab:
    def __init__(self, name):
        self.name = name
        self.switch = f"{name}-switch"
        self.state = pathlib.Path(f"/run/{name}")

    def host(self, number):
        return f"{self.name}-{number}"

    @staticmethod
    def address(number):
        return f"10.77.0.{number}"

    def namespaces(self):
        listing = run("ip", "netns", "list", output=True)
        names = [line.split()[0] for line in listing.splitlines() if line]
        return [name for name in names if name.startswith(f"{self.name}-")]

    # Network

    def up(self, hosts, rate, delay, loss):
        if self.namespaces():
            fail(f"the lab {self.name} is up already", "lab.py down, or give another --name")
        self.state.mkdir(parents=True, exist_ok=True)
        for number in range(1, hosts + 1):
            run("ip", "netns", "add", self.host(number))
            run("ip", "-n", self.host(number), "link", "set", "lo", "up")
        if (delay or loss) and not has_netem():
            if rate:
                fail("this kernel has no netem, and the relay knows no --rate", "give --rate or --delay and --loss")
            self.relay(hosts, delay, loss)
        else:
            self.cables(hosts, rate, delay, loss)

    def cables(self, hosts, rate, delay, loss):
        run("ip", "netns", "add", self.switch)
        run("ip", "-n", self.switch, "link", "add", "switch", "type", "bridge")
        run("ip", "-n", self.switch, "link", "set", "switch", "up")
        for number in range(1, hosts + 1):
            host, port = self.host(number), f"port{number}"
            run("ip", "-n", self.switch, "link", "add", port, "type", "veth", "peer", "name", "lab0", "netns", host)
            run("ip", "-n", self.switch, "link", "set", port, "master", "switch", "up")
            run("ip", "-n", host, "address", "add", f"{self.address(number)}/24", "dev", "lab0")
            run("ip", "-n", host, "link", "set", "lab0", "up")
            if delay or loss:
                netem = ["delay", f"{delay}ms", "loss", f"{loss}%", "limit", "100000"]
                run("tc", "-n", host, "qdisc", "add", "dev", "lab0", "root", "netem", *netem,
                    *(["rate", rate] if rate else []))
            elif rate:
                for namespace, device in ((host, "lab0"), (self.switch, port)):
                    run("tc", "-n", namespace, "qdisc", "add", "dev", device, "root", "tbf", "rate", rate, "burst",
                        "256kb", "latency", "50ms")

    def relay(self, hosts, delay, loss):
        """Starts the relay in the background and waits until the devices are there."""
        ready, told = os.pipe()
        if os.fork() == 0:
            os.setsid()
            os.close(ready)
            (self.state / "relay").write_text(f"{os.getpid()}\n")
            null = os.open(os.devnull, os.O_RDWR)
            for descriptor in (0, 1, 2):
                os.dup2(null, descriptor)
            # Whatever else was inherited would keep its other end waiting for this process.
            os.dup2(told, 3)
            os.closerange(4, 4096)
            try:
                relay([self.host(number) for number in range(1, hosts + 1)], delay / 1000, loss / 100, 3)
            finally:
                os._exit(0)
        os.close(told)
        if os.read(ready, 1) != b"r":
            fail("the relay did not start", "is /dev/net/tun there, and are you root?")
        os.close(ready)

    def cut(self, number, mend):
        if self.switch not in self.namespaces():
            fail("hosts joined by the relay cannot be unplugged", "bring the lab up without --delay and --loss")
        how = ["master", "switch"] if mend else ["nomaster"]
        run("ip", "-n", self.switch, "link", "set", f"port{number}", *how)

    def down(self):
        for name in self.namespaces():
            for process in run("ip", "netns", "pids", name, output=True).split():
                try:
                    os.kill(int(process), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        try:
            os.kill(int((self.state / "relay").read_text()), signal.SIGKILL)
        except (FileNotFoundError, ProcessLookupError, ValueError):
            pass
        for name in self.namespaces():
            run("ip", "netns", "delete", name)
        for path in self.state.glob("*") if self.state.exists() else []:
            if path.is_file():
                path.unlink()

    # Cluster

    def start(self, hosts, threads, directory):
        directory.mkdir(parents=True, exist_ok=True)
        coordinator = f"tcp://{self.address(1)}:{PORT}"
        # Links between hosts take keys; every program of the lab finds them by this variable.
        os.environ["TEMPER_KEYS"] = str(directory / "keys")
        run(str(EXECUTABLES / "temper"), "keys", "init", "--directory", str(directory / "runs"))
        self.launch(1, directory / "coordinator.log", "temper-coordinator", "--directory", str(directory / "runs"),
                    "--listen", coordinator, "--listen", f"ipc://{directory}/control")
        for number in range(1, hosts + 1):
            self.launch(number, directory / f"worker-{number}.log", "temper-worker", "--coordinator", coordinator,
                        "--data-interface", self.address(number), "--name", f"host-{number}", "--threads",
                        str(threads), "--runtime-directory", str(directory / f"sockets-{number}"))
        print(f"coordinator and {hosts} workers are up; logs and runs in {directory}\n"
              f"  temper submit Jobs/steel-strip.yaml --coordinator ipc://{directory}/control --watch\n"
              f"  {sys.argv[0]} down --name {self.name}")

    def launch(self, number, log, program, *arguments):
        with open(log, "ab") as file:
            subprocess.Popen(
                ["ip", "netns", "exec", self.host(number), str(EXECUTABLES / program), *arguments],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True)


def relay(namespaces, delay, loss, told):
    """Passes IP packets between the hosts' TUN devices, late, and loses some."""
    libc = ctypes.CDLL(None, use_errno=True)
    devices = []
    for number, namespace in enumerate(namespaces, 1):
        with open(f"/run/netns/{namespace}") as file:
            if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
                return
        device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22s", b"lab0", IFF_TUN | IFF_NO_PI, b""))
        run("ip", "address", "add", f"{Lab.address(number)}/24", "dev", "lab0")
        run("ip", "link", "set", "lab0", "mtu", "9000", "txqueuelen", "10000", "up")
        devices.append(device)
    os.write(told, b"r")
    os.close(told)
    numbers = random.Random(1)
    late = []
    count = 0
    while True:
        wait = max(0, late[0][0] - time.monotonic()) if late else None
        readable, _, _ = select.select(devices, [], [], wait)
        now = time.monotonic()
        for device in readable:
            for _ in range(64):
                try:
                    packet = os.read(device, 65536)
                except BlockingIOError:
                    break
                # Byte 19 of an IPv4 packet is the last of the destination's address: the number of the host.
                if packet[0] >> 4 == 4 and 1 <= packet[19] <= len(devices) and numbers.random() >= loss:
                    count += 1
                    heapq.heappush(late, (now + delay, count, devices[packet[19] - 1], packet))
        while late and late[0][0] <= now:
            _, _, device, packet = heapq.heappop(late)
            try:
                os.write(device, packet)
            except BlockingIOError:
                pass  # a full queue loses packets, as a switch does


def has_netem():
    name = f"temper-netem-{os.getpid()}"
    run("ip", "netns", "add", name)
    try:
        probe = ["tc", "-n", name, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
        return subprocess.run(probe, capture_output=True).returncode == 0
    finally:
        run("ip", "netns", "delete", name)


def run(*command, output=False):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        fail(f"{' '.join(command)}: {result.stderr.strip()}", "the lab needs root and iproute2")
    return result.stdout if output else None


def fail(message, hint):
    print(f"error: {message}\n  hint: {hint}", file=sys.stderr)
    sys.exit(77 if os.geteuid() != 0 else 78)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="temper-lab", help="prefix of the namespaces; several labs may be up")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="make the network and start the cluster")
    up.add_argument("--hosts", type=int, default=2, choices=range(1, 65), metavar="1...64")
    up.add_argument("--rate", help="of every link, as tc writes it: 1gbit, 100mbit")
    up.add_argument("--delay", type=float, default=0, help="milliseconds, one way")
    up.add_argument("--loss", type=float, default=0, help="percent of the packets, each way")
    up.add_argument("--threads", type=int, default=1, help="of every worker")
    up.add_argument("--directory", type=pathlib.Path, help="logs and runs; default: /tmp/NAME")
    up.add_argument("--network-only", action="store_true", help="start no coordinator and no workers")
    commands.add_parser("down", help="end the lab's processes and remove its network")
    execute = commands.add_parser("exec", help="run a command on a host")
    execute.add_argument("host", type=int)
    execute.add_argument("arguments", nargs=argparse.REMAINDER)
    for name, text in (("cut", "unplug a host"), ("mend", "plug it in again")):
        commands.add_parser(name, help=text).add_argument("host", type=int)
    options = parser.parse_args()
    lab = Lab(options.name)
    if options.command == "up":
        try:
            lab.up(options.hosts, options.rate, options.delay, options.loss)
        except BaseException:
            lab.down()
            raise
        if not options.network_only:
            lab.start(options.hosts, options.threads, options.directory or pathlib.Path(f"/tmp/{options.name}"))
    elif options.command == "down":
        lab.down()
    elif options.command == "exec":
        arguments = [argument for argument in options.arguments if argument != "--"]
        os.execvp("ip", ["ip", "netns", "exec", lab.host(options.host), *arguments])
    else:
        lab.cut(options.host, mend=options.command == "mend")


if __name__ == "__main__":
    main()
