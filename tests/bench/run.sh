#!/usr/bin/env bash
# The benchmarks: each thing of ours beside a floor and a peer measured in the same run, as CSV on stdout; at the end, every
# goal and where it stands. The machine should have nothing else to do. About six minutes.
#
#   bash tests/bench/run.sh [engine] [load] [short] [truth] [sim] [cpu]     default: all
#
# gpu_engine beside llama.cpp is a program of its own: tests/bench/llama_speed.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scenarios/setup.sh
case "${1:-}" in
-h | --help)
	sed -n '2,7s/^# \{0,1\}//p' tests/bench/run.sh
	exit 0
	;;
esac
[ $# -gt 0 ] || set -- engine load short truth sim cpu
for bench in "$@"; do
	case "$bench" in
	engine | load | short | truth | sim | cpu) ;;
	*)
		say "$bench: no such benchmark; want engine, load, short, truth, sim or cpu"
		exit 2
		;;
	esac
done
# shellcheck disable=SC2086
need_packages $runtime_packages $bench_packages
build release loadgen fakeengine bench_engine bench_load bench_short bench_sim bench_cpu truth_check
BENCH_GOALS=$(mktemp)
export BENCH_GOALS
trap 'rm -f "$BENCH_GOALS"' EXIT
failed=0
for bench in "$@"; do
	say "benchmark: $bench"
	case "$bench" in
	engine | load | short) "build/release/bin/bench_$bench" build/release/bin ;;
	sim | cpu) "build/release/bin/bench_$bench" ;;
	truth) bash tests/bench/truth.sh build/release/bin ;;
	esac || failed=1
done
if [ -s "$BENCH_GOALS" ]; then
	printf '\nGoals\n'
	sort -s -t: -k1,1 "$BENCH_GOALS" | awk -F, '{ printf "%-62s %7s  %10s %-6s %-16s %s\n", $1, $2, $3, $4, $5, $6 }'
fi
exit $failed
