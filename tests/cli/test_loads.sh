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

# Batches: one request carries many prompts, and its tokens are those of all.
small_scenario 'load: {batch: {size: [1, 3], requests: 4}}' |
	sed 's/- name: fake/- name: fake\n    model: fake-model\n    dialect: openai-completions/' >batch.yaml
expect 0 "batch" loadgen run batch.yaml --out batch --progress none
[ "$(outcomes batch)" = "8 ok" ] || fail "batch: $(outcomes batch)"
[ "$(column batch/requests.csv output_tokens | sort -n | uniq -c | awk '{ print $1, $2 }' | xargs)" = "4 10 4 30" ] ||
	fail "batch: not the tokens of all prompts"
grep -q 'batch 3' out || fail "the report does not name the load"
small_scenario 'load: {batch: {size: 2, requests: 1}}' >s.yaml
expect 2 "batch of a chat" loadgen run s.yaml --out none --progress none
says "s.yaml:4:"
says "openai-completions"

# Cancellations: rows of their own kind, neither ok nor failed, and no reason to exit with 1.
small_scenario 'load: {closed: {concurrency: 4, requests: 60}, cancel: {share: 0.3, after_tokens: 4}}' >cancel.yaml
expect 0 "cancel" loadgen run cancel.yaml --out cancel --progress none
cancelled=$(column cancel/requests.csv outcome | grep -c '^cancelled$')
[ "$cancelled" -gt 8 ] && [ "$cancelled" -lt 30 ] || fail "cancelled $cancelled of 60 at a share of 0.3"
[ "$(column cancel/points.csv cancelled)" = "$cancelled" ] || fail "points.csv counts other cancellations"
[ "$(column cancel/points.csv planned)" = $((60 - cancelled)) ] || fail "planned holds those to be cancelled"
[ "$(column cancel/points.csv ok)" = $((60 - cancelled)) ] || fail "not all others are ok"
[ "$(column cancel/points.csv failed)" = 0 ] || fail "a planned cancellation counts as a failure"
paste <(column cancel/requests.csv outcome) <(column cancel/requests.csv output_tokens) |
	awk '$1 == "cancelled" && ($2 < 4 || $2 > 6) { bad = 1 } $1 == "ok" && $2 != 10 { bad = 1 } END { exit bad }' ||
	fail "cancelled at another token"
cp cancel/summary.json summary.json
expect 0 "report of cancellations" loadgen report cancel --no-plots
cmp -s cancel/summary.json summary.json || fail "report makes another summary.json"
grep -q "beside them $cancelled were cancelled" out || fail "the report does not tell of them"

# A batch file, and that it is a prompt set again.
small_scenario 'load: {serial: {requests: 3}}' | sed 's/- name: fake/- name: fake\n    model: m/' >serial.yaml
expect 0 "openai batch" loadgen plan serial.yaml --openai-batch
[ "$(wc -l <out)" = 3 ] || fail "not a line a request"
grep -q '^{"custom_id":"req-10000000","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":\[{"role":"user",' out ||
	fail "not an OpenAI batch line: $(head -1 out)"
cp out set.jsonl
sed 's/^  prompts: .*/  prompts: {file: set.jsonl, pick: sequential}/' serial.yaml >again.yaml
expect 0 "the batch file asked" loadgen plan again.yaml --openai-batch
cmp -s out set.jsonl || fail "a batch file read and written is another one"
small_scenario 'load: {serial: {requests: 3}}' >s.yaml
expect 2 "batch file without a model" loadgen plan s.yaml --openai-batch
says "model is missing"

# Given up when saturated: eight clients of an engine with one slot. The level ends early, the higher one is not
# tried, the lower one is whole; what was not sent is neither planned nor dropped.
small_scenario 'load: {closed: {concurrency: [1, 8, 16], requests: 20}, stop_when: {ttft: 400ms}}' |
	sed 's/^    launch: .*/    profile: kind-vllm-a100\n    set: {scheduler.max_num_seqs: 1}/' >stop.yaml
expect 0 "stop_when" loadgen run stop.yaml --out stop --progress none
says "target fake, closed 8: given up after"
[ "$(column stop/points.csv concurrency | xargs)" = "1 8" ] || fail "another level was tried: $(column stop/points.csv concurrency | xargs)"
set -- $(column stop/points.csv planned)
[ "$1" = 20 ] && [ "$2" -lt 20 ] && [ "$2" -ge 12 ] || fail "stop_when: planned $1 and $2"
[ "$(column stop/points.csv ok | xargs)" = "$1 $2" ] || fail "stop_when: what had started was not finished"
cp stop/summary.json summary.json
expect 0 "report of what was given up" loadgen report stop --no-plots
cmp -s stop/summary.json summary.json || fail "report makes another summary.json"

# In virtual time too: sessions grow, cancellations cancel.
small_scenario 'load: {sessions: {users: 2, turns: 3, think_time: 50ms, conversations: 6}, cancel: {share: 0.5, after_tokens: 4}}' |
	sed 's/^    launch: .*/    profile: kind-vllm-a100/; s/^  prompts: .*/  prompts: {synthetic: {input_tokens: 20}}/' >virtual.yaml
expect 0 "virtual sessions" loadgen run virtual.yaml --clock virtual --out virtual --progress none
[ "$(column virtual/requests.csv outcome | wc -l)" = 18 ] || fail "virtual sessions: not 18 requests"
column virtual/requests.csv outcome | grep -q '^cancelled$' || fail "virtual: nothing was cancelled"
paste <(column virtual/requests.csv outcome) <(column virtual/requests.csv output_tokens) |
	awk '$1 == "cancelled" && $2 != 4 { exit 1 }' || fail "virtual: cancelled at another token"
paste -d' ' <(column virtual/requests.csv session) <(column virtual/requests.csv turn) <(column virtual/requests.csv outcome) \
	<(column virtual/requests.csv prompt_tokens) | sort -k1n -k2n |
	awk '$3 == "ok" && $4 < 20 * ($2 + 1) { exit 1 }' || fail "virtual: a turn without its history"
