#!/usr/bin/env bash
# Peers that fail: the run goes on, each request has its outcome, the exit code says so. And a run that is
# interrupted or killed: what was measured stays, no engine stays behind.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# Nobody listens: nothing to measure, nothing sent. Port 9 of loopback is never served here.
expect 2 "dead port" loadgen run --base-url http://127.0.0.1:9 --model m --num-prompts 3 --output-len 2 --out none
says "127.0.0.1:9"
[ ! -e none ] || fail "a results folder was made"
expect 1 "dead port, recorded" loadgen run --base-url http://127.0.0.1:9 --model m --num-prompts 3 --output-len 2 \
	--no-preflight --no-plots --out dead --progress none
[ "$(column dead/requests.csv outcome | sort | uniq -c | awk '{print $1, $2}')" = "3 connect" ] || fail "not 3 connect"

expect 1 "dead port, no model" loadgen run --base-url http://127.0.0.1:9 --num-prompts 3 --output-len 2 \
	--no-preflight --no-plots --out nameless --progress none
[ "$(column nameless/requests.csv outcome | sort -u)" = connect ] || fail "no model: not connect in every row"
small_scenario 'load: {closed: {concurrency: 2, requests: 4}}' |
	sed 's/^workload:/  - {name: dead, url: "http:\/\/127.0.0.1:9"}\n&/' >beside.yaml
expect 1 "a dead port beside an engine" loadgen run beside.yaml --out beside --progress none
says "target dead: nobody listens"
[ "$(paste -d' ' <(column beside/points.csv target) <(column beside/points.csv ok) <(column beside/points.csv failed) | xargs)" = "fake 4 0 dead 0 4" ] ||
	fail "a dead port beside an engine: $(cat beside/points.csv)"

# The engine dies in the middle: 40 requests of 0.2 s, one at a time; killed after the first rows are there.
slow='targets[0].launch.args=[--port, "0", --prefill-ms, "100", --per-token-ms, "10", --tokens, "10"]'
small_scenario 'load: {closed: {concurrency: 2, requests: 40}}' >s.yaml
"${bound[@]}" "$BIN_DIR/loadgen" run s.yaml --set "$slow" --out dies --progress none >out 2>err &
run=$!
await_lines dies/requests.csv 4 $run
engine=$(find_process "$BIN_DIR/fakeengine --port 0 --prefill-ms 100 " | head -1)
kill -9 "$engine"
wait $run
[ $? = 1 ] || fail "an engine that died gives exit code 1: $(cat err)"
[ "$(column dies/requests.csv outcome | wc -l)" = 40 ] || fail "every planned request has a row"
column dies/requests.csv outcome | grep -qE '^(closed|truncated|connect)$' || fail "no failed outcome"
column dies/requests.csv outcome | grep -q '^ok$' || fail "no ok outcome"
grep -q 'killed by signal 9' err || fail "the death is not told: $(cat err)"

# Ctrl-C: in order, exit code 130, cancelled rows, a report.
"${bound[@]}" "$BIN_DIR/loadgen" run s.yaml --set "$slow" --out stopped --progress none >out 2>err &
run=$!
await_lines stopped/requests.csv 3 $run
kill -INT $run
wait $run
[ $? = 130 ] || fail "interrupt: exit code is not 130: $(cat err)"
[ "$(column stopped/requests.csv outcome | wc -l)" = 40 ] || fail "interrupt: not every planned request has a row"
column stopped/requests.csv outcome | grep -q '^cancelled$' || fail "interrupt: nothing cancelled"
column stopped/requests.csv outcome | grep -q '^dropped$' || fail "interrupt: nothing dropped"
grep -q TTFT out || fail "interrupt: no report"

# kill -9: the rows are readable, the engine goes too.
"${bound[@]}" "$BIN_DIR/loadgen" run s.yaml --set "$slow" --out killed --progress none >out 2>err &
run=$!
await_lines killed/requests.csv 3 $run
engine=$(find_process "$BIN_DIR/fakeengine --port 0 --prefill-ms 100 " | head -1)
[ -n "$engine" ] || fail "no engine found"
kill -9 $run
wait $run 2>/dev/null
timeout 20 tail --pid="$engine" -f /dev/null || fail "the engine outlived a killed loadgen"
expect 0 "report of a killed run" loadgen report killed --no-plots
grep -q TTFT out || fail "killed: no table"
grep -qi killed out || fail "the report does not say that the run was killed"

fast='targets[0].launch.args=[--port, "0", --prefill-ms, "1", --per-token-ms, "0.1", --tokens, "10"]'
# No room for a file in mid-run, as on a full disk: it ends at once, with a word, and what was written can be reported.
(
	ulimit -f 64
	exec timeout -s KILL 60 "$BIN_DIR/loadgen" run s.yaml --set "$fast" --set 'load={closed: {concurrency: 8, duration: 1h}}' --out no_room --progress none >out 2>err
)
got=$?
[ $got = 2 ] || fail "no room: exit code $got"
grep -q 'no_room/.*: File too large; what was written before can be reported: loadgen report no_room' err || fail "no room: $(cat err)"
grep -q '"ended":.*"write_failed"' no_room/run.json || fail "no room: run.json does not say why it ended"
expect 0 "report of it" loadgen report no_room --no-plots
grep -q TTFT out || fail "no room: no table"
