/*
 * Every mistake a scenario can hold, with the line that is said about it. The rows show what is
 * behind the macros' common parts; messages begin behind the file's name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/check.h"
#include "loadgen/scenario.h"

#define TARGET	  "targets: [{name: a, url: \"http://h:1\"}]\n"
#define WORKLOAD  "workload: {prompts: {text: [hello]}}\n"
#define LOAD	  "load: {serial: {requests: 1}}\n"
#define ALL	  TARGET WORKLOAD LOAD
#define SIMULATED "clock: virtual\ntargets: [{name: a, profile: seed-vllm}]\n" WORKLOAD LOAD

#define SIMULATED "clock: virtual\ntargets: [{name: a, profile: seed-vllm}]\n" WORKLOAD LOAD

#define WITH_TARGET(keys)  "targets: [{name: a, " keys "}]\n" WORKLOAD LOAD
#define WITH_PROMPTS(keys) TARGET LOAD "workload: {prompts: {" keys "}}\n"
#define WITH_OUTPUT(value)                                                                         \
	TARGET LOAD "workload: {prompts: {text: [a]}, output_tokens: " value "}\n"
#define WITH_LOAD(keys) TARGET WORKLOAD "load: {" keys "}\n"

#define TOP_KEYS                                                                                   \
	"want name, description, clock, seed, workload, matrix, sweep, find, targets, load, "      \
	"warmup, "                                                                                 \
	"workers, repeats, slo, limits, output or expect"
#define URLS "want http://host:port[/prefix], https://host[:port], or unix:/path.sock"

static const struct mistake {
	const char *text, *message;
} mistakes[] = {
	{"", "1:1: workload is missing"},
	{"nothing\n",
	 "1:1: got \"nothing\", want a map with name, description, clock, seed, workload, matrix, "
	 "sweep, find, targets, load, warmup, workers, repeats, slo, limits, output or expect"},
	{WORKLOAD LOAD, "1:1: targets is missing"},
	{TARGET LOAD, "1:1: workload is missing"},
	{TARGET WORKLOAD, "1:1: load is missing"},
	{ALL "sessions: {users: 1}\n", "4:1: sessions: unknown key, " TOP_KEYS},
	{ALL "targts: []\n", "4:1: targts: unknown key (did you mean targets?)"},
	{ALL "batch: {}\n", "4:1: batch: unknown key, " TOP_KEYS},
	{ALL "include: a.yaml\n", "4:1: include: unknown key, " TOP_KEYS},
	{ALL "name: a/b\n", "4:7: name: got \"a/b\", want a name of at most 100 characters without "
			    "\"/\" and without a dot in front: the results folder has it"},
	{ALL "name: \"\"\n", "4:7: name: got nothing, want a text"},
	{ALL "seed: -1\n",
	 "4:7: seed: \"-1\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, Ki, Mi, Gi)"},
	{ALL "seed: 1.5\n",
	 "4:7: seed: 1.5 does not come out as a whole number, as 20 and 1.5k do"},
	{ALL "seed: x\n",
	 "4:7: seed: \"x\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, Ki, Mi, Gi)"},
	{ALL "clock: fast\n", "4:8: clock: got \"fast\", want real or virtual"},
	{ALL "workers: 0\n", "4:10: workers: 0 is out of range: 1 to 64 is allowed"},
	{ALL "workers: 2\n",
	 "4:10: workers: no level has so many clients to share out, want at most 1"},
	{SIMULATED "workers: 2\n",
	 "5:10: workers: virtual time has one process, want 1 (or clock: real)"},
	{ALL "clock: virtual\n",
	 "1:11: targets[0]: \"a\" is a real engine, and the clock is virtual; give it `profile:` "
	 "(`fakeengine profiles` lists them), choose others with --target, or run it with --clock "
	 "real"},
	{ALL "sweep: {target.profile.x: [1]}\n",
	 "4:8: sweep: engines are swept in virtual time only: run it with --clock virtual"},
	{SIMULATED "sweep: [1]\n",
	 "5:8: sweep: want a map, as in {target.profile.scheduler.max_num_seqs: [64, 128]}"},
	{SIMULATED "sweep: {target.profile.x: 1}\n",
	 "5:27: sweep.target.profile.x: want a list, as in [64, 128], or a range, as in {from: 8, "
	 "to: 512}"},
	{SIMULATED "sweep: {target.profile.x: {from: 4}}\n",
	 "5:27: sweep.target.profile.x: to is missing"},
	{SIMULATED "sweep: {target.profile.x: {from: 4, to: 4}}\n",
	 "5:41: sweep.target.profile.x.to: got 4, want more than from (4)"},
	{SIMULATED "sweep: {target.profile.x: {from: 0, to: 4}}\n",
	 "5:34: sweep.target.profile.x.from: got 0, which no factor leads away from: want more, or "
	 "step"},
	{SIMULATED "sweep: {target.profile.x: {from: 1, to: 4, step: 1, factor: 2}}\n",
	 "5:50: sweep.target.profile.x.step: cannot stand beside factor"},
	{SIMULATED "sweep: {target.profile.x: {from: 1, to: 5000, step: 1}}\n",
	 "5:27: sweep.target.profile.x: has more than 1000 values, want larger steps"},
	{ALL "find: {max_goodput: {target.profile.x: [1, 2]}}\n",
	 "4:21: find.max_goodput: engines are swept in virtual time only: run it with --clock "
	 "virtual"},
	{SIMULATED "find: {max_goodput: {target.profile.x: [1, 2]}}\n",
	 "5:7: find: searches for the most requests/s that meet the SLO, and there is no slo"},
	{SIMULATED "find: {}\n",
	 "5:7: find: want max_goodput, as in {max_goodput: {target.profile.scheduler.max_num_seqs: "
	 "{from: 8, to: 512}}}"},
	{SIMULATED "find: {best: {}}\n", "5:8: find.best: unknown key, want max_goodput"},
	{SIMULATED "sweep: {target.profile.x: [1]}\nfind: {max_goodput: {target.profile.y: [1]}}\n",
	 "6:7: find: cannot stand beside sweep: what it tries is its own"},
	{SIMULATED "slo: {ttft: 1s}\nfind: {max_goodput: {target.profile.a: [1], target.profile.b: "
		   "[1], target.profile.c: [1], target.profile.d: [1]}}\n",
	 "6:21: find.max_goodput: got 4 keys, want 1 to 3"},
	{SIMULATED "sweep: {target.profile.x: []}\n",
	 "5:27: sweep.target.profile.x: got an empty list, want a value or more"},
	{SIMULATED "sweep: {load.rate: [1]}\n",
	 "5:20: sweep.load.rate: want a key of the profiles, as in "
	 "target.profile.scheduler.max_num_seqs: [64, 128]"},
	{ALL "repeats: 0\n", "4:10: repeats: 0 is out of range: 1 to 1000 is allowed"},
	{ALL "repeats: 1001\n", "4:10: repeats: 1001 is out of range: 1 to 1000 is allowed"},
	{ALL "repeats: .nan\n",
	 "4:10: repeats: \".nan\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, Ki, Mi, Gi)"},
	{ALL "warmup: 3\n", "4:9: warmup: got \"3\", want a map with requests"},
	{ALL "warmup: {requests: 1001}\n",
	 "4:20: warmup.requests: 1001 is out of range: 0 to 1000 is allowed"},
	{ALL "slo: {ttft: 500}\n",
	 "4:13: slo.ttft: \"500\" is not a duration, such as 250ms or 1.5s (ns, us, ms, s, m, h)"},
	{ALL "slo: {ttft: 0}\n", "4:13: slo.ttft: got 0, want 1 ns to 720 h"},
	{ALL "slo: {ttft: -5ms}\n",
	 "4:13: slo.ttft: \"-5ms\" is not a duration, such as 250ms or 1.5s (ns, us, ms, s, m, h)"},
	{ALL "slo:\n", "4:5: slo: got nothing, want a map with ttft, tpot, e2el or share"},
	{ALL "slo: {itl: 5ms}\n", "4:7: slo.itl: unknown key, want ttft, tpot, e2el or share"},
	{ALL "limits: {connect: 0}\n", "4:19: limits.connect: got 0, want 1.00 ms to 720 h"},
	{ALL "limits: {timeout: 31h, idle: 1000h}\n",
	 "4:30: limits.idle: got 1000h, want 1.00 ms to 720 h"},
	{ALL "limits: {max_failures: -1}\n", "4:24: limits.max_failures: \"-1\" is not a count, "
					     "such as 20, 1.5k or 4Ki (k, M, G, Ki, Mi, Gi)"},
	{ALL "output: {scrape: 1ms}\n",
	 "4:18: output.scrape: got 1ms, want 10 ms or more, or 0 for no scraping"},
	{ALL "output: {plots: cdf}\n", "4:17: output.plots: want a list, as in [a, b]"},
	{ALL "output: {plots: [../x]}\n", "4:18: output.plots[0]: got \"../x\", want throughput, "
					  "latency, cdf, timeline, goodput, server or heatmap"},
	{ALL "output: {rows: false}\n",
	 "4:16: output.rows: what is measured is kept: want true, or clock: virtual"},
	{SIMULATED "output: {rows: false, events: true}\n",
	 "5:31: output.events: events belong to rows, and there are none"},
	{SIMULATED "output: {rows: false, plots: [latency, cdf]}\n",
	 "5:30: output.plots: cdf is drawn from rows, and there are none"},
	{ALL "output: {events: yes}\n", "4:18: output.events: got \"yes\", want true or false"},
	{ALL "matrix: {rows: [a]}\n", "4:9: matrix: columns is missing"},
	{ALL "matrix: {rows: [], columns: [a]}\n",
	 "4:16: matrix.rows: got an empty list, want a label or more"},
	{ALL "matrix: {rows: [a, a], columns: [a]}\n", "4:20: matrix.rows[1]: \"a\" given twice"},
	{ALL "description: a\nseed: 1\nseed: 2\n", "6:1: seed: key given twice, first in line 5"},
	{ALL "name: \"${HOME}\"\n", "4:7: name: ${...} is filled in only in url and headers"},
	{"targets: {}\n" WORKLOAD LOAD,
	 "1:10: targets: want a list of 1 to 1000 targets, as in [{name: a, url: ...}]"},
	{"targets: []\n" WORKLOAD LOAD,
	 "1:10: targets: want a list of 1 to 1000 targets, as in [{name: a, url: ...}]"},
	{"targets: [a]\n" WORKLOAD LOAD,
	 "1:11: targets[0]: got \"a\", want a map with name, url, dialect, model, endpoint, "
	 "launch, profile, set, api_key_env, api_key_file, headers, request, row, column, "
	 "published_tokens_per_s, cost_per_hour or expect"},
	{"targets: [{url: \"http://h\"}]\n" WORKLOAD LOAD, "1:11: targets[0]: name is missing"},
	{WITH_TARGET("x: 1"),
	 "1:21: targets[0].x: unknown key, want name, url, dialect, model, "
	 "endpoint, launch, profile, set, api_key_env, api_key_file, headers, "
	 "request, row, column, published_tokens_per_s, cost_per_hour or expect"},
	{WITH_TARGET("model: m"),
	 "1:11: targets[0]: url, launch or profile is missing: where is this engine?"},
	{WITH_TARGET("url: \"http://h:1\", profile: p"),
	 "1:49: targets[0].profile: stands beside url, want one of them"},
	{WITH_TARGET("launch: {program: x}, profile: p"),
	 "1:52: targets[0].profile: stands beside launch, want one of them"},
	{WITH_TARGET("url: \"http://h:1\", set: {a: 1}"),
	 "1:45: targets[0].set: changes a profile, and this target has none"},
	{WITH_TARGET("profile: p, set: [a]"),
	 "1:38: targets[0].set: want a map, as in {scheduler.max_num_seqs: 64}"},
	{WITH_TARGET("profile: p, set: {a: [1]}"),
	 "1:42: targets[0].set.a: got a list, want a text"},
	{WITH_TARGET("profile: /no/such.yaml"),
	 "1:30: targets[0].profile: no such file: /no/such.yaml (paths are relative to the "
	 "scenario)"},
	{WITH_TARGET("profile: /"), "1:30: targets[0].profile: not a file: /"},
	{WITH_TARGET("launch: {args: [a]}"), "1:29: targets[0].launch: program is missing"},
	{WITH_TARGET("launch: {program: x, ready: up}"),
	 "1:49: targets[0].launch.ready: got \"up\", want a path that begins with /"},
	{WITH_TARGET("launch: {program: x, timeout: 0}"),
	 "1:51: targets[0].launch.timeout: got 0, want 1.00 ms to 720 h"},
	{WITH_TARGET("launch: {program: x, args: -v}"),
	 "1:48: targets[0].launch.args: want a list, as in [a, b]"},
	{WITH_TARGET("url: \"ftp://h\""),
	 "1:26: targets[0].url: got \"ftp://h\": no scheme that is known; " URLS},
	{WITH_TARGET("url: \"http://\""),
	 "1:26: targets[0].url: got \"http://\": the host is missing; " URLS},
	{WITH_TARGET("url: \"http://h:0\""),
	 "1:26: targets[0].url: got \"http://h:0\": a port is a number from 1 to 65535; " URLS},
	{WITH_TARGET("url: \"http://h:70000\""),
	 "1:26: targets[0].url: got \"http://h:70000\": a port is a number from 1 to 65535; " URLS},
	{WITH_TARGET("url: \"http://h:x\""),
	 "1:26: targets[0].url: got \"http://h:x\": a port is a number from 1 to 65535; " URLS},
	{WITH_TARGET("url: \"http://u:p@h\""),
	 "1:26: targets[0].url: got an address with a user, query or fragment, want "
	 "http://host:port[/prefix] (for keys see api_key_env)"},
	{WITH_TARGET("url: \"http://h/?a=b\""),
	 "1:26: targets[0].url: got an address with a user, query or fragment, want "
	 "http://host:port[/prefix] (for keys see api_key_env)"},
	{WITH_TARGET("url: \"http://h h\""),
	 "1:26: targets[0].url: got \"http://h h\": a character that no URL has; " URLS},
	{WITH_TARGET("url: \"http://[::1\""),
	 "1:26: targets[0].url: got \"http://[::1\": the address in brackets is not one; " URLS},
	{WITH_TARGET("url: \"unix:rel.sock\""),
	 "1:26: targets[0].url: got \"unix:rel.sock\": a socket's path begins with / and has 107 "
	 "bytes at most; " URLS},
	{WITH_TARGET("url: \"http://h\\r\\nX: y\""),
	 "1:26: targets[0].url: got \"http://h??X: y\": a character that no URL has; " URLS},
	{WITH_TARGET("url: \"http://${SCENARIO_TEST_UNSET}:1\""),
	 "1:26: targets[0].url: environment variable SCENARIO_TEST_UNSET is not set"},
	{WITH_TARGET("url: \"http://${1}:1\""), "1:26: targets[0].url: got \"${1\", want ${NAME} "
						"with the name of an environment variable"},
	{WITH_TARGET("url: \"http://${HOME\""), "1:26: targets[0].url: got \"${HOME\", want "
						"${NAME} with the name of an environment variable"},
	{WITH_TARGET("url: \"${SCENARIO_TEST_BLANK}\""),
	 "1:26: targets[0].url: no URL once the variables are filled in, " URLS},
	{WITH_TARGET("url: \"http://h:1\", dialect: openai"),
	 "1:49: targets[0].dialect: got \"openai\", want openai-chat, "
	 "openai-completions, openai-responses, openai-embeddings, anthropic-messages, "
	 "sglang-generate, tgi-generate-stream or llamacpp-completion"},
	{WITH_TARGET("url: \"http://h:1\", model: \"\""),
	 "1:47: targets[0].model: got nothing, want a text"},
	{WITH_TARGET("url: \"http://h:1\", model: \"${M}\""),
	 "1:47: targets[0].model: ${...} is filled in only in url and headers"},
	{WITH_TARGET("url: \"http://h:1\", endpoint: v1/x"),
	 "1:50: targets[0].endpoint: got \"v1/x\", want a path that begins with /"},
	{WITH_TARGET("url: \"http://h:1\", api_key_env: SCENARIO_TEST_UNSET"),
	 "1:53: targets[0].api_key_env: environment variable SCENARIO_TEST_UNSET is not set"},
	{WITH_TARGET("url: \"http://h:1\", api_key_env: sk-1234"),
	 "1:53: targets[0].api_key_env: want the name of an environment variable that holds the "
	 "key, not the key"},
	{WITH_TARGET("url: \"http://h:1\", api_key_env: SCENARIO_TEST_BLANK"),
	 "1:53: targets[0].api_key_env: the key there is empty"},
	{WITH_TARGET(
		 "url: \"http://h:1\", api_key_env: SCENARIO_TEST_KEY, api_key_file: /dev/null"),
	 "1:86: targets[0].api_key_file: stands beside api_key_env, want one of them"},
	{WITH_TARGET("url: \"http://h:1\", api_key_file: /no/such"),
	 "1:54: targets[0].api_key_file: no such file: /no/such (paths are relative to the "
	 "scenario)"},
	{WITH_TARGET("url: \"http://h:1\", api_key_file: /dev/null"),
	 "1:54: targets[0].api_key_file: not a file: /dev/null"},
	{WITH_TARGET("url: \"http://h:1\", api_key_env: SCENARIO_TEST_LINES"),
	 "1:53: targets[0].api_key_env: the key there has characters that no key has"},
	{WITH_TARGET("url: \"http://h:1\", headers: [a]"),
	 "1:49: targets[0].headers: want a map of names and values, as in {X-Team: bench}"},
	{WITH_TARGET("url: \"http://h:1\", headers: {Host: a}"),
	 "1:56: targets[0].headers.Host: is set by loadgen itself"},
	{WITH_TARGET("url: \"http://h:1\", headers: {\"a b\": c}"),
	 "1:57: targets[0].headers.a b: not the name of a header"},
	{WITH_TARGET("url: \"http://h:1\", headers: {X-A: a, x-a: b}"),
	 "1:63: targets[0].headers.x-a: given twice"},
	{WITH_TARGET("url: \"http://h:1\", headers: {X-A: \"a\\r\\nB: c\"}"),
	 "1:55: targets[0].headers.X-A: a control character in its value"},
	{WITH_TARGET("url: \"http://h:1\", headers: {X-A: \"${SCENARIO_TEST_LINES}\"}"),
	 "1:55: targets[0].headers.X-A: a control character in its value"},
	{WITH_TARGET("url: \"http://h:1\", api_key_env: SCENARIO_TEST_KEY, headers: "
		     "{authorization: b}"),
	 "1:97: targets[0].headers.authorization: stands beside an API key, which is sent in this "
	 "header"},
	{WITH_TARGET("url: \"http://h:1\", headers: {X-A: [1]}"),
	 "1:55: targets[0].headers.X-A: got a list, want a text"},
	{WITH_TARGET("url: \"http://h:1\", headers: {X-A: \"${SCENARIO_TEST_UNSET}\"}"),
	 "1:55: targets[0].headers.X-A: environment variable SCENARIO_TEST_UNSET is not set"},
	{WITH_TARGET("url: \"http://h:1\", request: {temperature: .nan}"),
	 "1:63: targets[0].request.temperature: \".nan\" is not a number, such as 1"},
	{WITH_TARGET("url: \"http://h:1\", request: {temperature: -1}"),
	 "1:63: targets[0].request.temperature: -1 is out of range: 0 to 100 is allowed"},
	{WITH_TARGET("url: \"http://h:1\", request: {max_tokens: 5}"),
	 "1:50: targets[0].request.max_tokens: unknown key, want stream, ignore_eos, temperature "
	 "or extra"},
	{WITH_TARGET("url: \"http://h:1\", request: {extra: {stream: true}}"),
	 "1:66: targets[0].request.extra.stream: is set by the scenario's own keys, not in extra"},
	{WITH_TARGET("url: \"http://h:1\", request: {extra: [1]}"),
	 "1:57: targets[0].request.extra: want a map: its members go into each request's body"},
	{WITH_TARGET("url: \"http://h:1\", row: r"),
	 "1:11: targets[0]: column is missing beside row"},
	{"matrix: {rows: [r], columns: [c]}\ntargets: [{name: a, url: \"http://h:1\", row: x, "
	 "column: c}]\n" WORKLOAD LOAD,
	 "2:45: targets[0].row: \"x\" is not in matrix.rows"},
	{WITH_TARGET("url: \"http://h:1\", published_tokens_per_s: 0"),
	 "1:64: targets[0].published_tokens_per_s: 0 is out of range: 0.001 to 1000000000 is "
	 "allowed"},
	{WITH_TARGET("url: \"http://h:1\", published_tokens_per_s: inf"),
	 "1:64: targets[0].published_tokens_per_s: \"inf\" is not a number, such as 1"},
	{"targets: [{name: a, url: \"http://h:1\"}, {name: a, url: \"http://h:2\"}]\n" WORKLOAD
		 LOAD,
	 "1:48: targets[1].name: \"a\" is another target's name"},
	{"targets: [{name: a, url: \"http://h:1\", row: r, column: c}, {name: b, url: "
	 "\"http://h:2\", row: r, column: c}]\n" WORKLOAD LOAD,
	 "1:60: targets[1]: \"a\" stands in the same row and column"},
	{WITH_PROMPTS(""),
	 "3:21: workload.prompts: no source, want one of file, text and synthetic"},
	{WITH_PROMPTS("file: /no/such.jsonl"),
	 "3:28: workload.prompts.file: no such file: /no/such.jsonl (paths are relative to the "
	 "scenario)"},
	{WITH_PROMPTS("file: /"), "3:28: workload.prompts.file: not a file: /"},
	{WITH_PROMPTS("text: [a], synthetic: {input_tokens: 5}"),
	 "3:21: workload.prompts: got several sources, want one of file, text and synthetic"},
	{WITH_PROMPTS("text: a"),
	 "3:28: workload.prompts.text: want a list of prompts, as in [\"Explain a mutex.\"]"},
	{WITH_PROMPTS("text: []"),
	 "3:28: workload.prompts.text: want a list of prompts, as in [\"Explain a mutex.\"]"},
	{WITH_PROMPTS("text: [\"\"]"), "3:29: workload.prompts.text[0]: got an empty prompt"},
	{WITH_PROMPTS("text: [[a]]"), "3:29: workload.prompts.text[0]: got a list, want a text"},
	{WITH_PROMPTS("text: [a], format: lima"),
	 "3:41: workload.prompts.format: means nothing beside text"},
	{WITH_PROMPTS("text: [a], turns: first"),
	 "3:40: workload.prompts.turns: means nothing beside text"},
	{WITH_PROMPTS("synthetic: {}"),
	 "3:33: workload.prompts.synthetic: input_tokens is missing"},
	{WITH_PROMPTS("synthetic: {input_tokens: 0}"),
	 "3:48: workload.prompts.synthetic.input_tokens: 0 is out of range: 1 to 10000000 is "
	 "allowed"},
	{WITH_PROMPTS("synthetic: {input_tokens: 5}, pick: shuffle"),
	 "3:58: workload.prompts.pick: means nothing beside synthetic"},
	{WITH_PROMPTS("synthetic: {input_tokens: 5}, limit: 3"),
	 "3:59: workload.prompts.limit: means nothing beside synthetic"},
	{WITH_PROMPTS("synthetic: {input_tokens: 5, shared_prefix: {}}"),
	 "3:66: workload.prompts.synthetic.shared_prefix: tokens is missing"},
	{WITH_PROMPTS("synthetic: {input_tokens: 5, shared_prefix: {tokens: 5, groups: 0}}"),
	 "3:86: workload.prompts.synthetic.shared_prefix.groups: 0 is out of range: 1 to 1000000 "
	 "is allowed"},
	{TARGET LOAD "workload: {prompts: trace}\n",
	 "3:21: workload.prompts: trace takes its lengths from load.open.trace, which has to be "
	 "the only load"},
	{TARGET LOAD "workload: {prompts: other}\n",
	 "3:21: workload.prompts: got \"other\", want a map with file, text, synthetic, format, "
	 "pick, turns or limit"},
	{WITH_PROMPTS("text: [a], pick: random"),
	 "3:39: workload.prompts.pick: got \"random\", want shuffle or sequential"},
	{WITH_PROMPTS("text: [a], limit: 0"),
	 "3:40: workload.prompts.limit: 0 is out of range: 1 to 1000000000 is allowed"},
	{WITH_PROMPTS("text: [a], trace: x"),
	 "3:33: workload.prompts.trace: unknown key, want file, text, synthetic, format, pick, "
	 "turns or limit"},
	{TARGET LOAD "workload: {output_tokens: 5}\n", "3:11: workload: prompts is missing"},
	{TARGET LOAD "workload: {prompts: {text: [a]}, lora_modules: sql}\n",
	 "3:48: workload.lora_modules: want a list of names, as in [sql, chat]"},
	{TARGET LOAD "workload: {prompts: {text: [a]}, lora_modules: [sql, \"\"]}\n",
	 "3:54: workload.lora_modules[1]: got an empty name"},
	{WITH_OUTPUT("0"),
	 "3:49: workload.output_tokens: 0 is out of range: 1 to 10000000 is allowed"},
	{WITH_OUTPUT("1.5"), "3:49: workload.output_tokens: 1.5 does not come out as a whole "
			     "number, as 20 and 1.5k do"},
	{WITH_OUTPUT(".nan"),
	 "3:49: workload.output_tokens: want a number, a distribution such as {dist: lognormal, "
	 "mean: 128, cv: 0.5}, reference, or {reference: {max: 512}}"},
	{WITH_OUTPUT("20M"),
	 "3:49: workload.output_tokens: 20M is out of range: 1 to 10000000 is allowed"},
	{WITH_OUTPUT("[1]"),
	 "3:49: workload.output_tokens: want a number, a distribution such as {dist: lognormal, "
	 "mean: 128, cv: 0.5}, reference, or {reference: {max: 512}}"},
	{WITH_OUTPUT("many"),
	 "3:49: workload.output_tokens: want a number, a distribution such as {dist: lognormal, "
	 "mean: 128, cv: 0.5}, reference, or {reference: {max: 512}}"},
	{WITH_OUTPUT("{mean: 5}"),
	 "3:49: workload.output_tokens: want a number, a distribution such as {dist: lognormal, "
	 "mean: 128, cv: 0.5}, reference, or {reference: {max: 512}}"},
	{WITH_OUTPUT("{dist: pareto, mean: 5}"),
	 "3:56: workload.output_tokens.dist: \"pareto\" is not a distribution: constant, uniform, "
	 "normal, lognormal, exponential, gamma"},
	{WITH_OUTPUT("{dist: lognormal, mean: 5}"),
	 "3:49: workload.output_tokens: lognormal: cv 0 must be above 0, such as 0.5 (standard "
	 "deviation / mean)"},
	{WITH_OUTPUT("{dist: lognormal, cv: 1}"), "3:49: workload.output_tokens: mean is missing"},
	{WITH_OUTPUT("{dist: lognormal, mean: 5, cv: 0}"),
	 "3:49: workload.output_tokens: lognormal: cv 0 must be above 0, such as 0.5 (standard "
	 "deviation / mean)"},
	{WITH_OUTPUT("{dist: normal, mean: 5, cv: 1, min: 9, max: 3}"),
	 "3:49: workload.output_tokens: normal: min 9 is above max 3"},
	{WITH_OUTPUT("{dist: uniform, min: 3}"), "3:49: workload.output_tokens: max is missing"},
	{WITH_OUTPUT("{dist: uniform, min: 1, max: 2, mean: 3}"),
	 "3:87: workload.output_tokens.mean: means nothing beside uniform"},
	{WITH_OUTPUT("{dist: exponential, mean: 5, cv: 1}"),
	 "3:82: workload.output_tokens.cv: means nothing beside exponential"},
	{WITH_OUTPUT("reference"), "3:49: workload.output_tokens: reference is the length of a "
				   "prompt file's own answers, and these prompts have none"},
	{WITH_OUTPUT("{reference: {max: 0}}"),
	 "3:67: workload.output_tokens.reference.max: 0 is out of range: 1 to 10000000 is allowed"},
	{WITH_OUTPUT("{reference: {}}"), "3:61: workload.output_tokens.reference: max is missing"},
	{WITH_OUTPUT("{reference: {max: 5}, mean: 3}"),
	 "3:71: workload.output_tokens.mean: unknown key, want reference"},
	{WITH_OUTPUT("{dist: [a], mean: 3}"),
	 "3:56: workload.output_tokens.dist: got a list, want a text"},
	{WITH_LOAD(""), "3:7: load: no load, want closed, open, serial, sessions, batch or find"},
	{WITH_LOAD("interleave: true"),
	 "3:7: load: no load, want closed, open, serial, sessions, batch or find"},
	{WITH_LOAD("interleave: 1"), "3:20: load.interleave: got \"1\", want true or false"},
	{WITH_LOAD("ramp: {}"),
	 "3:8: load.ramp: unknown key, want closed, open, serial, sessions, batch, "
	 "find, cancel, stop_when or interleave"},
	{WITH_LOAD("sessions: {users: 1}"),
	 "3:18: load.sessions: conversations or duration is missing: when does a level end?"},
	{WITH_LOAD("sessions: {users: 0, conversations: 1}"),
	 "3:26: load.sessions.users: 0 is out of range: 1 to 1000000 is allowed"},
	{WITH_LOAD("sessions: {users: 1, conversations: 1, turns: some}"),
	 "3:54: load.sessions.turns: \"some\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, "
	 "Ki, Mi, Gi)"},
	{WITH_LOAD("sessions: {users: 1, conversations: 1, think_time: 5}"),
	 "3:59: load.sessions.think_time: \"5\" is not a duration, such as 250ms or 1.5s (ns, us, "
	 "ms, s, m, h)"},
	{WITH_LOAD("sessions: {users: 1, conversations: 1, think_time: {dist: exponential}}"),
	 "3:59: load.sessions.think_time: mean is missing"},
	{WITH_LOAD("batch: {size: 8, requests: 2}"),
	 "1:11: targets[0]: load.batch puts many prompts into one request, which openai-chat "
	 "cannot carry; want dialect: openai-completions"},
	{WITH_LOAD("batch: {size: [0], requests: 2}"),
	 "3:23: load.batch.size[0]: 0 is out of range: 1 to 100000 is allowed"},
	{WITH_LOAD("batch: {size: 8}"),
	 "3:15: load.batch: requests or duration is missing: when does a level end?"},
	{WITH_LOAD("serial: {requests: 1}, cancel: {share: 2, after_tokens: 1}"),
	 "3:47: load.cancel.share: 2 is out of range: 1e-06 to 1 is allowed"},
	{WITH_LOAD("serial: {requests: 1}, stop_when: {itl: 5ms}"),
	 "3:43: load.stop_when.itl: unknown key, want ttft or waiting"},
	{WITH_LOAD("serial: {requests: 1}, cancel: {share: 0.5}"),
	 "3:39: load.cancel: after_tokens is missing"},
	{"targets: [{name: a, url: \"http://h:1\", request: {stream: false}}]\n" WORKLOAD
	 "load: {serial: {requests: 1}, cancel: {share: 0.5, after_tokens: 1}}\n",
	 "1:11: targets[0]: load.cancel counts tokens as they come, and this target does not "
	 "stream"},
	{TARGET "workload: {prompts: {synthetic: {input_tokens: 5}}}\n"
		"load: {sessions: {users: 1, conversations: 1}}\n",
	 "3:7: load: sessions of synthetic prompts have no end of their own, want turns: N"},
	{WITH_LOAD("concurrency: 3"),
	 "3:8: load.concurrency: unknown key, want closed, open, serial, sessions, batch, "
	 "find, cancel, stop_when or interleave"},
	{WITH_LOAD("closed: {concurrency: 1}"),
	 "3:16: load.closed: requests or duration is missing: when does a level end?"},
	{WITH_LOAD("closed: {requests: 5}"), "3:16: load.closed: concurrency is missing"},
	{WITH_LOAD("closed: {concurrency: 0, requests: 5}"),
	 "3:30: load.closed.concurrency: 0 is out of range: 1 to 1000000 is allowed"},
	{WITH_LOAD("closed: {concurrency: [1, 2000000], requests: 5}"),
	 "3:34: load.closed.concurrency[1]: 2000000 is out of range: 1 to 1000000 is allowed"},
	{WITH_LOAD("closed: {concurrency: [], requests: 5}"),
	 "3:30: load.closed.concurrency: got an empty list, want a value or a list of them"},
	{WITH_LOAD("closed: {concurrency: {a: 1}, requests: 5}"),
	 "3:30: load.closed.concurrency: got a map, want a count such as 20 or 4k"},
	{WITH_LOAD("closed: {concurrency: 1, requests: 0}"),
	 "3:43: load.closed.requests: 0 is out of range: 1 to 9999999 is allowed"},
	{WITH_LOAD("closed: {concurrency: 1, requests: 10000000}"),
	 "3:43: load.closed.requests: 10000000 is out of range: 1 to 9999999 is allowed"},
	{WITH_LOAD("closed: {concurrency: 1, duration: 30}"),
	 "3:43: load.closed.duration: \"30\" is not a duration, such as 250ms or 1.5s (ns, us, ms, "
	 "s, m, h)"},
	{WITH_LOAD("closed: {concurrency: 1, duration: 0}"),
	 "3:43: load.closed.duration: got 0, want 1.00 ms to 720 h"},
	{WITH_LOAD("closed: {concurrency: 1, rate: 4}"),
	 "3:33: load.closed.rate: unknown key, want concurrency, requests or duration"},
	{WITH_LOAD("closed: 4"),
	 "3:16: load.closed: got \"4\", want a map with concurrency, requests or duration"},
	{WITH_LOAD("serial: {}"),
	 "3:16: load.serial: requests or duration is missing: when does a level end?"},
	{WITH_LOAD("serial: {requests: .inf}"),
	 "3:27: load.serial.requests: \".inf\" is not a count, such as 20, 1.5k or 4Ki (k, M, G, "
	 "Ki, Mi, Gi)"},
	{WITH_LOAD("open: {requests: 4}"), "3:14: load.open: rate is missing"},
	{WITH_LOAD("open: {rate: 0, requests: 4}"),
	 "3:21: load.open.rate: 0 is out of range: a rate is above 0, such as 10/s, or inf"},
	{WITH_LOAD("open: {rate: -3, requests: 4}"),
	 "3:21: load.open.rate: \"-3\" is not a rate, such as 10, 10/s, 600/min or inf"},
	{WITH_LOAD("open: {rate: nan, requests: 4}"),
	 "3:21: load.open.rate: \"nan\" is not a rate, such as 10, 10/s, 600/min or inf"},
	{WITH_LOAD("open: {rate: 4}"),
	 "3:14: load.open: requests or duration is missing: when does a level end?"},
	{WITH_LOAD("open: {rate: inf, duration: 4s}"),
	 "3:21: load.open.rate: rate inf sends all requests at once: requests is missing"},
	{WITH_LOAD("open: {rate: 1M, duration: 1h}"),
	 "3:21: load.open.rate: \"1M\" is not a rate, such as 10, 10/s, 600/min or inf"},
	{WITH_LOAD("open: {rate: 1000000, duration: 1h}"),
	 "3:21: load.open.rate: 1e+06 requests/s for 3600 s are 3.6e+09 requests, want at most "
	 "9999999"},
	{WITH_LOAD("open: {rate: 0.0001, requests: 100000}"),
	 "3:21: load.open.rate: 100000 requests at 0.0001 requests/s take more than 30 days"},
	{WITH_LOAD("open: {rate: 1, requests: 4, arrival: uniform}"),
	 "3:46: load.open.arrival: want constant, poisson, {gamma: {burstiness: "
	 "0.5}} or {ramp: {from: 1, to: 20}}"},
	{WITH_LOAD("open: {rate: 1, requests: 4, arrival: {gamma: {}}}"),
	 "3:54: load.open.arrival.gamma: burstiness is missing"},
	{WITH_LOAD("open: {rate: 1, requests: 4, arrival: {gamma: {burstiness: 0}}}"),
	 "3:67: load.open.arrival.gamma.burstiness: 0 is out of range: 0.001 to 1000000 is "
	 "allowed"},
	{WITH_LOAD("open: {rate: 1, requests: 4, arrival: {ramp: {from: 1, to: 2}}}"),
	 "3:21: load.open.rate: means nothing beside a ramp"},
	{WITH_LOAD("open: {requests: 4, arrival: {ramp: {from: 1}}}"),
	 "3:44: load.open.arrival.ramp: to is missing"},
	{WITH_LOAD("open: {requests: 4, arrival: {ramp: {from: 1, to: inf}}}"),
	 "3:44: load.open.arrival.ramp: want rates that are not inf"},
	{WITH_LOAD("open: {requests: 4, arrival: {ramp: {from: 1, to: 2}}, renewal: true}"),
	 "3:72: load.open.renewal: means nothing beside a ramp"},
	{WITH_LOAD("open: {arrival: {ramp: {from: 1, to: 2}}}"),
	 "3:14: load.open: requests or duration is missing: when does a level end?"},
	{WITH_LOAD("open: {duration: 30h, arrival: {ramp: {from: 1, to: 2000}}}"),
	 "3:14: load.open: 1000.5 requests/s for 108000 s are 1.08054e+08 requests, want at most "
	 "9999999"},
	{WITH_LOAD("open: {rate: 1, requests: 4, speed: 2}"),
	 "3:44: load.open.speed: means nothing without a trace"},
	{WITH_LOAD("open: {trace: /no/such.csv}"),
	 "3:22: load.open.trace: no such file: /no/such.csv (paths are relative to the scenario)"},
	{WITH_LOAD("open: {trace: /dev/../etc/passwd, rate: 1}"),
	 "3:48: load.open.rate: means nothing with a trace"},
	{WITH_LOAD("open: {trace: /etc/passwd, speed: [1, 0]}"),
	 "3:46: load.open.speed[1]: 0 is out of range: 1e-06 to 1000000 is "
	 "allowed"},
	{WITH_LOAD("open: {rate: 1, requests: 4, max_concurrency: 0}"),
	 "3:54: load.open.max_concurrency: 0 is out of range: 1 to 1000000 is allowed"},
	{WITH_LOAD("open: {rate: 1, requests: 4, renewal: 1}"),
	 "3:46: load.open.renewal: got \"1\", want true or false"},

	{"targets: [{name: a, profile: b}]\nclock: virtual\n" WORKLOAD
	 "load: {serial: {requests: 1}, interleave: true}\nslo: {ttft: 1s}\n"
	 "find: {max_goodput: {target.profile.x: [1]}}\n",
	 "4:43: load.interleave: puts all targets under load at once, and find tries one setting "
	 "after another"},
	{WITH_LOAD("find: {}"), "3:14: load.find: want one of max_rate and max_concurrency"},
	{WITH_LOAD("find: {max_users: {from: 1, to: 2}}"),
	 "3:15: load.find.max_users: unknown key, want max_rate or max_concurrency"},
	{WITH_LOAD("find: {max_rate: {to: 2, requests: 1}}"),
	 "3:25: load.find.max_rate: from is missing"},
	{WITH_LOAD("find: {max_rate: {from: 2, to: 2, requests: 1}}"),
	 "3:39: load.find.max_rate.to: got 2/s, want a rate above from (2/s)"},
	{WITH_LOAD("find: {max_rate: {from: 1, to: 2, requests: 1, arrival: {ramp: {from: 1, to: "
		   "2}}}}"),
	 "3:64: load.find.max_rate.arrival: a probe has one rate, want constant, poisson or gamma"},
	{WITH_LOAD("find: {max_concurrency: {from: 2, to: 1, requests: 1}}"),
	 "3:46: load.find.max_concurrency.to: got 1, want more than from (2)"},
	{WITH_LOAD("find: {max_concurrency: {from: 1, to: 8}}"),
	 "3:32: load.find.max_concurrency: requests or duration is missing: when does a probe "
	 "end?"},
	{WITH_LOAD("find: {max_concurrency: {from: 1, to: 8, requests: 1, resolution: 0}}"),
	 "3:74: load.find.max_concurrency.resolution: 0 is out of range: 0.01 to 1 is allowed"},
	{WITH_LOAD("find: {max_concurrency: {from: 1, to: 8, requests: 1}}, serial: {requests: 1}"),
	 "3:14: load.find: cannot stand beside serial: what it tries is its own"},
	{WITH_LOAD("find: {max_concurrency: {from: 1, to: 8, requests: 1}}"),
	 "3:14: load.find: searches for the load that meets the SLO, and there is no slo"},
};

static void refused(const char *text, const char *message)
{
	struct scenario *s = NULL;
	struct err e = {.msg = ""};
	char want[1100];

	snprintf(want, sizeof(want), "s.yaml:%s", message);
	assert_int_equal(scenario_parse(&s, "s.yaml", text, strlen(text), NULL, NULL, &e),
			 RC_INPUT);
	assert_null(s);
	if (strcmp(e.msg, want) != 0)
		fail_msg("%s\ngot:  %s\nwant: %s", text, e.msg, want);
}

static void test_mistakes(void **state)
{
	(void)state;
	unsetenv("SCENARIO_TEST_UNSET");
	setenv("SCENARIO_TEST_BLANK", "", 1);
	setenv("SCENARIO_TEST_KEY", "k1", 1);
	setenv("SCENARIO_TEST_LINES", "secret\r\nX: y", 1);
	for (size_t i = 0; i < ARRAY_LEN(mistakes); i++)
		refused(mistakes[i].text, mistakes[i].message);
}

/* Each key fits alone; together they are more than a run should be. */
static void test_too_many_points(void **state)
{
	char text[8192];
	size_t n = 0;

	(void)state;
	n += (size_t)snprintf(text, sizeof(text), WORKLOAD "repeats: 1000\ntargets:\n");
	for (int i = 0; i < 30; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      "- {name: t%d, url: \"http://h\"}\n", i);
	n += (size_t)snprintf(text + n, sizeof(text) - n,
			      "load: {closed: {requests: 1, concurrency: [");
	for (int i = 1; i <= 40; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%d, ", i);
	snprintf(text + n, sizeof(text) - n, "41]}}\n");
	refused(text,
		"1:1: 30 targets at 41 levels in 1000 repeats are 1230000 points, want at most "
		"1000000");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_too_many_points),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
