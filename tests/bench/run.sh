#!/usr/bin/env bash
# The benchmarks: each thing of ours beside a floor and a peer measured in the same run, as CSV on stdout.
# The machine should have nothing else to do.   usage: bash tests/bench/run.sh [engine] [load] [sim] [truth] [cpu]
set -euo pipefail
cd "$(dirname "$0")/../.."
. scenarios/setup.sh
# shellcheck disable=SC2086
need_packages $runtime_packages
build release loadgen fakeengine bench_engine bench_load bench_sim bench_cpu truth_check
[ $# -gt 0 ] || set -- engine load sim truth cpu
for bench in "$@"; do
	case "$bench" in
	engine | load) "build/release/bin/bench_$bench" build/release/bin ;;
	sim | cpu) "build/release/bin/bench_$bench" ;;
	truth) bash tests/bench/truth.sh build/release/bin ;;
	*) say "$bench: no such benchmark; want engine, load, sim, truth or cpu"; exit 2 ;;
	esac
done
