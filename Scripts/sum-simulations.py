#!/usr/bin/env python3
"""Sums the reports of `temper simulate --json`: Scripts/sum-simulations.py FILE... Exits with 1 if anything was violated.

A file NAME.time beside NAME.json, as `/usr/bin/time -f '%U %S' -o NAME.time` writes it, adds processor time.
"""
import json
import pathlib
import sys


def main() -> int:
    total, findings, processor, measured = {}, [], 0.0, 0.0
    for name in sys.argv[1:]:
        path = pathlib.Path(name)
        if not path.read_text().strip():
            continue
        report = json.loads(path.read_text())
        findings += report["violations"]
        for key, value in report.items():
            if isinstance(value, (int, float)) and key not in ("threads", "speedup", "fingerprint"):
                total[key] = total.get(key, 0) + value
        for kind, count in report["faultKinds"].items():
            total[f"fault {kind}"] = total.get(f"fault {kind}", 0) + count
        time = path.with_suffix(".time")
        if time.exists():
            processor += sum(float(part) for part in time.read_text().split()[-2:])
            measured += report["simulatedHours"]
    for key in sorted(total):
        print(f"{key:28} {total[key]:,.1f}" if isinstance(total[key], float) else f"{key:28} {total[key]:,}")
    if total.get("wallSeconds"):
        print(f"{'times real time, clock':28} {total['simulatedHours'] * 3600 / total['wallSeconds']:,.0f}")
    if processor:
        print(f"{'times real time, processor':28} {measured * 3600 / processor:,.0f} (one thread; {processor:,.0f} s)")
    print(f"{'findings':28} {len(findings)}")
    for finding in findings:
        print(f"  seed {finding['seed']}: {finding['violation']['invariant']}: {finding['violation']['text'][:200]}")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
