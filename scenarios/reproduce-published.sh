#!/usr/bin/env bash
# Published measurements against simulations: builds, fits, foretells, lays the two on each other. A minute or two, no
# server.
#
#   a 70B on two H100 cards     fitted to three of its eight loads, all eight simulated: an overlay
#   prefill and decode steps    of 70B and 176B models on four and eight A100 and H100, a profile fitted to each grid
#   a 7B on an L4               fitted to 1, 16 and 64 clients, 4 and 32 foretold, in three repeats
#   prefix caching              what each size of the KV cache finds of Mooncake's conversations
#
# The first table is here; the others are looked for in ../shared/data (or $REFERENCE_DATA) and skipped where absent.
#
#   bash scenarios/reproduce-published.sh
#   bash scenarios/reproduce-published.sh --set load.requests=500      further words go to the 70B's simulation
set -euo pipefail
cd "$(dirname "$0")/.."
. scenarios/setup.sh

case "${1:-}" in
-h | --help)
	sed -n '2,13s/^# \{0,1\}//p' "$0"
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

data=${REFERENCE_DATA:-}
for folder in ../shared/data ../../shared/data; do
	if [ -z "$data" ] && [ -d "$folder" ]; then data=$folder; fi
done

# recorded FILE: is it there? What needs it is skipped in a line if not.
recorded() {
	[ -r "$data/$1" ] || {
		say "skipped: no ${data:-../shared/data}/$1"
		return 1
	}
}

# The programs that know these recordings are tests (tests/fit, tests/unit/test_prefix_lru.c).
test_program() {
	need_packages libcmocka-dev
	build release-tests "$1"
}

# draw FIGURE: DATA in FIGURE.dat, both beside it as .png and .svg.
draw() {
	(cd "$out" && gnuplot --default-settings -e "figure = '$1'" "$OLDPWD/scenarios/published/reproduced.gp")
}

steps=reference/splitwise_perf_model.csv
if recorded "$steps"; then
	test_program step_grid
	build/release-tests/bin/step_grid "$data/$steps" --min-cards 4 --verbose >"$out/steps.txt"
	# tokens, prompts, prefill ms, off by, decode ms, off by
	awk -F'[ ,%x:;]+' '/tokens x/ { print $2, $4, $6, $10, $12, $14 }' "$out/steps.txt" >"$out/steps.dat"
	say "Steps, a line a grid (all rows: $out/steps.txt):"
	grep 'prefill off by' "$out/steps.txt" | sed 's/;.*//; s/^/  /'
	draw steps
fi

l4=reference/l4-qwen2.5-7b
if recorded "$l4/vllm_short_c1_r1.jsonl"; then
	test_program fit_check
	files=()
	for repeat in 1 2 3; do
		for clients in 1 16 64; do files+=(--fit "$data/$l4/vllm_short_c${clients}_r$repeat.jsonl@$clients"); done
		for clients in 4 32; do files+=(--score "$data/$l4/vllm_short_c${clients}_r$repeat.jsonl@$clients"); done
	done
	build/release-tests/bin/fit_check "${files[@]}" --columns prompt_tokens=30 --front-end 1ms \
		--set scheduler.max_num_seqs=256 --set scheduler.max_num_batched_tokens=2048 >"$out/l4.txt"
	# clients, repeat, TTFT, TPOT, tokens/s off by
	sed -nE 's/^vllm_short_c([0-9]+)_r([0-9]).jsonl +TTFT ([^ ]+) % TPOT ([^ ]+) % tokens\/s ([^ ]+) %.*/\1 \2 \3 \4 \5/p' \
		"$out/l4.txt" >"$out/l4.dat"
	say "The L4, foretold against measured (the fit: $out/l4.txt):"
	sed -nE 's/^vllm_short_(.*) +x [0-9.]+:.*/  \1/p' "$out/l4.txt"
	draw l4
fi

trace=traces/mooncake_conversation_trace.jsonl
if recorded "$trace"; then
	test_program test_prefix_lru
	# It reads the trace beside the checkout, and fails where a straight LRU computation finds another hit in any request.
	build/release-tests/bin/test_prefix_lru >"$out/hits.txt" 2>&1 || {
		cat "$out/hits.txt" >&2
		exit 1
	}
	awk '/blocks of 512 tokens:/ { print $1, $6 }' "$out/hits.txt" >"$out/hits.dat"
	if [ -s "$out/hits.dat" ]; then
		say "Prefix caching on Mooncake's conversations, request by request as a straight LRU computation has it:"
		grep 'blocks of 512' "$out/hits.txt" >&2
		draw hits
	else
		say "skipped: no trace beside the checkout"
	fi
fi

echo "Figures:"
find "$out" -name '*.png' | sort | sed 's/^/  /'
