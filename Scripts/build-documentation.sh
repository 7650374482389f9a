#!/usr/bin/env bash
# Builds the documentation of every library target with DocC; a warning fails the build. Pages go to .build/documentation/.
set -euo pipefail
cd "$(dirname "$0")/.."

# The kernels' per-instruction-set targets share one body; documenting the face of `Kernels` is enough.
targets=(Kernels JobSpec Graph Quantization Data Training Checkpoint Export Communication RunStore Coordinator Worker)
bin=$(swift build -c release -Xswiftc -enable-testing --show-bin-path)
out=.build/documentation
rm -rf "$out"
for target in "${targets[@]}"; do
  symbols=$out/symbols/$target
  mkdir -p "$symbols"
  # A list of the search paths of the C modules; pkg-config knows those that are not in the default place.
  swift symbolgraph-extract -module-name "$target" -target "$(uname -m)-unknown-linux-gnu" -I "$bin/Modules" -I "$bin" \
    $(find .build/checkouts/swift-protobuf Sources -name module.modulemap -printf '-Xcc -fmodule-map-file=%p ' 2>/dev/null) \
    -minimum-access-level public -output-dir "$symbols"
  catalog=$(find "Sources/$target" -maxdepth 1 -name '*.docc' | head -1)
  docc convert ${catalog:+"$catalog"} --additional-symbol-graph-dir "$symbols" --fallback-display-name "$target" \
    --fallback-bundle-identifier "temper.$target" --warnings-as-errors --output-path "$out/$target.doccarchive"
  echo "documented $target"
done
