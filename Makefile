# make run      train the steel-strip job on this machine: a coordinator and two workers, then the comparison table
# make test     everything that checks Temper without the network: unit tests and tests with real processes
# make simulate  simulated clusters under faults, SEEDS=1000 of them
# make storm    kill -9 on coordinator and workers, KILLS=2000 of them in all; an interrupted storm goes on where it was
# make test-schedulers   Cluster/ on real systemd, Kubernetes schemas, Slurm and cron; root, the network, eight minutes
# make lab      hosts in network namespaces with a cluster on them, HOSTS=4 RATE=1gbit; make lab-down ends it
# make parity   compare the exported ONNX model with onnxruntime (virtual environment in .venv)
# make bench-peers  Temper beside PyTorch, in turn: steps, all-reduce, scaling; a page in Docs/Results. 12 minutes, on an idle machine
# make emulated  the kernel suite on an emulated processor without AVX-512 (qemu-user); the kernels compiled for ARM
# make build    executables in .build/release
# make lint     formatting and layering
# make docs     the documentation of every library target, warnings are errors
#
# Needs a Swift 6.2 toolchain on PATH; the system packages that are missing are installed (as root or with sudo).

SHELL := /bin/bash
# One build serves `run` and `test`: testable imports are on, and the tests are built, in both (Docs/Decisions/0001).
SWIFT_FLAGS := -c release -Xswiftc -enable-testing
# Without what make adds to the environment: where that differs, SwiftPM compiles everything again.
BUILD := env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u MAKE_TERMOUT -u MAKE_TERMERR \
  -u KILLS -u ARGUMENTS -u JOB -u WORKERS -u HOSTS -u RATE -u PEERS_VENV swift build $(SWIFT_FLAGS) --build-tests
BIN := .build/release
PYTHON := .venv/bin/python
# A virtual environment with PyTorch; set it to one that is there already to save a download of some gigabytes.
PEERS_VENV ?= .venv-peers
JOB ?= Jobs/steel-strip.yaml
WORKERS ?= 2
SEEDS ?= 1000
KILLS ?= 2000
HOSTS ?= 4
RATE ?= 1gbit
ARGUMENTS ?=

.PHONY: run build test unit-test process-test simulate storm test-schedulers test-units test-manifests lab lab-down parity bench-peers emulated lint docs packages reference clean

run: build
	$(BIN)/temper run $(JOB) --workers $(WORKERS) $(ARGUMENTS)

build: packages
	$(BUILD)

test: unit-test process-test

unit-test: build
	swift test $(SWIFT_FLAGS) --skip-build --skip ProcessTests

process-test: build
	TEMPER_PROCESS_TESTS=1 swift test $(SWIFT_FLAGS) --skip-build --no-parallel --filter ProcessTests

# Simulated clusters; a seed that fails is named, and `temper simulate --seed K --trace` shows its course.
simulate: build
	$(BIN)/temper simulate --seeds $(SEEDS) $(ARGUMENTS)

storm: build
	Tests/Storm/storm.py --kills $(KILLS) --record .build/storm/record.jsonl --result .build/storm/result.md $(ARGUMENTS)

# Slurm and cron take minutes, so CI runs the two that take seconds.
test-schedulers: test-units test-manifests
	Tests/Schedulers/slurm.py
	Tests/Schedulers/cron.py

test-units: build
	Tests/Schedulers/systemd.sh

test-manifests: .venv-schedulers/installed
	Tests/Schedulers/kubernetes.sh

.venv-schedulers/installed: Tests/Schedulers/requirements.txt
	apt_packages="python3-venv" Scripts/install-packages.sh
	python3 -m venv .venv-schedulers
	.venv-schedulers/bin/pip install --quiet --requirement $<
	touch $@

lab: build
	apt_packages="iproute2 python3" Scripts/install-packages.sh
	Cluster/lab/lab.py up --hosts $(HOSTS) --rate $(RATE) $(ARGUMENTS)

lab-down:
	Cluster/lab/lab.py down

parity: build .venv/installed
	apt_packages="dataset-fashion-mnist" Scripts/install-packages.sh
	$(PYTHON) Tests/Parity/parity.py --temper $(BIN)/temper

bench-peers: build $(PEERS_VENV)/bin/python
	$(PEERS_VENV)/bin/python Tests/Peers/bench_peers.py --temper $(BIN)/temper $(ARGUMENTS)

.venv-peers/bin/python: Tests/Peers/requirements.txt
	apt_packages="python3-venv python3-dev g++" Scripts/install-packages.sh
	rm -rf .venv-peers
	python3 -m venv .venv-peers.new
	.venv-peers.new/bin/pip install --quiet --requirement $<
	mv .venv-peers.new .venv-peers

emulated: build
	Scripts/test-emulated-processor.sh
	Scripts/compile-for-arm.sh

.venv/installed: Tests/Parity/requirements.txt
	apt_packages="python3-venv" Scripts/install-packages.sh
	python3 -m venv .venv
	.venv/bin/pip install --quiet --requirement $<
	touch $@

lint:
	swift format lint --strict --recursive Sources Tests KernelBody Package.swift
	python3 Scripts/check-layers.py

docs: build
	Scripts/build-documentation.sh

# Pages that are generated from the code.
reference: build
	$(BIN)/temper reference > Docs/JobSpec.md

packages:
	@Scripts/install-packages.sh

clean:
	rm -rf .build .venv .venv-peers .venv-schedulers
