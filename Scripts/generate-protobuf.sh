#!/usr/bin/env bash
# Writes the Swift code of the protobuf messages anew. Its results are committed, so no build needs protoc; run this only
# after a .proto or the version of swift-protobuf changes. Needs .venv (make parity makes it) for ONNX's own schema.
# Environment: PYTHON, PROTOC_GEN_SWIFT (the plugin is built in a scratch folder when it is not set; minutes).
set -euo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-.venv/bin/python}
apt_packages="protobuf-compiler" Scripts/install-packages.sh
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

plugin=${PROTOC_GEN_SWIFT:-}
if [ -z "$plugin" ]; then
  git clone --quiet --depth 1 --branch 1.39.0 https://github.com/apple/swift-protobuf "$scratch/swift-protobuf"
  swift build --package-path "$scratch/swift-protobuf" -c release --product protoc-gen-swift
  plugin=$scratch/swift-protobuf/.build/release/protoc-gen-swift
fi

# generate FOLDER FILE VISIBILITY OUTPUT
generate() {
  mkdir -p "$4"
  protoc --plugin=protoc-gen-swift="$plugin" --proto_path="$1" --swift_opt=UseAccessLevelOnImports=true \
    --swift_opt=Visibility="$3" --swift_out="$4" "$2"
}

# The plain ONNX schema (not onnx-ml): the one messages of a neural network need. From the onnx package of .venv.
onnx=$("$python" -c 'import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec("onnx").origin).parent)')
cp "$onnx/onnx.proto" "$scratch/"
generate "$scratch" onnx.proto Internal Sources/Export/Generated
generate Sources/Communication/Messages control.proto Public Sources/Communication/Generated
