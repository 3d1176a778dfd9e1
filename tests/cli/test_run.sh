#!/usr/bin/env bash
# A whole run from the command line: its files, its rows, the plan, the seed, the report.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
small_scenario 'load: {closed: {concurrency: [1, 4], requests: 8}}' 'warmup: {requests: 1}' 'repeats: 2' >s.yaml

expect 0 "run" loadgen run s.yaml --out a --progress none
for file in scenario.yaml run.json points.csv requests.csv events.bin summary.json report.html engine-0.log; do
	[ -s "a/$file" ] || fail "a/$file is missing or empty"
done
grep -q 'TTFT' out || fail "no table on stdout"
[ "$(column a/points.csv planned | sum)" = 32 ] || fail "planned is not 2 levels x 2 repeats x 8"
[ "$(column a/points.csv ok | sum)" = 32 ] || fail "not all ok"
[ "$(column a/requests.csv outcome | sort | uniq -c | awk '{print $1, $2}')" = "33 ok" ] || fail "33 rows, all ok"
[ "$(column a/requests.csv output_tokens | sort -u)" = 10 ] || fail "every answer has 10 tokens"

# One seed: the same requests in a second run, and in the plan.
expect 0 "run again" loadgen run s.yaml --out b --progress none
for c in request_id prompt_id planned_output_tokens output_tokens; do
	diff <(paste <(column a/requests.csv request_id) <(column a/requests.csv $c) | sort) \
		<(paste <(column b/requests.csv request_id) <(column b/requests.csv $c) | sort) >diff || fail "$c differs: $(head -3 diff)"
done
expect 0 "plan" loadgen plan s.yaml --csv
cp out plan.csv
diff <(paste <(column plan.csv request_id) <(column plan.csv prompt_id) <(column plan.csv output_tokens) | sort) \
	<(paste <(column a/requests.csv request_id) <(column a/requests.csv prompt_id) <(column a/requests.csv planned_output_tokens) | sort) >diff ||
	fail "the plan is not what was sent: $(head -3 diff)"
expect 0 "another seed" loadgen plan s.yaml --csv --set seed=4
cmp -s out plan.csv && fail "the seed changes nothing"

# Open loop: the arrivals are the plan's.
small_scenario 'load: {open: {rate: 100, requests: 12}}' >open.yaml
expect 0 "open run" loadgen run open.yaml --out c --progress none
expect 0 "open plan" loadgen plan open.yaml --csv
diff <(column out sched_ms | awk 'NR == 1 { first = $1 } { printf "%.2f\n", $1 - first }') \
	<(column c/requests.csv sched_ns | sort -n | awk 'NR == 1 { first = $1 } { printf "%.2f\n", ($1 - first) / 1e6 }') >diff ||
	fail "arrivals are not the plan's: $(head -3 diff)"

# The report comes out the same from the rows.
cp a/summary.json summary.json
expect 0 "report" loadgen report a
cmp -s a/summary.json summary.json || fail "report makes another summary.json: $(diff a/summary.json summary.json | head -5)"
expect 0 "vllm console" loadgen report a --console vllm
grep -q '^Successful requests: *8 *$' out || fail "vLLM's block is not there"

# A folder that holds a run is not written over.
expect 2 "same folder" loadgen run s.yaml --out a --progress none
says "a"

# A one-point run against a server that is there, over a unix socket too.
"${bound[@]}" "$BIN_DIR/fakeengine" --uds "$tmp/sock" --prefill-ms 1 --per-token-ms 1 --tokens 4 >listening &
engine=$!
await_lines listening 1 $engine
expect 0 "one point" loadgen run --base-url "unix:$tmp/sock" --num-prompts 6 --max-concurrency 3 --random-input-len 5 \
	--output-len 4 --out d --no-plots --progress none
[ "$(column d/points.csv ok)" = 6 ] || fail "one-point run: not 6 ok"
kill $engine
