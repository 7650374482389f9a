#!/usr/bin/env python3
"""Makes PyTorch's training steps on request: a line of JSON in, {"variant": ..., "repetitions": ...}, a line out.

A process of its own, so that bench_peers.py can take turns between it and Temper, and end it when it takes too long.
"""
import argparse
import json
import sys

import torch

from variants import make_step, measure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    steps = {}
    for line in sys.stdin:
        request = json.loads(line)
        variant = request["variant"]
        try:
            if variant not in steps:
                steps[variant] = make_step(variant, arguments.size, arguments.batch)
                measure(steps[variant], 0, 2)
            reply = {"milliseconds": measure(steps[variant], 1, request["repetitions"])}
        except Exception as error:  # Whatever a compiler may throw: it is part of the result.
            reply = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"}
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
