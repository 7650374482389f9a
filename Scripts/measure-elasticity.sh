#!/usr/bin/env bash
# Measures what changes of the cluster cost a ResNet-18 job with SGD: the wait of the members while a worker joins, the wait of
# the steps for a checkpoint's snapshot, and the restart of a killed coordinator. Prints the log lines that say so.
# Usage: Scripts/measure-elasticity.sh [DIRECTORY OF EXECUTABLES]
set -euo pipefail
bin=${1:-.build/release}
work=$(mktemp -d)
processes=()
finish() { kill "${processes[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"; }
trap finish EXIT
export TEMPER_COORDINATOR="ipc://$work/control"

cat > "$work/job.yaml" <<'YAML'
version: 1
name: measured
seed: 7
data:
  source: strip
  strip: {trainCount: 512, testCount: 64, size: 32}
model: {architecture: resnet18, stem: small}
training:
  epochs: 200
  batchSize: 32
  optimizer: {method: sgd, learningRate: 0.01}
quantization: {enabled: false}
checkpoint: {everyEpochs: 0, everySteps: 25, keep: 2}
evaluation: {everyEpochs: 0}
cluster: {joinWindowMilliseconds: 200}
YAML

coordinator() {
  "$bin/temper-coordinator" --directory "$work/runs" --listen "$TEMPER_COORDINATOR" > "$work/coordinator.out" 2>> "$work/coordinator.log" &
  coordinator=$!
  processes+=("$coordinator")
}
worker() {
  "$bin/temper-worker" --name "$1" --threads 1 --runtime-directory "$work/sockets" > /dev/null 2>> "$work/$1.log" &
  processes+=($!)
}
# The job's step, 0 while the coordinator does not answer.
step() { { "$bin/temper" jobs --json --timeout 1 2>/dev/null || true; } | grep -o '"step":[0-9]*' | head -1 | cut -d: -f2 || true; }
until_step() { while [ "$(step)0" -lt "${1}0" ]; do sleep 0.2; done; }

coordinator
worker w-1
"$bin/temper" submit "$work/job.yaml" > /dev/null
until_step 60
for round in 2 3; do
  worker "w-$round"
  while ! grep -q "w-$round joins" "$work/coordinator.log"; do sleep 0.2; done
  until_step $(($(step) + 30))
done
for _ in 1 2 3; do
  kill -9 "$coordinator"
  began=$(date +%s%N)
  coordinator
  while ! grep -q "listening" "$work/coordinator.out"; do sleep 0.01; done
  while ! "$bin/temper" jobs --timeout 5 2>/dev/null | grep -q "running  *0 .*generation [0-9]*: 3 workers"; do sleep 0.02; done
  echo "coordinator: killed to all members back: $((($(date +%s%N) - began) / 1000000)) ms"
  until_step $(($(step) + 10))
done
until_step 200
grep -h "ms after the last step" "$work/coordinator.log" | sed 's/^/join: /'
grep -h "all members are back" "$work/coordinator.log" | sed 's/^/restart: /'
grep -h "held the steps up" "$work"/w-*.log | sed 's/^/checkpoint: /'
grep -h "lost the coordinator" "$work/w-1.log" | sed 's/^/worker: /'
