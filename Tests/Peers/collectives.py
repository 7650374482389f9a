#!/usr/bin/env python3
"""gloo's all-reduce, and DistributedDataParallel steps, between processes of one thread. Prints a line of JSON.

Times are those of the slowest rank, from a barrier on (all-reduce), or of rank 0 (steps, which wait for each other).
"""
import argparse
import json
import os
import tempfile
import time

import torch
import torch.distributed as distributed
import torch.multiprocessing

from variants import make_step, measure


def all_reduce(mebibytes: int, repetitions: int) -> list[float]:
    values = torch.ones(mebibytes << 18)
    times = []
    for repetition in range(3 + repetitions):
        values.fill_(1)
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_reduce(values)
        slowest = torch.tensor([1e3 * (time.perf_counter() - start)], dtype=torch.float64)
        distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
        if repetition >= 3:
            times.append(slowest.item())
    if values[-1].item() != distributed.get_world_size():
        raise ValueError(f"a sum of {distributed.get_world_size()} ones is {values[-1].item()}")
    return times


def ddp_steps(variant: str, size: int, batch: int, repetitions: int) -> list[float]:
    world = distributed.get_world_size()
    wrap = torch.nn.parallel.DistributedDataParallel if world > 1 else lambda model: model
    return measure(make_step(variant, size, batch // world, wrap), 2, repetitions)


def rank_main(rank: int, arguments: argparse.Namespace, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=arguments.workers)
    if arguments.what == "allreduce":
        times = all_reduce(arguments.size_mib, arguments.repetitions)
    else:
        times = ddp_steps(arguments.variant, arguments.size, arguments.batch, arguments.repetitions)
    distributed.barrier()
    if rank == 0:
        print(json.dumps({"milliseconds": times}), flush=True)
    distributed.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["allreduce", "ddp"])
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--repetitions", type=int, required=True)
    parser.add_argument("--size-mib", type=int, default=43)
    parser.add_argument("--variant", default="fp32 contiguous")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    # One host: without this gloo asks the resolver for the host's name, which may not resolve.
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as folder:
        torch.multiprocessing.spawn(rank_main, (arguments, folder), nprocs=arguments.workers)


if __name__ == "__main__":
    main()
