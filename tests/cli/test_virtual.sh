#!/usr/bin/env bash
# Virtual time: the same scenario over HTTP and simulated gives the same rows and the same token timeline; one seed, one
# set of files; sweeps; what is refused.
. "$(dirname "$0")/lib.sh"
cd "$tmp" || exit 1
static_set=output.forced_tokens=12
vllm_set=cost.jitter_cv=0.05

# scenario TARGETS: serial load, so that over HTTP the same requests meet the same steps.
scenario() {
	cat <<-YAML
		name: both
		seed: 5
		$1
		workload:
		  prompts: {text: ["Explain a mutex.", "Now in one line.", "Why do two threads wait for each other?"]}
		  output_tokens: 30
		load: {serial: {requests: 6}}
		warmup: {requests: 1}
		output: {plots: []}
	YAML
}
scenario "targets: [{name: static, profile: seed-vllm, set: {${static_set/=/: }}}, {name: vLLM, profile: kind-vllm-a100, set: {${vllm_set/=/: }}},
  {name: spec, profile: kind-vllm-a100, set: {scheduler.num_speculative_tokens: 2, speculation.acceptance: 0.7}}]" >virtual.yaml
scenario "targets:
  - {name: static, launch: {program: fakeengine, args: [--profile, seed-vllm, --set, \"$static_set\", --port, \"0\", --truth, $tmp/truth.static]}}
  - {name: vLLM, launch: {program: fakeengine, args: [--profile, kind-vllm-a100, --set, \"$vllm_set\", --port, \"0\", --truth, $tmp/truth.vLLM]}}
  - {name: spec, launch: {program: fakeengine, args: [--profile, kind-vllm-a100, --set, scheduler.num_speculative_tokens=2, --set, speculation.acceptance=0.7, --port, \"0\", --truth, $tmp/truth.spec]}}" >http.yaml

# timeline DIR: request, token, ns since the request's first token, from events.bin.
timeline() {
	od -An -v -t u4 -j16 -w4 "$1/events.bin" | awk '
		{ word[++n] = $1 }
		END {
			for (i = 1; i <= n; i += 3 + 4 * count) {
				count = word[i + 2]
				for (k = 0; k < count; k++) {
					t = word[i + 3 + 4 * k] + word[i + 4 + 4 * k] * 4294967296
					if (k == 0) first = t
					printf "req-%d,%d,%d\n", word[i] + word[i + 1] * 4294967296, k, t - first
				}
			}
		}' | sort
}

expect 0 "virtual" loadgen run virtual.yaml --clock virtual --out a
grep -q '^simulated in virtual time, seed 5, complete$' out || fail "the report does not say that it was simulated"
grep -q '"clock":.*"virtual"' a/run.json || fail "run.json does not say so"
grep -q '^clock: virtual' a/scenario.yaml || fail "scenario.yaml does not say so"
[ "$(column a/requests.csv clock_source | sort -u)" = virtual ] || fail "rows do not say so"
[ "$(column a/points.csv ok | sum)" = 18 ] || fail "not all ok"
ls a | grep -q engine && fail "an engine was launched"

# One seed: the same files, but for when it was.
expect 0 "virtual again" loadgen run virtual.yaml --clock virtual --out b
for file in scenario.yaml requests.csv events.bin points.csv server.csv report.html; do
	cmp "a/$file" "b/$file" || fail "$file differs between two runs"
done
diff a/run.json b/run.json | grep '^[<>]' | grep -vE '"(started_utc|wall_minus_monotonic_ns)"' && fail "run.json differs"
expect 0 "as its archive" loadgen run a/scenario.yaml --out c
cmp a/requests.csv c/requests.csv || fail "the archived scenario runs otherwise"
cp a/summary.json summary.json
expect 0 "report" loadgen report a
cmp a/summary.json summary.json || fail "report makes another summary.json"

# The constant profile is its closed form to the nanosecond: 80 ms, then 4 ms a token.
paste -d, <(column a/requests.csv target) <(column a/requests.csv send_ns) <(column a/requests.csv token1_ns) \
	<(column a/requests.csv token_last_ns) | awk -F, '$1 == "static" { n++; if ($3 - $2 != 84e6 || $4 - $3 != 44e6) bad++ }
	END { exit n != 7 || bad }' || fail "seed-vllm is not its closed form"

# Over HTTP: the same rows, and to the nanosecond the same timeline by the engine's own account.
# The look before a load is a request like others, and its steps would have their share of the noise.
expect 0 "http" loadgen run http.yaml --out h --progress none --no-preflight
for c in prompt_id prompt_tokens output_tokens planned_output_tokens finish_reason outcome http_status streamed; do
	diff <(paste <(column a/requests.csv request_id) <(column a/requests.csv $c) | sort) \
		<(paste <(column h/requests.csv request_id) <(column h/requests.csv $c) | sort) >diff || fail "$c differs: $(head -3 diff)"
done
timeline a >timeline.a
[ "$(grep -cvE '^req-(2,|3)' timeline.a)" = $((7 * 12 + 7 * 30)) ] || fail "not every token has its event"
# Tokens of one step share an event.
cat truth.static truth.vLLM truth.spec | awk -F, '/^req-/ {
	if ($2 == 0) { first[$1] = $3; n[$1] = 0 }
	if ($2 == 0 || $3 != last[$1]) printf "%s,%d,%d\n", $1, n[$1]++, $3 - first[$1]
	last[$1] = $3 }' | sort >timeline.h
diff timeline.a timeline.h >diff || fail "the timeline differs from that over HTTP: $(head -4 diff)"

# What is refused over HTTP is refused alike.
expect 1 "too long" loadgen run virtual.yaml --clock virtual --out long --target vLLM --set 'targets[vLLM].set[scheduler.max_model_len]=8'
column long/requests.csv error >error
grep -q '^"\?HTTP 400: ' error || fail "no refusal: $(head -2 error)"
grep -q 'maximum context length is 8 tokens' error || fail "another reason: $(head -2 error)"

# Limits are kept by the model's clock, to the nanosecond.
expect 1 "timeout" loadgen run virtual.yaml --clock virtual --out timeout --target static --set limits.timeout=100ms \
	--set 'load={closed: {concurrency: 3, requests: 9}}'
[ "$(column timeout/requests.csv outcome | sort | uniq -c | awk '{print $1, $2}')" = "10 timeout" ] || fail "not all timed out"
paste -d, <(column timeout/requests.csv send_ns) <(column timeout/requests.csv done_ns) <(column timeout/requests.csv output_tokens) |
	awk -F, '$2 - $1 != 100e6 || $3 != 4 { bad++ } END { exit bad > 0 }' || fail "not after 100 ms and 4 tokens"
expect 1 "grace" loadgen run virtual.yaml --clock virtual --out grace --target static --set limits.grace=20ms \
	--set 'load={closed: {concurrency: 2, duration: 200ms}}'
[ "$(column grace/requests.csv outcome | sort | uniq -c | awk '{print $1, $2}' | paste -sd,)" = "2 cancelled,3 ok" ] ||
	fail "grace: $(column grace/requests.csv outcome | sort | uniq -c)"

# LoRA: each request names an adapter as its model, the same one over HTTP.
scenario "targets: [{name: vLLM, profile: kind-vllm-a100, set: {scheduler.max_loras: 1, lora.adapters: '[sql, chat]', output.ends_after: 5}}]" >lora.yaml
lora=(loadgen run lora.yaml --set 'load={closed: {concurrency: 2, requests: 8}}' --set 'workload.lora_modules=[sql, chat]')
expect 0 "lora" "${lora[@]}" --clock virtual --out lora
expect 0 "lora over HTTP" "${lora[@]}" --out lora_http --progress none
for c in request_id lora_module outcome; do
	diff <(column lora/requests.csv $c | sort) <(column lora_http/requests.csv $c | sort) || fail "lora: $c differs"
done
[ "$(column lora/requests.csv lora_module | sort -u | paste -sd,)" = 0,1 ] || fail "not both adapters were asked for"
[ "$(column lora/points.csv ok | sum)" = 8 ] || fail "not all ok"
expect 1 "another adapter" "${lora[@]}" --clock virtual --out nobody --set 'workload.lora_modules=[nobody]'
column nobody/requests.csv error | grep -q 'The model `nobody` does not exist' || fail "an adapter that is not there answered"

# A small run, row by row.
scenario "targets: [{name: vLLM, profile: kind-vllm-a100, set: {cost.jitter_cv: 0, scheduler.max_num_seqs: 2}}]" >golden.yaml
expect 0 "golden" loadgen run golden.yaml --clock virtual --out golden --set 'load={closed: {concurrency: 3, requests: 8}}'
golden=$here/tests/golden/virtual_requests.csv
[ "${UPDATE_GOLDENS:-}" = 1 ] && cp golden/requests.csv "$golden"
diff "$golden" golden/requests.csv >diff || fail "rows differ from $golden (UPDATE_GOLDENS=1 writes it anew): $(head -4 diff)"

# Sweeps: a curve for each place of the grid.
cat virtual.yaml - >sweep.yaml <<-'YAML'
	clock: virtual
	sweep: {target.profile.scheduler.max_num_seqs: [1, 2], target.profile.cost.ingest: [0, 5ms]}
YAML
expect 0 "sweep" loadgen run sweep.yaml --out sweep --target vLLM --set 'load={closed: {concurrency: 2, requests: 8}}'
[ "$(wc -l <sweep/points.csv)" = 5 ] || fail "not 4 points: $(cat out)"
grep -q '^"vLLM, max_num_seqs 2, ingest 5ms"' sweep/points.csv || fail "curves are not named by their values"
expect 2 "sweep of another key" loadgen run sweep.yaml --out none --set 'sweep[target.profile.scheduler.max_seqs]=[1]'
expect 2 "sweep over HTTP" loadgen run sweep.yaml --out none --clock real
says "virtual time only"

# Fleets: how many replicas are enough, and that one process serves one engine.
scenario "targets: [{name: vLLM, profile: kind-vllm-a100, set: {scheduler.max_num_seqs: 1}}]" >fleet.yaml
expect 0 "fleet" loadgen run fleet.yaml --clock virtual --out fleet --set 'slo={ttft: 500ms}' \
	--set 'sweep={target.profile.router: [least_loaded], target.profile.replicas: [1, 8, 2, 4]}' \
	--set 'load={closed: {concurrency: 4, requests: 16}}' --set workload.output_tokens=100
tr -s '\n ' ' ' <out | grep -q 'replicas 4: the smallest value of replicas tried that meets the SLO at closed 4; 2 misses it' ||
	fail "the smallest fleet is not told: $(cat out)"
expect 2 "fleet over HTTP" "$BIN_DIR/fakeengine" --profile kind-vllm-a100 --set replicas=2
says "virtual time only"

# What answers say: an echo is as long as what was asked, a reference as the set has it, over HTTP as here.
cat >set.jsonl <<-'JSONL'
	{"conversations": ["Explain a mutex.", "One at a time."], "reference_tokens": 9}
	{"conversations": ["Now in one line.", "A door with one key."]}
	{"conversations": ["Why do two threads wait for each other?", "Each holds what the other wants."]}
JSONL
for text in echo "reference=$tmp/set.jsonl"; do
	keys="text: '$text', output.ends_after: text"
	scenario "targets: [{name: T, profile: kind-vllm-a100, set: {$keys}}]" >text.yaml
	rm -rf t h2
	expect 0 "text $text" loadgen run text.yaml --clock virtual --out t --set workload.output_tokens=500 --set workload.request.ignore_eos=false
	expect 0 "text $text over HTTP" loadgen run text.yaml --out h2 --progress none --set workload.output_tokens=500 --set workload.request.ignore_eos=false
	for c in output_tokens finish_reason; do
		diff <(column t/requests.csv $c) <(column h2/requests.csv $c) || fail "$text: $c differs over HTTP"
	done
	column t/requests.csv output_tokens | sort -nu | paste -sd, >lengths.${text%%=*}
done
[ "$(cat lengths.echo)" = 4,5,9 ] || fail "echoes have other lengths: $(cat lengths.echo)"
[ "$(cat lengths.reference)" = 6,7,9 ] || fail "references have other lengths: $(cat lengths.reference)"
expect 2 "no set" loadgen run text.yaml --clock virtual --out none --set "targets[T].set[text]=reference=$tmp/nothing"
says "nothing: No such file"

# Profiles that play their engine's server: its own dialect, and fields that it does not know, which over HTTP a look
# before the load leaves out.
scenario "targets:
  - {name: HF, profile: policy-hf-cb-7b}
  - {name: SGLang, profile: policy-sglang-7b, dialect: sglang-generate}
  - {name: TGI, profile: policy-tgi-7b, dialect: tgi-generate-stream}
  - {name: llama.cpp, profile: policy-llamacpp-7b, dialect: llamacpp-completion}" >wires.yaml
expect 0 "wires" loadgen run wires.yaml --clock virtual --out w --set 'load={serial: {requests: 3}}'
expect 0 "wires over HTTP" loadgen run wires.yaml --out wh --progress none --set 'load={serial: {requests: 3}}'
says 'HF: streams, tells usage: 16 tokens in 16 events; refuses, so the run leaves out: stream_options, ignore_eos'
for c in prompt_tokens output_tokens outcome; do
	diff <(paste <(column w/requests.csv request_id) <(column w/requests.csv $c) | sort) \
		<(paste <(column wh/requests.csv request_id) <(column wh/requests.csv $c) | sort) >diff || fail "wires: $c differs: $(head -3 diff)"
done

# No model is given, and none is looked at: it is still learnt.
expect 0 "virtual, not looked at" loadgen run virtual.yaml --clock virtual --out unseen --no-preflight
cmp a/requests.csv unseen/requests.csv || fail "rows differ without the look before the load"

# What would be refused request by request is refused once, before the first; not where any name is taken for the model,
# nor without the look before the load.
refused_at_once() {
	expect 2 "$1" "${@:3}" --out none --progress none
	says "$2"
	[ "$(wc -l <err)" = 1 ] || fail "$1: more than one line: $(cat err)"
}
many=(--set 'load={closed: {concurrency: 2, requests: 1000000}}')
refused_at_once "another model" 'target vLLM: model nobody is not among those served: llama-2-7b-chat' \
	loadgen run virtual.yaml --clock virtual "${many[@]}" --set 'targets[vLLM].model=nobody'
refused_at_once "a path that is not there" 'target vLLM: every request would be refused: HTTP 404: ' \
	loadgen run virtual.yaml --clock virtual "${many[@]}" --set 'targets[vLLM].dialect=sglang-generate'
[ ! -e none ] || fail "a refused run left a folder"
refused_at_once "another model over HTTP" 'target vLLM: model nobody is not among those served: llama-2-7b-chat' \
	loadgen run http.yaml --target vLLM "${many[@]}" --set 'targets[vLLM].model=nobody'
rm -r none
expect 0 "any model" loadgen run wires.yaml --clock virtual --out any --target TGI --set 'targets[TGI].model=nobody' --set 'targets[TGI].dialect=openai-chat'
expect 1 "not looked at" loadgen run virtual.yaml --clock virtual --out blind --no-preflight --target vLLM --set 'targets[vLLM].model=nobody'
[ "$(column blind/requests.csv outcome | sort -u)" = http_4xx ] || fail "not looked at: not http_4xx in every row"

# Real engines have no place in it.
expect 2 "url" loadgen run http.yaml --clock virtual --out none
says 'targets[0]: "static" is a real engine, and the clock is virtual'
expect 2 "no such profile" loadgen run virtual.yaml --clock virtual --out none --set targets[static].profile=nobody
says 'target static: '
expect 2 "no such clock" loadgen run virtual.yaml --clock sundial --out none
[ ! -e none ] || fail "a refused run left a folder"

# Several processes: the files of one, to the byte.
cat sweep.yaml - >jobs.yaml <<-'YAML'
	slo: {ttft: 1s}
YAML
for n in 1 2; do
	expect 0 "$n jobs" loadgen run jobs.yaml --target vLLM --target spec --jobs $n --out jobs$n --progress none \
		--set 'load={open: {rate: [5, 20], requests: 12}}' --set 'output.plots=[heatmap]' --set output.scrape=50ms
done
for file in scenario.yaml requests.csv events.bin points.csv server.csv report.html; do
	cmp jobs1/$file jobs2/$file || fail "$file differs between one process and two"
done
[ "$(wc -l <jobs1/server.csv)" -gt 20 ] || fail "jobs: engines were not watched"
diff jobs1/run.json jobs2/run.json | grep '^[<>]' | grep -vE '"(started_utc|wall_minus_monotonic_ns)"' && fail "jobs: run.json differs"
diff jobs1/summary.json jobs2/summary.json | grep '^[<>]' | grep -v '"date"' && fail "jobs: summary.json differs"
grep -q 'The best of the sweep' out || fail "a sweep has no table of the best"
grep -q '"sweep": \[' jobs1/summary.json || fail "summary.json has no settings"

# A search goes its own way at each target.
find=(loadgen run jobs.yaml --target vLLM --progress none --no-plots --set 'load={find: {max_concurrency: {from: 1, to: 8, resolution: 1, requests: 6}}}')
for n in 1 3; do
	expect 0 "find, $n jobs" "${find[@]}" --jobs $n --out find$n
done
cmp find1/points.csv find3/points.csv || fail "a search by jobs finds otherwise"
cmp find1/requests.csv find3/requests.csv || fail "a search by jobs asks otherwise"

# A search among settings tries some of the grid, by rounds that do not depend on the processes, and finds the best of all.
cat >settings.yaml <<-'YAML'
	clock: virtual
	targets: [{name: vLLM, profile: kind-vllm-a100, set: {cost.jitter_cv: 0}}]
	workload: {prompts: {synthetic: {input_tokens: 300}}, output_tokens: 60}
	load: {open: {rate: [10, 20], requests: 60}}
	slo: {ttft: 1s, tpot: 20ms, share: 0.7}
	output: {events: false, scrape: 0, plots: [heatmap, goodput]}
YAML
grid='{target.profile.scheduler.max_num_seqs: {from: 2, to: 64}, target.profile.scheduler.max_num_batched_tokens: {from: 64, to: 2048}}'
for n in 1 2; do
	expect 0 "settings, $n jobs" loadgen run settings.yaml --jobs $n --out settings$n --progress none --set "find={max_goodput: $grid}"
done
grep -q 'max_num_seqs 16, max_num_batched_tokens 128 is the best: .* (22 of 36 settings tried)' <(tr -s '\n ' ' ' <out) ||
	fail "another setting is the best: $(cat out)"
for file in scenario.yaml requests.csv points.csv report.html; do
	cmp settings1/$file settings2/$file || fail "settings: $file differs between one process and two"
done
expect 0 "all settings" loadgen run settings.yaml --out grid --progress none --no-plots --set "sweep=$grid"
best_setting() { grep -m1 -A9 '"sweep"' "$1/summary.json" | grep -v '"sweep"'; }
[ -n "$(best_setting grid)" ] && diff <(best_setting grid) <(best_setting settings1) || fail "the search missed the best setting"
[ "$(cut -d'"' -f2 settings1/points.csv | tail -n +2 | sort -u | wc -l)" = 22 ] || fail "points.csv has not every setting that was tried"
[ "$(cut -d'"' -f2 grid/points.csv | tail -n +2 | sort -u | wc -l)" = 36 ] || fail "the grid has not 36 places"
settings() { sed -n '/"sweep"/,$p' settings1/summary.json; }
settings >settings.told
expect 0 "report of a search" loadgen report settings1
diff settings.told <(settings) >diff || fail "settings: report makes another summary.json: $(head -4 diff)"
grep -q '^Beside the best: vLLM, max_num_seqs 16' out || fail "a search does not tell what lies beside the best: $(cat out)"
# Of a sweep without rows only points are kept, and each is that of its setting run alone, rows and all: plans, readings
# and processes are shared, and nothing shows.
cat >sweep.yaml <<-'YAML'
	name: sweep
	clock: virtual
	targets: [{name: v, profile: kind-vllm-a100}]
	sweep: {target.profile.scheduler.max_num_seqs: [4, 16, 32], target.profile.scheduler.max_num_batched_tokens: [32, 256, 2048]}
	workload:
	  prompts: {synthetic: {input_tokens: {dist: uniform, min: 1, max: 900}, shared_prefix: {tokens: 32, groups: 3}}}
	  output_tokens: {dist: uniform, min: 1, max: 200}
	load: {open: {rate: [4, 20], requests: 80}}
	slo: {ttft: 2s, tpot: 60ms}
	output: {plots: []}
YAML
# figures FILE [TARGET]: the lines of points.csv without the place and time in the run, and the intervals, which each target
# draws for itself.
figures() {
	tail -n +2 "$1" | grep -F "${2:-max_num_seqs}" | sed 's/^"[^"]*",//' | cut -d, -f"$(head -1 points/points.csv | tr , '\n' |
		awk 'NR > 1 && !/^point$|^level_(start|end)_ns$|_(low|high)(_ms)?$/ { printf "%s%d", n++ ? "," : "", NR - 1 }')"
}
expect 0 "a sweep without rows" loadgen run sweep.yaml --jobs 2 --out points --set output.rows=false
[ -e points/requests.csv ] && fail "there are rows"
[ -e points/events.bin ] && fail "there are events"
expect 0 "the same with rows" loadgen run sweep.yaml --jobs 1 --out rows
cmp points/points.csv rows/points.csv || fail "points differ without rows"
for place in "4 32" "16 2048" "32 256"; do
	read -r seqs tokens <<<"$place"
	set_to="sweep={target.profile.scheduler.max_num_seqs: [$seqs], target.profile.scheduler.max_num_batched_tokens: [$tokens]}"
	expect 0 "$place alone" loadgen run sweep.yaml --out "alone.$seqs" --set "$set_to"
	figures "alone.$seqs/points.csv" >alone
	figures points/points.csv "max_num_seqs $seqs, max_num_batched_tokens $tokens" >swept
	[ "$(wc -l <alone)" = 2 ] || fail "$place: no points"
	cmp alone swept || fail "$place: another point than the sweep's"
done
expect 0 "a report of points" loadgen report points --no-plots
grep -q "max_num_seqs 16" out || fail "the report of points: $(cat out)"

# What one process must see whole, or has no use for more.
expect 2 "jobs of a real run" loadgen run http.yaml --jobs 2 --out none
says "--jobs: targets have turns of their own in virtual time only"
expect 2 "too many jobs" "${find[@]}" --jobs 5 --out none
says "want at most 4"
expect 2 "jobs and failures" "${find[@]}" --jobs 2 --out none --set limits.max_failures=3
says "limits.max_failures counts in one process"

# Ctrl-C keeps what was measured; a job that is killed is named, and the others go on.
long=(run jobs.yaml --target vLLM --progress none --no-plots --jobs 2 --set 'load={closed: {concurrency: 2, requests: 8000}}' --set output.events=false)
"${bound[@]}" "$BIN_DIR/loadgen" "${long[@]}" --out stopped >out 2>err &
run=$!
until [ "$(wc -l 2>"$tmp/null" <stopped/requests.csv || echo 0)" -gt 20 ]; do kill -0 $run || fail "it ended: $(cat err)"; done
kill -INT $run
wait $run
[ $? = 130 ] || fail "jobs, interrupted: $(cat err)"
grep -q '"ended":.*"interrupted"' stopped/run.json || fail "jobs: run.json does not say that it was interrupted"
[ "$(tail -n +2 stopped/requests.csv | awk -F, '{ print $1 }' | sort | uniq -d | wc -l)" = 0 ] || fail "jobs, interrupted: a request twice"
grep -q ',ok,' stopped/requests.csv || fail "jobs, interrupted: nothing was kept"
short=("${long[@]}" --set 'load={closed: {concurrency: 2, requests: 3000}}')
"${bound[@]}" "$BIN_DIR/loadgen" "${short[@]}" --out killed >out 2>err &
run=$!
until [ "$(wc -l 2>"$tmp/null" <killed/requests.csv || echo 0)" -gt 20 ]; do kill -0 $run || fail "it ended: $(cat err)"; done
read -r victim _ <"/proc/$run/task/$run/children"
kill -KILL "$victim"
wait $run
[ $? = 1 ] || fail "a killed job: $(cat err)"
grep -q "job [0-3] (process $victim, vLLM, max_num_seqs [12], ingest .*) was killed by signal 9" err || fail "the killed job is not named: $(cat err)"
grep -q '"ended":.*"job_lost"' killed/run.json || fail "run.json does not say that a job was lost"
[ "$(wc -l <killed/requests.csv)" = $((1 + 4 + 4 * 3000)) ] || fail "a killed job: not a row for each request: $(wc -l <killed/requests.csv)"
