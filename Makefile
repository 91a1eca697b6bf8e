# Entry points for people and CI, in dependency order. Each prints what it does and is safe to repeat.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help deps charts browser build quickstart asan-build test asan bench tidy clean

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

charts: node_modules/.package-lock.json ## install the chart library of --report (npm, into node_modules)

node_modules/.package-lock.json: package.json package-lock.json | deps
	@echo "== charts: npm ci"
	@npm ci --ignore-scripts --no-audit --no-fund --loglevel=error

build/%/build.ninja: CMakePresets.json | deps
	@echo "== configure: $* tree in build/$*"
	@cmake --preset $*

build: deps build/release/build.ninja ## build the programs and their tests (release tree)
	@echo "== build: release tree, $(JOBS) jobs"
	@cmake --build --preset release -j $(JOBS)

# The loop on this machine: two ranks, one for each of two cores.
LOOP = --model tiny-moe --cluster local-cpu:2 --calibration build/here.json --framework trainwright-cpu \
  --global-batch 8 --seq 128 --fix zero=1
PROGRAMS = trainwright trainwright-calibrate trainwright-train

build/here.json:
	@echo "== calibrate: what operators and messages cost here, two ranks at once (once; make clean forgets it)"
	@build/release/bin/trainwright calibrate --device cpu --ranks 2 --seconds 30 --out $@

quickstart: deps charts build/release/build.ninja ## build, then calibrate this machine, plan, train the best three (no GPU needed)
	@echo "== build: the programs, $(JOBS) jobs"
	@cmake --build --preset release -j $(JOBS) --target $(PROGRAMS)
	@$(MAKE) --no-print-directory build/here.json
	@echo "== plan: trainwright plan $(LOOP)"
	@build/release/bin/trainwright plan $(LOOP) --top 3 --save build/plan.json --json build/planned.json
	@echo "== confirm: the three best layouts, trained for 20 steps each"
	@build/release/bin/trainwright confirm --plan build/plan.json --top 3 --steps 20 --json build/confirmed.json || \
	  { [ $$? -eq 4 ] && ! grep -q '"failed"' build/confirmed.json && \
	    echo "A run lies outside its band: is this machine busy with something else?"; }
	@echo "== and a plan for 128 H100s, from the calibration that ships: trainwright $(FIRST_PLAN)"
	@build/release/bin/trainwright $(FIRST_PLAN) --json build/first_plan.json
	@echo "== and all of it as a page with charts: build/quickstart.html"
	@build/release/bin/trainwright report build/planned.json build/confirmed.json build/first_plan.json --out build/quickstart.html

asan-build: deps build/asan/build.ninja
	@echo "== build: asan tree (address and undefined-behaviour sanitizers), $(JOBS) jobs"
	@cmake --build --preset asan -j $(JOBS)

browser: deps ## install a browser for the tests of pages, where none is there
	@SKIP_DEPS='$(SKIP_DEPS)' UPGRADE='$(UPGRADE)' setup/dependencies.sh web

test: browser charts build asan-build ## every test that needs no GPU; the last line says `N passed, N failed`
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
