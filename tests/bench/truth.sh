#!/usr/bin/env bash
# The truth table: fakeengine notes when each token left (--truth), loadgen when it came, both on one clock.
# CSV on stdout, a table of it on stderr.   usage: truth.sh BIN_DIR [ROW...]    (rows: see below; default all)
#
# A row that ends in `!` asks more tokens/s than two cores may carry: there the engine leaves late (engine_late), and
# what counts is that loadgen reports when tokens did leave. Where means or p99 TTFT are off by 1 % the exit code is 1.
set -euo pipefail
bin=$1
shift
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# row NAME PREFILL_MS GAP_MS TOKENS LOAD: the first token comes after a prefill and a gap
rows() {
	row closed-1 30 20 64 'closed: {concurrency: 1, requests: 4}'
	row closed-64 30 20 64 'closed: {concurrency: 64, requests: 192}'
	row closed-1024 30 20 64 'closed: {concurrency: 1024, requests: 2048}'
	row closed-64-slow 300 2 640 'closed: {concurrency: 64, requests: 128}'
	row closed-1024-slow 300 32 64 'closed: {concurrency: 1024, requests: 2048}'
	row closed-8192-slow 300 256 16 'closed: {concurrency: 8192, requests: 8192}'
	row closed-10000-slow 300 500 8 'closed: {concurrency: 10000, requests: 10000}'
	row closed-1024-fast 300 10 128 'closed: {concurrency: 1024, requests: 2048}'
	row closed-8192! 30 20 16 'closed: {concurrency: 8192, requests: 8192}'
	row open-320 50 50 64 'open: {rate: 320, requests: 2000}'
	row open-100 30 20 16 'open: {rate: 100, requests: 300}'
	row open-1000 30 20 16 'open: {rate: 1000, requests: 3000}'
	row open-5000 5 5 4 'open: {rate: 5000, requests: 15000}'
}

failed=0
wanted=" $* "
row() {
	local name=$1
	[ "$wanted" = "  " ] || [[ "$wanted" = *" $name "* ]] || return 0
	cat >"$tmp/s.yaml" <<-YAML
		name: truth
		targets:
		  - name: fake
		    model: fake-model
		    launch: {program: fakeengine, args: [--port, "0", --prefill-ms, "$2", --per-token-ms, "$3", --tokens, "$4", --truth, $tmp/truth.csv]}
		workload: {prompts: {text: ["Say something."]}, output_tokens: $4}
		load: {$5}
		output: {plots: [], scrape: 250ms}
	YAML
	rm -rf "$tmp/run"
	"$bin/loadgen" run "$tmp/s.yaml" --out "$tmp/run" --no-plots --no-preflight --progress none >/dev/null || failed=1
	"$bin/truth_check" "$tmp/run" "$tmp/truth.csv" >"$tmp/row" || failed=1
	# The engine keeps up as long as its tokens leave less than a gap late.
	awk -F, -v name="$name" -v gap_us=$(($3 * 1000)) '{ print name "," $0 "," ($18 > gap_us ? "saturated" : "ok") }' "$tmp/row" |
		tee -a "$tmp/table.csv"
}

printf 'row,%s,engine\n' "$("$bin/truth_check" --header)" | tee "$tmp/table.csv"
rows
awk -F, '
	function pair(a, b) { return sprintf("%.2f/%.2f", a, b) }
	NR == 1 { printf "%-18s %8s %17s %17s %15s %15s %22s %9s %13s %9s  %-10s %s\n", "", "tokens/s", "TTFT mean", "TTFT p99", "ITL mean", "ITL p99",
		"error us p50/p99/99.9", "send us", "CPU us/token", "engine", "engine", "client"
		printf "%-18s %8s %17s %17s %15s %15s %22s %9s %13s %9s\n", "", "", "true/reported", "ms", "ms", "ms", "arrival - departure", "late p99", "own/engine",
			"late ms"; next }
	{ printf "%-18s %8d %17s %17s %15s %15s %22s %9.0f %13s %9.2f  %-10s %s\n", $1, $4, pair($5, $6), pair($7, $8), pair($9, $10), pair($11, $12),
		sprintf("%.0f/%.0f/%.0f", $13, $14, $15), $16, pair($17, $18), $19 / 1000, $23, $20 }' "$tmp/table.csv" >&2
# The goals, as print_goal() of bench.h writes them. Receive error: from 1,000 streams on, up to 100,000 tokens/s. The
# engine's lateness: 1,024 streams on average, 20 tokens/s each, begun one by one (320/s, 3.2 s long), as streams that
# keep step leave in one burst whose last is late by the time the others take.
[ -z "${BENCH_GOALS:-}" ] || awk -F, '
	function goal(what, n, value, most) {
		printf "%s,us,%s,,%s,,,<= %g,%s\n", what, n, value, most, value ~ /^[0-9]/ && value + 0 <= most ? "met" : "missed"
	}
	{ n = $1; gsub(/[^0-9]/, "", n); rate = sprintf("%.0f", $4) }
	$1 ~ /^closed-(1024|1024-slow|1024-fast|8192-slow|10000-slow)$/ {
		goal("load: receive error p99 at " rate " tokens/s", n, $14, 20)
		goal("load: receive error p99.9 at " rate " tokens/s", n, $15, 60)
	}
	$1 ~ /^open-/ { goal("load: receive error p99 at " n " requests/s", "", $14, 20) }
	$1 == "open-320" {
		goal("engine: lateness p99 at 20 tokens/s each", 1024, $19, 100)
		goal("engine: lateness p99.9 at 20 tokens/s each", 1024, $22, 300)
	}
	$1 == "open-1000" { goal("load: send lateness p99 at 1000/s", "", $16, 100) }
	$1 == "open-5000" { goal("load: send lateness p99 at 5000/s", "", $16, 150) }' "$tmp/table.csv" >>"$BENCH_GOALS"
exit $failed
