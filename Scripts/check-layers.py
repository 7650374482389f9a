#!/usr/bin/env python3
"""Checks the layering of Sources: imports go down only, and each heavy library has one owner.

The table is the one of the design, section 10. Prints each violation as file:line and exits with 1 if there is one.
"""
import pathlib
import re
import sys

SYSTEM = {"Foundation", "FoundationEssentials", "Glibc", "Darwin", "Dispatch", "Synchronization"}
KERNELS = {"CIntrinsics", "KernelsInterface"}

# target: what it may import besides SYSTEM
ALLOWED = {
    "KernelsInterface": set(),
    "KernelsAVX2": KERNELS,
    "KernelsAVX512": KERNELS,
    "KernelsVNNI": KERNELS,
    "KernelsPortable": KERNELS,
    "Kernels": KERNELS | {"KernelsAVX2", "KernelsAVX512", "KernelsVNNI", "KernelsPortable"},
    "JobSpec": {"Yams"},
    "Graph": set(),
    "Quantization": {"Graph"},
    "Data": {"JobSpec", "CZlib"},
    "Training": {"Graph", "Quantization", "Kernels", "Data", "JobSpec"},
    "Checkpoint": {"Graph", "CSodium"},
    "Export": {"Graph", "Quantization", "SwiftProtobuf"},
    "Communication": {"CLinux", "CZeroMQ", "SwiftProtobuf"},
    "RunStore": {"GRDB"},
    "Coordinator": {"Communication", "JobSpec", "RunStore", "Checkpoint", "Data", "Logging"},
    "Worker": {"Training", "Communication", "Checkpoint", "Graph", "Quantization", "Data", "JobSpec", "Logging"},
    "Benchmark": {"Worker", "Training", "Graph", "Kernels", "Data", "JobSpec", "Communication"},
    "Simulation": {"Coordinator", "Worker", "RunStore", "Data", "Logging"},
    "temper": {"Benchmark", "Checkpoint", "Communication", "Data", "Export", "Graph", "JobSpec", "Kernels", "Quantization",
               "Simulation", "Training", "Worker", "ArgumentParser", "Logging"},
    "temper-coordinator": {"Coordinator", "ArgumentParser", "Logging"},
    "temper-worker": {"Worker", "Communication", "Kernels", "ArgumentParser", "Logging"},
}
# Kernels have no Foundation; nothing below them has anything.
NO_FOUNDATION = {"KernelsInterface", "KernelsAVX2", "KernelsAVX512", "KernelsVNNI", "KernelsPortable", "Kernels", "Graph"}
IMPORT = re.compile(r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:public |package |internal |private |fileprivate )?"
                    r"import\s+(?:struct |class |enum |func |protocol |let |var |typealias )?(\w+)")


def main() -> int:
    root = pathlib.Path(__file__).resolve().parent.parent / "Sources"
    violations = []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        target = folder.name
        sources = sorted(path for path in folder.rglob("*.swift")) + sorted((folder / "Body").glob("*.swift"))
        if target.startswith("C") and not sources:
            continue
        if target not in ALLOWED:
            violations.append(f"{folder}: target {target} is not in the layer table of {__file__}")
            continue
        for path in sources:
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = IMPORT.match(line)
                if not match:
                    continue
                module = match.group(1)
                where = f"{path.relative_to(root.parent)}:{number}"
                if module in SYSTEM:
                    if module.startswith("Foundation") and target in NO_FOUNDATION:
                        violations.append(f"{where}: {target} must not import {module}")
                elif module not in ALLOWED[target]:
                    allowed = ", ".join(sorted(ALLOWED[target])) or "nothing"
                    violations.append(f"{where}: {target} must not import {module}; it may import {allowed}")
    print("\n".join(violations) if violations else f"layers: {len(ALLOWED)} targets obey the table")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
