# Entry points for people and CI, in dependency order. Each prints what it does and is safe to repeat.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps build quickstart asan-build test asan bench tidy clean

JOBS ?= $(shell nproc 2>/dev/null || echo 1)
# The first plan: Mixtral-8x22B on 16 nodes of 8 H100.
FIRST_PLAN = plan --model mixtral-8x22b --cluster h100-sxm:128 --global-batch 256 --seq 4096

# Lets a ccache that is there serve clones in other folders too.
export CCACHE_BASEDIR ?= $(CURDIR)
export CCACHE_NOHASHDIR ?= 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
	@echo "Variables: JOBS=N, SKIP_DEPS=1 (install nothing), UPGRADE=1 (see setup/dependencies.sh)"

deps: ## install what is missing (apt; nothing is removed or upgraded)
	@SKIP_DEPS='$(SKIP_DEPS)' UPGRADE='$(UPGRADE)' setup/dependencies.sh

build/%/build.ninja: CMakePresets.json | deps
	@echo "== configure: $* tree in build/$*"
	@cmake --preset $*

build: deps build/release/build.ninja ## build the programs and their tests (release tree)
	@echo "== build: release tree, $(JOBS) jobs"
	@cmake --build --preset release -j $(JOBS)

quickstart: deps build/release/build.ninja ## build, then a first plan (no GPU needed)
	@echo "== build: the planner, $(JOBS) jobs"
	@cmake --build --preset release -j $(JOBS) --target trainwright
	@echo "== plan: trainwright $(FIRST_PLAN)"
	@build/release/bin/trainwright $(FIRST_PLAN)
	@echo
	@echo "This plan is priced from a calibration that ships with Trainwright; nothing was measured on this machine."
	@echo "To train a small model in such a layout: make build, then README.md, Training."

asan-build: deps build/asan/build.ninja
	@echo "== build: asan tree (address and undefined-behaviour sanitizers), $(JOBS) jobs"
	@cmake --build --preset asan -j $(JOBS)

test: build asan-build ## every test that needs no GPU; the last line says `N passed, N failed`
	@tests/run.sh release asan

asan: asan-build ## the tests of the sanitizer tree alone
	@tests/run.sh asan

bench: build/release/build.ninja ## the benchmarks of tests/bench
	@SKIP_DEPS='$(SKIP_DEPS)' UPGRADE='$(UPGRADE)' setup/dependencies.sh bench
	@cmake --preset release > /dev/null
	@cmake --build --preset release -j $(JOBS) --target bench

tidy: deps ## clang-tidy over the libraries and programs
	@SKIP_DEPS='$(SKIP_DEPS)' UPGRADE='$(UPGRADE)' setup/dependencies.sh tidy
	@cmake --preset tidy
	@cmake --build --preset tidy -j $(JOBS) -- -k 0

clean: ## remove build/
	rm -rf build
