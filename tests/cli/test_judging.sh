#!/usr/bin/env bash
# What a run is judged by: thresholds, a search for the load within the SLO, runs laid on each other.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# Thresholds: checked before anything is sent, named when missed, exit 1.
small_scenario 'load: {closed: {concurrency: [1, 4], requests: 8}}' 'expect: {failed: "= 0", ttft_p99: "< 10s"}' >held.yaml
expect 0 "held" loadgen run held.yaml --out held --progress none
grep -q 'What was expected holds: 2 thresholds' out || fail "the report does not say what holds"
small_scenario 'load: {closed: {concurrency: [1, 4], requests: 8}}' 'expect: {ttft_p50: "< 5ms", failed: "= 0"}' >missed.yaml
expect 1 "missed" loadgen run missed.yaml --out missed --progress none
says 'fake: expected ttft_p50 < 5ms, it was 2'
small_scenario 'load: {serial: {requests: 1}}' 'expect: {ttfb: "< 5ms"}' >wrong.yaml
expect 2 "wrong" loadgen run wrong.yaml --out wrong --progress none
says 'wrong.yaml:11:16: expect.ttfb: no such column'
[ -e wrong ] && fail "a run with a wrong threshold was begun"

# One request at a time meets the SLO, more wait: the search ends at one.
cat >one.yaml <<'YAML'
name: one
description: One slot, so that what is beyond it waits
targets:
  - {name: native, profile: kind-transformers-a100, cost_per_hour: 2}
workload: {prompts: {synthetic: {input_tokens: 16}}, output_tokens: 8}
load: {find: {max_concurrency: {from: 1, to: 8, resolution: 1, requests: 8}}}
slo: {ttft: 1s, e2el: 350ms, share: 0.8}
output: {plots: [throughput, goodput]}
YAML
expect 0 "find" loadgen run one.yaml --out one --progress none
grep -q 'native: closed 1 is the highest load that meets the SLO; closed 2 misses it' out || {
	cat out >&2
	fail "the report does not say what was found"
}
grep -q '"highest_met": *1' one/run.json || fail "run.json does not say what was found"
grep -q 'per million output tokens' out || fail "no cost"
[ "$(wc -l <one/points.csv)" -le 4 ] || fail "a grid of four loads takes at most three probes"

# The engine's processes are in server.csv; a killed run is reported, and compared.
small_scenario 'load: {closed: {concurrency: [1, 4], duration: 60s}}' >long.yaml
sed -i 's/plots: \[\]/plots: [], scrape: 50ms/' long.yaml
"${bound[@]}" "$BIN_DIR/loadgen" run long.yaml --out killed --progress none >/dev/null 2>err &
pid=$!
await_lines killed/requests.csv 30 $pid
kill -9 $pid
wait $pid 2>/dev/null
[ "$(grep -c ',cpu_cores,' killed/server.csv)" -gt 0 ] || fail "no CPU of the engine in server.csv"
[ "$(grep -c ',rss_bytes,' killed/server.csv)" -gt 0 ] || fail "no memory of the engine in server.csv"
grep -q '"no figures of graphics cards: ' killed/run.json && fail "a note before the run has ended"

# The machine's cards, by a stand-in for the driver's library: their rows, their sentences, their curves. Without: a note.
if [ -e "$BIN_DIR/libstandin_nvml.so" ]; then
	small_scenario 'load: {closed: {concurrency: 2, requests: 30}}' >cards.yaml
	sed -i 's/plots: \[\]/plots: [server], scrape: 20ms/' cards.yaml
	expect 0 "cards" env LOADGEN_LIBNVML="$BIN_DIR/libstandin_nvml.so" "$BIN_DIR/loadgen" run cards.yaml --out cards --progress none
	for name in gpu0_memory_bytes,21474836480 gpu0_utilisation,0.5 gpu0_power_w,312.5 gpu1_memory_bytes,22548578304 gpu1_utilisation,0.8; do
		grep -Eq ",$name(\.?0*)$" cards/server.csv || fail "no $name in server.csv: $(grep -m3 gpu cards/server.csv)"
	done
	grep -q gpu1_power cards/server.csv && fail "a power that the card does not tell"
	tr -s '\n ' '  ' <out | grep -q 'cards were busy 65 % of the time, 65 % at most, with 41.0 GiB of their memory in use' || fail "no sentence on the cards: $(cat out)"
	grep -q 'they took 312 W on average' out || grep -q 'they took 313 W on average' out || fail "no power"
	head -1 cards/plots/server.dat | grep -q 'gpu_percent.gpu_memory.gpu_power' || fail "no curves of the cards"
fi
expect 0 "no library" env LOADGEN_LIBNVML=/nowhere/libnvml.so "$BIN_DIR/loadgen" run held.yaml --out nolib --progress none
[ "$(grep -c '"no figures of graphics cards: /nowhere/libnvml.so' nolib/run.json)" = 1 ] || fail "no note, or more than one"
grep -q graphics out err && fail "the note is said aloud"
expect 0 "compare" loadgen compare held killed --out both
grep -q 'fake (killed): small of killed, seed 3.*killed' out || fail "the killed run is not named as such"
grep -q 'fake (killed) over fake (held), at equal load' out || fail "no table of ratios"
grep -q '"ratios"' both/compare.json || fail "no compare.json"
if command -v gnuplot >/dev/null; then
	[ -s both/plots/throughput.svg ] || fail "no figure"
fi
expect 2 "compare one" loadgen compare held
says 'held: one target, want two or more'

# The script of the page is the one that its policy lets run.
script=$(sed -n '/<script>/,/<\/script>/p' both/report.html | sed 's/.*<script>//' | sed '/<\/script>/d')
hash=$(printf '%s\n' "$script" | openssl dgst -sha256 -binary | base64)
grep -qF "script-src 'sha256-$hash'" both/report.html || fail "the policy names another script: $hash"

# A published table of means beside a simulation.
cat >published.csv <<'CSV'
concurrency,prompt_tokens,output_tokens,ttft_ms,itl_ms,output_tokens_per_s
1,8,10,80,4,80
4,8,10,88,4,300
CSV
cat >simulated.yaml <<'YAML'
name: simulated
clock: virtual
targets: [{name: s, profile: seed-vllm}]
workload: {prompts: {text: ["Explain a mutex."]}, output_tokens: 10}
load: {closed: {concurrency: [1, 4], requests: 20}}
output: {plots: []}
YAML
expect 0 "simulated" loadgen run simulated.yaml --out simulated --progress none
expect 0 "beside a published table" loadgen compare published.csv simulated --out beside
grep -q 'published (published)' out || fail "the table is no target: $(cat out)"
[ -s beside/plots/overlay.png ] || fail "no overlay of a published table"
# Of which nothing is said that it cannot know: no counts, no percentiles, no client, no workload, no seed.
tr -s '\n ' ' ' <out >words
for said in 'published (published): a published table of means, published.csv: no requests, so no counts and no percentiles.' \
	'published (published) output tok/s TTFT ms TPOT ms E2EL ms clients total mean mean mean 1 80.0 80.00 4.00 116.0 4 300.0' \
	'All of it was simulated or published: nothing was sent, and no client could be late.' 'closed 4 ~'; do
	grep -qF -- "$said" words || fail "beside a table it is not said that $said: $(cat out)"
done
grep -qE 'kept up|different (work|seeds)|unknown time' words && fail "of a table it is said what nobody knows: $(cat out)"
# TTFT: mean and what it is off by, but no p99, of which the table says nothing.
awk -F'\t' 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
	$c["target"] == 1 && $c["load"] == 4 { n++; if ($c["ttft"] != 88 || $c["ttft_p99"] + 0 > 0) exit 1 } END { exit n != 1 }' \
	beside/plots/overlay.dat || fail "the table's row: $(cat beside/plots/overlay.dat)"
sed -i 's/^4,8,10,88/4,8,10,none/' published.csv
expect 2 "a table that is none" loadgen compare published.csv simulated --out none
says 'published.csv:3: ttft_ms'
