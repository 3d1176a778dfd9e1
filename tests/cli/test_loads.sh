#!/usr/bin/env bash
# The kinds of load beside closed and open loops by rate: what they plan is what they send.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# outcomes DIR: "8 ok 1 failed ..." of requests.csv.
outcomes() {
	column "$1/requests.csv" outcome | sort | uniq -c | awk '{ printf "%s%s %s", sep, $1, $2; sep = " " }'
}

# Traces: the rows' own times and lengths, faster and cut.
printf 'Timestamp,Request tokens,Response tokens\n5,20,3\n5.1,30,4\n5.2,0,0\n5.4,40,5\n9,50,6\n' >trace.csv
small_scenario 'load: {open: {trace: trace.csv, speed: 2, span: 1s}}' | sed 's/^  prompts: .*/  prompts: trace/; /output_tokens: 10/d' >trace.yaml
expect 0 "trace" loadgen run trace.yaml --out trace --progress none
[ "$(column trace/requests.csv planned_output_tokens | sort | xargs)" = "3 4 5" ] || fail "not the trace's lengths"
says "1 failed requests (0 tokens) are left out of 5"
column trace/requests.csv sched_ns | sort -n | awk 'NR == 1 { first = $1 } { printf "%d ", ($1 - first) / 1e6 + 0.5 }' >times
[ "$(cat times)" = "0 50 200 " ] || fail "not the trace's times at double speed: $(cat times)"
grep -q 'trace x2' out || fail "the report does not name the load"
printf 'Timestamp,Request tokens,Response tokens\n5,20,3\n6,x,3\n' >trace.csv
expect 2 "trace with a bad row" loadgen run trace.yaml --out none --progress none
says "trace.csv:3: Request tokens:"
[ ! -e none ] || fail "a results folder was made"

# A plan of an open load is a trace that sends the same.
small_scenario 'load: {open: {rate: 100, requests: 12}}' >open.yaml
loadgen plan open.yaml --csv >plan.csv
small_scenario 'load: {open: {trace: plan.csv}}' | sed 's/^  prompts: .*/  prompts: trace/; /output_tokens: 10/d' >replay.yaml
expect 0 "plan of a plan" loadgen plan replay.yaml --csv
for c in sched_ms output_tokens prompt; do
	cmp -s <(column plan.csv $c) <(column out $c) || fail "the replayed plan has another $c"
done

# A ramp: sent as planned.
small_scenario 'load: {open: {arrival: {ramp: {from: 10, to: 200}}, duration: 300ms}}' >ramp.yaml
expect 0 "ramp" loadgen run ramp.yaml --out ramp --progress none
loadgen plan ramp.yaml --csv >plan.csv
[ "$(column ramp/requests.csv outcome | wc -l)" = "$(column plan.csv sched_ms | wc -l)" ] || fail "ramp: not the planned requests"

# Sessions: each turn carries what was said before, so prompts grow by question and answer.
printf '{"turns": ["one two", "three", "four five six"]}\n{"turns": ["seven"]}\n' >talk.jsonl
small_scenario 'load: {sessions: {users: [1, 2], turns: all, think_time: 20ms, conversations: 4}}' |
	sed 's/^  prompts: .*/  prompts: {file: talk.jsonl, pick: sequential}/' >talk.yaml
expect 0 "sessions" loadgen run talk.yaml --out talk --progress none
[ "$(outcomes talk)" = "16 ok" ] || fail "sessions: $(outcomes talk)"
paste -d' ' <(column talk/requests.csv point) <(column talk/requests.csv session) <(column talk/requests.csv turn) \
	<(column talk/requests.csv prompt_tokens) <(column talk/requests.csv sched_ns) <(column talk/requests.csv done_ns) |
	sort -k1n -k2n -k3n | awk '
		BEGIN { p = -1 }
		$1 == p && $2 == s { if ($3 != t + 1 || $4 < n + 10 || $5 - d != 20000000) bad = 1 }
		!($1 == p && $2 == s) && $3 != 0 { bad = 1 }
		{ p = $1; s = $2; t = $3; n = $4; d = $6 }
		END { exit bad }' || fail "a turn without its history, or not when it was planned"
expect 0 "plan of sessions" loadgen plan talk.yaml --csv
diff <(paste <(column out request_id) <(column out session) <(column out turn) <(column out prompt_id) | sort) \
	<(paste <(column talk/requests.csv request_id) <(column talk/requests.csv session) <(column talk/requests.csv turn) \
		<(column talk/requests.csv prompt_id) | sort) >diff || fail "the plan is not what was sent: $(head -3 diff)"
cp talk/summary.json summary.json
expect 0 "report of sessions" loadgen report talk --no-plots
cmp -s talk/summary.json summary.json || fail "report makes another summary.json"
grep -q '2 users' out || fail "the report does not name the load"
