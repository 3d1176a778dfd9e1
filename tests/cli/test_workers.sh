#!/usr/bin/env bash
# Several processes share the load: the same requests at the same times as from one, rows in order, whatever ends it.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# same_rows A B COLUMN...: the two runs have the same requests, told by these columns.
same_rows() {
	local a=$1 b=$2 c
	shift 2

	for c in request_id "$@"; do
		diff <(paste <(column "$a/requests.csv" request_id) <(column "$a/requests.csv" "$c") | sort) \
			<(paste <(column "$b/requests.csv" request_id) <(column "$b/requests.csv" "$c") | sort) >diff ||
			fail "$c differs between $a and $b: $(head -3 diff)"
	done
}

# since_start DIR: each request's planned time after its level's start, in us.
since_start() {
	awk -F, 'NR == FNR { if (FNR == 1) for (i = 1; i <= NF; i++) { if ($i == "point") p = i; if ($i == "level_start_ns") s = i } else start[$p] = $s; next }
		FNR == 1 { for (i = 1; i <= NF; i++) { if ($i == "point") q = i; if ($i == "sched_ns") t = i; if ($i == "request_id") r = i }; next }
		$q >= 0 { printf "%s %d\n", $r, ($t - start[$q]) / 1000 }' "$1/points.csv" "$1/requests.csv" | sort
}

identity="target point repeat load_kind concurrency rate prompt_id planned_output_tokens output_tokens outcome level index session turn"

small_scenario 'load: {open: {rate: [200, 400], requests: 12}}' 'warmup: {requests: 1}' >open.yaml
small_scenario 'load: {closed: {concurrency: [2, 7], requests: 11}}' >closed.yaml
sed 's/  prompts: .*/  prompts: {synthetic: {input_tokens: 5}}/' <<<"$(small_scenario 'load: {sessions: {users: [2, 7], turns: 2, conversations: 7}}')" >sessions.yaml
for kind in open closed sessions; do
	expect 0 "$kind, one process" loadgen run $kind.yaml --out $kind.1 --progress none --no-plots
	expect 0 "$kind, three workers" loadgen run $kind.yaml --out $kind.3 --progress none --no-plots --workers 3
	same_rows $kind.1 $kind.3 $identity
	[ "$(column $kind.1/requests.csv worker | sort -u | xargs)" = "0" ] || fail "$kind: one process has one worker"
	[ "$(column $kind.3/requests.csv worker | sort -u | xargs)" = "0 1 2" ] || fail "$kind: not all workers worked"
	[ "$(column $kind.1/points.csv ok | xargs)" = "$(column $kind.3/points.csv ok | xargs)" ] || fail "$kind: points differ"
	# In the order in which requests ended, but for the loop's own lag.
	column $kind.3/requests.csv done_ns >done_ns
	[ "$(paste <(head -n -1 done_ns) <(tail -n +2 done_ns) | awk '$1 - $2 > 20e6' | wc -l)" = 0 ] ||
		fail "$kind: rows are out of order"
	[ "$(column $kind.1/points.csv events | xargs)" = "$(column $kind.3/points.csv events | xargs)" ] || fail "$kind: events were lost"
done
diff <(since_start open.1) <(since_start open.3) >diff || fail "open: other arrivals: $(head -3 diff)"

# Recorded traffic: each row goes to one of them, at its time.
awk 'BEGIN { print "Timestamp,Request tokens,Response tokens"; for (i = 0; i < 20; i++) print i / 100 "," 5 + i "," 1 + i % 7 }' >trace.csv
small_scenario 'load: {open: {trace: trace.csv, speed: 2}}' | sed 's/^  prompts: .*/  prompts: trace/; /output_tokens: 10/d' >trace.yaml
for n in 1 3; do
	expect 0 "trace, $n workers" loadgen run trace.yaml --out trace.$n --progress none --no-plots --workers $n
done
same_rows trace.1 trace.3 $identity prompt_tokens
diff <(since_start trace.1) <(since_start trace.3) >diff || fail "trace: other arrivals: $(head -3 diff)"
[ "$(column trace.3/requests.csv worker | sort -u | xargs)" = "0 1 2" ] || fail "trace: not all workers worked"
[ "$(column trace.3/requests.csv planned_output_tokens | sum)" = "$(tail -n +2 trace.csv | awk -F, '{ n += $3 } END { print n }')" ] ||
	fail "trace: not the trace's lengths"

# Thresholds are held against the rows of all of them.
expect 0 "expect, held" loadgen run closed.yaml --out held --progress none --no-plots --workers 3 --set 'expect={ok: "= 11", failed: "= 0", output_tokens: "= 110"}'
grep -q 'What was expected holds: 3 thresholds' out || fail "expect: the report does not say what holds: $(cat out)"
expect 1 "expect, missed" loadgen run closed.yaml --out missed --progress none --no-plots --workers 3 --set 'expect={ok: "< 11"}'
says 'fake: expected ok < 11, it was 11 at closed 2, and it was missed elsewhere too'

cp closed.3/summary.json summary.json
expect 0 "report" loadgen report closed.3 --no-plots
cmp -s closed.3/summary.json summary.json || fail "the rows of workers make another summary.json"

# Side by side, and a search: phases like any other.
small_scenario 'load: {interleave: true, closed: {concurrency: 4, requests: 12}}' |
	sed 's/^workload:/  - name: other\n    launch: {program: fakeengine, args: [--port, "0", --per-token-ms, "2", --tokens, "10"]}\n&/' >pair.yaml
expect 0 "interleave" loadgen run pair.yaml --out pair --progress none --no-plots --workers 2
[ "$(column pair/points.csv ok | xargs)" = "12 12" ] || fail "interleave: not 12 each"
small_scenario 'load: {find: {max_concurrency: {from: 1, to: 4, resolution: 1, requests: 8}}}' 'slo: {ttft: 500ms}' >find.yaml
expect 0 "find" loadgen run find.yaml --out find --progress none --no-plots --workers 2
grep -q '"highest_met":.*4' find/run.json || fail "find: $(grep highest_met find/run.json)"

# What cannot be shared out is refused.
refused() {
	expect 2 "$1" loadgen run closed.yaml --workers 3 --set "$2" --out never --progress none
	says "$3"
	[ ! -e never ] || fail "$1: began"
}
refused "too many workers" 'load={serial: {requests: 3}}' "want at most 1"
refused "a cap" 'load={open: {rate: 9, requests: 9, max_concurrency: 2}}' "load.open.max_concurrency"
refused "a rule" 'load={closed: {concurrency: 4, requests: 9}, stop_when: {ttft: 1s}}' "load.stop_when"

# More streams than files: said before anything is sent, with the way out.
small_scenario 'load: {closed: {concurrency: 100, requests: 100}}' >many.yaml
expect 2 "files" bash -c "ulimit -n 200; '$BIN_DIR/loadgen' run many.yaml --out few --progress none"
says "workers: 2"
expect 0 "files for two" bash -c "ulimit -n 200; '$BIN_DIR/loadgen' run many.yaml --out few --progress none --no-plots --workers 2"
[ "$(column few/points.csv ok)" = 100 ] || fail "not 100 streams from two workers"

# Ctrl-C: what is in flight is cancelled, every planned request has its row.
small_scenario 'load: {closed: {concurrency: 6, requests: 500}}' >long.yaml
"${bound[@]}" "$BIN_DIR/loadgen" run long.yaml --out stopped --progress none --no-plots --workers 3 >out 2>err &
run=$!
await_lines stopped/requests.csv 20 $run
kill -INT $run
wait $run
[ $? = 130 ] || fail "interrupted: $(cat err)"
[ "$(column stopped/requests.csv outcome | wc -l)" = 500 ] || fail "interrupted: not a row for each request"
[ "$(column stopped/requests.csv request_id | sort -u | wc -l)" = 500 ] || fail "interrupted: a request twice"
for outcome in ok cancelled dropped; do
	column stopped/requests.csv outcome | grep -qx $outcome || fail "interrupted: none is $outcome"
done

# A worker that is killed: named, its rows kept, an exit code that says so, no process left.
"${bound[@]}" "$BIN_DIR/loadgen" run long.yaml --out killed --progress none --no-plots --workers 3 >out 2>err &
run=$!
await_lines killed/requests.csv 20 $run
victim=$(cat "/proc/$run/task/$run/children" | xargs -n1 | tail -1)
kill -KILL "$victim"
wait $run
[ $? = 1 ] || fail "a killed worker: $(cat err)"
grep -q "worker [0-2] (process $victim) was killed by signal 9" err || fail "the killed worker is not named: $(cat err)"
grep -q '"ended":.*"worker_lost"' killed/run.json || fail "run.json does not say that a worker was lost"
[ "$(column killed/requests.csv worker | sort -u | xargs)" = "0 1 2" ] || fail "a killed worker's rows are not kept"
[ "$(column killed/requests.csv request_id | sort -u | wc -l)" = 500 ] || fail "a killed worker: not a row for each request"

# The run itself is killed: nothing is left behind, its rows can be read.
"${bound[@]}" "$BIN_DIR/loadgen" run long.yaml --out gone --progress none --no-plots --workers 3 >out 2>err &
run=$!
await_lines gone/requests.csv 20 $run
read -r -a children <"/proc/$run/task/$run/children" # the engine's keeper, then the workers
kill -KILL $run
wait $run
for child in "${children[@]:1}"; do
	tail --pid="$child" -s 0.05 -f /dev/null
done
expect 0 "report of a killed run" loadgen report gone --no-plots
