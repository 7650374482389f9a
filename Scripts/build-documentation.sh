#!/usr/bin/env bash
# Builds the documentation of every library target with DocC; a warning fails the build. Pages go to .build/documentation/.
# Needs the release build (make build), whose modules it reads.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(Kernels KernelsInterface JobSpec Graph Quantization Data Training Checkpoint Export Communication RunStore
  Coordinator Worker)
out=.build/documentation
maps=()
while read -r map; do maps+=(-Xcc "-fmodule-map-file=$map"); done \
  < <(find .build/checkouts/*/Sources Sources -name module.modulemap)
rm -rf "$out"
for target in "${targets[@]}"; do
  symbols=$out/symbols/$target
  mkdir -p "$symbols"
  swift symbolgraph-extract -module-name "$target" -target "$(uname -m)-unknown-linux-gnu" -I .build/release/Modules \
    -I Sources/CIntrinsics/include "${maps[@]}" -minimum-access-level public -output-dir "$symbols"
  # Kernels explain their letters once for all parameters instead of parameter by parameter, which DocC warns about.
  strict=(--warnings-as-errors)
  [ "$target" = KernelsInterface ] && strict=()
  if ! docc convert --additional-symbol-graph-dir "$symbols" --fallback-display-name "$target" \
    --fallback-bundle-identifier "temper.$target" ${strict[@]+"${strict[@]}"} \
    --output-path "$out/$target.doccarchive" >"$symbols.log" 2>&1; then
    cat "$symbols.log"
    exit 1
  fi
  echo "documented $target"
done
