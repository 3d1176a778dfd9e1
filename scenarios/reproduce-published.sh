#!/usr/bin/env bash
# A published table against a simulation that was fitted to three of its eight rows: builds, fits, simulates all eight,
# lays the two on each other. About a minute, no server.
#
#   bash scenarios/reproduce-published.sh
#   bash scenarios/reproduce-published.sh --set load.requests=500      further words go to loadgen
set -euo pipefail
cd "$(dirname "$0")/.."
. scenarios/setup.sh

case "${1:-}" in
-h | --help)
	sed -n '2,6s/^# \{0,1\}//p' "$0"
	exit 0
	;;
esac

# shellcheck disable=SC2086
need_packages $runtime_packages
build release loadgen fakeengine
out=results/reproduce-published-$(date -u +%Y%m%dT%H%M%SZ)
bin=build/release/bin
table=scenarios/published/70b-2xh100.csv

mkdir -p "$out"
# 86 at once is Little's law on the row of 250 clients; tokens a step show in no table (published/README.md).
"$bin/fakeengine" fit "$table" --point 1,50,250 --columns requests=300 --set scheduler.max_num_seqs=86 \
	--set scheduler.num_gpu_blocks=100000 --set scheduler.max_num_batched_tokens=1024 -o "$out/fitted.yaml"
"$bin/loadgen" run scenarios/reproduce-published.yaml --out "$out/simulated" \
	--set "targets[0].profile=$PWD/$out/fitted.yaml" "$@"
"$bin/loadgen" compare "$table" "$out/simulated" --out "$out/compared"
echo "Figures:"
find "$out/compared" -name '*.png' | sort | sed 's/^/  /'
