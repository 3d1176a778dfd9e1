#!/usr/bin/env bash
# The benchmarks: each thing of ours beside a floor and a peer measured in the same run, as CSV on stdout; at the end, every
# goal and where it stands, which build/release/goals.csv keeps. The machine should have nothing else to do.
#
#   bash tests/bench/run.sh [--quick] [engine] [load] [short] [truth] [sim] [cpu]
#
# Default: all but cpu, which has no goal; five minutes. --quick: less of each, too little for the figures to be good.
# gpu_engine beside llama.cpp is a program of its own: tests/bench/llama_speed.py.
set -euo pipefail
cd "$(dirname "$0")/../.."
. scenarios/setup.sh
case "${1:-}" in
-h | --help)
	sed -n '2,8s/^# \{0,1\}//p' tests/bench/run.sh
	exit 0
	;;
esac
# Tokens, seconds, requests; empty: the program's own default. Rows of the truth table; none: all.
tokens="" seconds="" requests="" truth_rows=""
if [ "${1:-}" = --quick ]; then
	shift
	tokens=200000 seconds=1 requests=20000
	truth_rows="closed-1024 closed-8192-slow open-320 open-1000 open-5000"
fi
[ $# -gt 0 ] || set -- engine load short truth sim
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
bin=build/release/bin
goals=build/release/goals.csv
BENCH_GOALS=$(mktemp)
export BENCH_GOALS
trap 'rm -f "$BENCH_GOALS"' EXIT
failed=0
for bench in "$@"; do
	say "benchmark: $bench (after $SECONDS s)"
	# shellcheck disable=SC2086
	case "$bench" in
	engine) "$bin/bench_engine" "$bin" $tokens ;;
	load) "$bin/bench_load" "$bin" $seconds ;;
	short) "$bin/bench_short" "$bin" $requests ;;
	truth) bash tests/bench/truth.sh "$bin" $truth_rows ;;
	sim) "$bin/bench_sim" 20000 "$bin" ;;
	cpu) "$bin/bench_cpu" ;;
	esac || {
		say "benchmark: $bench failed"
		failed=1
	}
done
if [ -s "$BENCH_GOALS" ]; then
	{
		echo "what,unit,streams,floor,own,peer,ratio,goal,verdict"
		sort -s -t: -k1,1 "$BENCH_GOALS"
	} >"$goals"
	printf '\n'
	awk -F, '{ printf "%-57s %-6s %7s %10s %10s %10s %7s  %-11s %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9 }
		NR > 1 { n[$9]++ }
		END { printf "%d met, %d missed\n", n["met"], n["missed"] }' "$goals"
	say "this table as CSV: $goals; it took $SECONDS s"
fi
exit $failed
