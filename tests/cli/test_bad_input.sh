#!/usr/bin/env bash
# Bad input: one line with the place, exit code 2, nothing sent, nothing launched, nothing written.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1

# refused TEXT LINES...: the small scenario with these lines must be refused with TEXT in the message.
refused() {
	local text=$1
	shift
	small_scenario "$@" >s.yaml
	expect 2 "$*" loadgen run s.yaml --out results --progress none
	says "$text"
	[ "$(wc -l <err)" = 1 ] || fail "$*: more than one line: $(cat err)"
	[ ! -e results ] || fail "$*: a results folder was made"
}

load='load: {closed: {concurrency: 1, requests: 2}}'
refused 's.yaml:10:' 'load: {closed: {concurrncy: 1, requests: 2}}'
says 'concurrency'
refused 's.yaml:10:' 'load: {closed: {concurrency: zero, requests: 2}}'
refused 's.yaml:10:' 'load: {closed: {concurrency: 0, requests: 2}}'
refused 'requests' 'load: {closed: {concurrency: 1}}'
refused 's.yaml:11:' "$load" 'seed: 4'
refused 's.yaml:11:' "$load" 'limits: {timeout: 10}'
refused 's.yaml:11:' "$load" 'wormup: {requests: 1}'
refused 's.yaml' "$load" 'a: [1'
refused 'load' 'repeats: 2'
expect 2 "no file" loadgen run nowhere.yaml
says 'nowhere.yaml'
small_scenario "$load" >s.yaml
expect 2 "unknown flag" loadgen run s.yaml --concurency 3
says '--concurency'
expect 2 "flag without value" loadgen run s.yaml --out
says '--out'
expect 2 "bad --set" loadgen run s.yaml --set load.closed.concurrency=many
says '--set'
expect 2 "unknown target" loadgen run s.yaml --target nobody
says 'nobody'
expect 2 "no command" loadgen frobnicate
says 'frobnicate'
expect 2 "prompts missing" loadgen run s.yaml --set 'workload.prompts={file: gone.jsonl}'
says 'gone.jsonl'
printf '{"conversations": ["q", "a"]}\n{"conversations": 3}\n' >bad.jsonl
expect 2 "bad prompt line" loadgen run s.yaml --set 'workload.prompts={file: bad.jsonl}' --out results
says 'bad.jsonl:2'
[ ! -e results ] || fail "a results folder was made"

# The results folder is proved before anything is launched.
touch blocked
expect 2 "unwritable" loadgen run s.yaml --out blocked/run --progress none
says 'blocked'

# A program that is not there, one that dies, one that never says where it listens.
expect 2 "no program" loadgen run s.yaml --set 'targets[0].launch.program=no-such-engine' --out r1 --progress none
says 'no-such-engine'
expect 2 "dies" loadgen run s.yaml --set 'targets[0].launch.args=[--no-such-flag]' --out r2 --progress none
says 'no-such-flag'
expect 2 "silent" loadgen run s.yaml --set 'targets[0].launch={program: sleep, args: ["60"], timeout: 200ms}' --out r3 --progress none
says 'listening on'

expect 2 "fakeengine flag" "$BIN_DIR/fakeengine" --prefil-ms 3
says '--prefill-ms'
expect 2 "fakeengine profile" "$BIN_DIR/fakeengine" --profile no-such-profile
says 'no-such-profile'
expect 2 "fakeengine key" "$BIN_DIR/fakeengine" --profile kind-vllm-a100 --set scheduler.max_num_sequences=3
says 'max_num_seqs'
