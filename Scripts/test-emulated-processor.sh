#!/usr/bin/env bash
# Runs the kernel suite on this processor and on an emulated one without AVX-512 (qemu-user, Haswell), and compares the bits of
# every result. The suite itself compares the levels that a processor has. The short job: Tests/ProcessTests/EmulatedProcessorTests.
set -euo pipefail
cd "$(dirname "$0")/.."

apt_packages="qemu-user" Scripts/install-packages.sh
tests=.build/release/temperPackageTests.xctest
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

suite() {
  local name=$1
  shift
  if ! TEMPER_KERNEL_DIGEST="$work/$name" "$@" "$tests" --testing-library swift-testing --filter '^KernelsTests\.' \
    >"$work/$name.log" 2>&1; then
    grep -E '✘|error|recorded an issue' "$work/$name.log" | head -20
    echo "error: the kernel suite fails on the $name processor" >&2
    exit 1
  fi
  # Tests run in parallel, so lines come in any order.
  LC_ALL=C sort -o "$work/$name" "$work/$name"
}

suite native env
suite emulated qemu-x86_64 -cpu Haswell

results=$(wc -l <"$work/native")
if [ "$results" -lt 50 ]; then
  echo "error: only $results results were recorded; the suite did not run" >&2
  exit 1
fi
if ! diff "$work/native" "$work/emulated" >"$work/differences"; then
  head -20 "$work/differences"
  echo "error: results differ between this processor (<) and an emulated Haswell (>)" >&2
  exit 1
fi
echo "$results results of the kernel suite have the same bits on this processor and on an emulated Haswell"
