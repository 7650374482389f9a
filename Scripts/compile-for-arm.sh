#!/usr/bin/env bash
# Compiles the kernels for 64-bit ARM, so that the portable body stays one that NEON can run. There is no ARM machine here and
# no SDK for one, but every Swift toolchain brings the Embedded standard library of aarch64, and kernels need no other.
# Checks that multiply-adds became NEON instructions and that nothing is left to a mathematical library.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-target aarch64-none-none-elf -enable-experimental-feature Embedded -wmo -Ounchecked -swift-version 6
  -parse-as-library -package-name temper -enable-upcoming-feature ExistentialAny
  -enable-upcoming-feature MemberImportVisibility -enable-upcoming-feature InternalImportsByDefault)

swiftc "${flags[@]}" -module-name KernelsInterface -emit-module -emit-module-path "$work/KernelsInterface.swiftmodule" \
  -c -o "$work/KernelsInterface.o" Sources/KernelsInterface/*.swift
swiftc "${flags[@]}" -module-name KernelsPortable -Xcc -ffreestanding -I "$work" -I Sources/CIntrinsics/include \
  -c -o "$work/KernelsPortable.o" KernelBody/*.swift

tools=$(dirname "$(readlink -f "$(command -v swiftc)")")
multiplyAdds=$("$tools/llvm-objdump" -d "$work/KernelsPortable.o" | grep -c 'fmla.*\.4s') || true
if [ "$multiplyAdds" -lt 100 ]; then
  echo "error: only $multiplyAdds vector multiply-adds in the object for ARM" >&2
  exit 1
fi
library=$("$tools/llvm-nm" -u "$work/KernelsPortable.o" | awk '{print $NF}' \
  | grep -vxE '__stack_chk_fail|__stack_chk_guard|free|memcpy|memmove|memset|posix_memalign' || true)
if [ -n "$library" ]; then
  echo "error: the kernels for ARM call $(echo "$library" | tr '\n' ' ')" >&2
  exit 1
fi
echo "the kernels compile for aarch64: $multiplyAdds vector multiply-adds, no call of a library"
