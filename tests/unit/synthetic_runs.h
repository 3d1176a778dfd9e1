/*
 * Whole runs that never happened, as a report sees them: the seed's demo, engines that batch under
 * closed and open load, a table of thirteen cells, and one with everything that goes wrong.
 * Included by tests.
 */
#ifndef TESTS_SYNTHETIC_RUNS_H
#define TESTS_SYNTHETIC_RUNS_H

#include <stdio.h>

#include "base/buf.h"
#include "loadgen/report.h"
#include "synthetic.h"

struct synth_report {
	struct report_input in;
	struct scenario *s;
	struct synth_run run;
	struct point *points;
};

static inline struct scenario *synth_scenario(const char *yaml)
{
	struct scenario *s;
	struct err e;

	if (scenario_parse(&s, "synthetic", yaml, strlen(yaml), NULL, NULL, &e) != RC_OK)
		fail_msg("%s", e.msg);
	return s;
}

/* Every target through every level and repeat; tokens an answer; open levels get requests of their
 * duration. */
static inline void synth_report_init(struct synth_report *r, const char *yaml,
				     const struct synth_engine *engines, int32_t tokens)
{
	int64_t t = 1000 * NS_PER_S;
	int id = 0;

	memset(r, 0, sizeof(*r));
	r->s = synth_scenario(yaml);
	synth_run_init(&r->run, 5);
	r->points =
		xcalloc((size_t)r->s->n_targets * (size_t)r->s->n_levels * (size_t)r->s->repeats,
			sizeof(*r->points));
	for (int target = 0; target < r->s->n_targets; target++) {
		for (int repeat = 0; repeat < r->s->repeats; repeat++) {
			for (int level = 0; level < r->s->n_levels; level++, id++) {
				const struct level *l = &r->s->levels[level];
				int64_t n = l->requests ? l->requests
							: (int64_t)(l->rate_per_s *
								    (double)l->duration_ns / 1e9);
				size_t first;

				if (l->kind == LOAD_CLOSED && !l->requests)
					n = INT64_C(10) * l->concurrency;
				first = synth_level(&r->run, &engines[target], r->s, target, id,
						    level, repeat, n, tokens, t);
				synth_point(&r->points[id], &r->run, r->s, first, r->run.n - first,
					    t);
				for (size_t i = first; i < r->run.n; i++)
					t = r->run.records[i].done_ns > t
						    ? r->run.records[i].done_ns
						    : t;
			}
		}
	}
	r->in = (struct report_input){.scenario = r->s,
				      .points = r->points,
				      .n_points = (size_t)id,
				      .records = r->run.records,
				      .n_records = r->run.n,
				      .dir = "/nowhere",
				      .started_utc = "2026-11-24T12:00:00Z",
				      .ended = "complete"};
}

static inline void synth_report_release(struct synth_report *r)
{
	synth_run_release(&r->run);
	scenario_free(r->s);
	free(r->points);
}

/* Computes a point again after its records were changed. */
static inline void synth_report_again(struct synth_report *r, int id,
				      const struct self_watch_point *self)
{
	const struct record **list = xcalloc(r->run.n + 1, sizeof(struct record *));
	int64_t start_ns = INT64_MAX;
	size_t n = 0;

	for (size_t i = 0; i < r->run.n; i++) {
		if (r->run.records[i].point != id)
			continue;
		list[n++] = &r->run.records[i];
		start_ns = r->run.records[i].sched_ns < start_ns ? r->run.records[i].sched_ns
								 : start_ns;
	}
	point_compute(&r->points[id], r->s, list, n, start_ns, self);
	free(list);
}

static inline void synth_demo(struct synth_report *r)
{
	static const struct synth_engine engines[] = {
		{.prefill_ms = 84, .step_ms = 4, .constant = true},
		{.prefill_ms = 32, .step_ms = 2, .constant = true},
	};

	synth_report_init(
		r,
		"name: demo\n"
		"description: Two fake engines of constant service time under 1 to 16 concurrent "
		"requests\n"
		"seed: 42\n"
		"targets:\n"
		"  - {name: vLLM (fake), url: 'http://127.0.0.1:1', model: fake-model}\n"
		"  - {name: Friendli (fake), url: 'http://127.0.0.1:2', model: fake-model}\n"
		"workload: {prompts: {text: [hello]}, output_tokens: 128}\n"
		"load: {closed: {concurrency: [1, 2, 4, 8, 16], requests: 20}}\n"
		"slo: {ttft: 100ms, tpot: 10ms}\n",
		engines, 128);
}

/* Three engines that batch, three repeats. */
static inline void synth_batching(struct synth_report *r)
{
	static const struct synth_engine engines[] = {
		{.prefill_ms = 12, .step_ms = 9, .seq_ms = 0.15, .slots = 64, .jitter = 0.2},
		{.prefill_ms = 9, .step_ms = 7, .seq_ms = 0.25, .slots = 48, .jitter = 0.3},
		{.prefill_ms = 60, .step_ms = 25, .seq_ms = 1.5, .slots = 4, .jitter = 0.1},
	};

	synth_report_init(
		r,
		"name: batching\n"
		"description: Three engines that batch, a 7B model\n"
		"seed: 7\n"
		"targets:\n"
		"  - {name: vLLM (A100), url: 'http://127.0.0.1:1', model: llama-7b}\n"
		"  - {name: SGLang (A100), url: 'http://127.0.0.1:2', model: llama-7b}\n"
		"  - {name: llama.cpp (GPU), url: 'http://127.0.0.1:3', model: llama-7b}\n"
		"workload: {prompts: {text: [hello]}, output_tokens: 64}\n"
		"load: {closed: {concurrency: [1, 2, 4, 8, 16, 32, 64], duration: 10s}}\n"
		"repeats: 3\n"
		"slo: {ttft: 200ms, tpot: 20ms}\n"
		"output: {plots: [throughput, latency, cdf, timeline, goodput, server]}\n",
		engines, 64);
}

/* Poisson arrivals past what the engine can take; failures, a late client, waste. */
static inline void synth_open_loop(struct synth_report *r)
{
	static const struct synth_engine engines[] = {
		{.prefill_ms = 6, .step_ms = 9, .seq_ms = 0.12, .slots = 64, .jitter = 0.2},
		{.prefill_ms = 9, .step_ms = 8, .seq_ms = 0.35, .slots = 32, .jitter = 0.2},
	};
	struct self_watch_point slow = {4200, NAN, NAN, 0.95};
	int broken = 0;

	synth_report_init(
		r,
		"name: open-loop-slo\n"
		"description: A 7B model, Poisson arrivals\n"
		"seed: 11\n"
		"targets:\n"
		"  - {name: vLLM (A100), url: 'http://127.0.0.1:1', model: llama-7b}\n"
		"  - {name: 'it''s_\"odd\"\\ `x` {', url: 'http://127.0.0.1:2', model: llama-7b}\n"
		"workload: {prompts: {text: [hello]}, output_tokens: 96}\n"
		"load: {open: {rate: [5, 10, 15, 20, 25, 30, 40], arrival: poisson, duration: "
		"12s}}\n"
		"slo: {ttft: 500ms, tpot: 30ms}\n"
		"output: {plots: [goodput, throughput, latency, cdf, server, timeline]}\n",
		engines, 96);
	for (size_t i = 0; i < r->run.n; i++) {
		struct record *q = &r->run.records[i];

		if (q->point != 6 || q->index % 40)
			continue;
		q->outcome = broken++ % 2 ? OUTCOME_TIMEOUT : OUTCOME_HTTP_5XX;
		snprintf(q->error, sizeof(q->error), "%s",
			 broken % 2 ? "503 Service Unavailable" : "timeout: idle 20 s");
	}
	synth_report_again(r, 6, &slow);
}

/* Thirteen cells of a matrix; one request at a time, then four. */
static inline void synth_matrix(struct synth_report *r)
{
	static const struct {
		const char *row, *column;
		double published;
	} cells[] = {
		{"mpt-7b-chat", "vLLM 0.1.3", 84.37},
		{"mpt-7b-chat", "TGI 1.0.1", 67.16},
		{"falcon-7b-instruct", "vLLM 0.1.3", 82.68},
		{"vicuna-13b-v1.3", "vLLM 0.1.3", 41.14},
		{"vicuna-13b-v1.5", "Transformers 4.31", 30.40},
		{"vicuna-13b-v1.5", "vLLM 0.1.3", 48.42},
		{"vicuna-13b-v1.5", "TGI 1.0.1", 49.48},
		{"oasst-30b", "Transformers 4.31", 14.89},
		{"oasst-30b", "vLLM 0.1.3", 21.80},
		{"oasst-30b", "TGI 1.0.1", 22.05},
		{"llama2-70b-chat", "Transformers 4.31", 9.53},
		{"llama2-70b-chat", "vLLM 0.1.3", 17.00},
		{"llama2-70b-chat", "TGI 1.0.1", 18.61},
	};
	struct synth_engine engines[ARRAY_LEN(cells)];
	struct buf yaml;

	buf_init(&yaml, 1u << 20);
	buf_puts(&yaml, "name: lima-speed\ndescription: LIMA-style prompts, one request at a time, "
			"then four\n"
			"matrix:\n"
			"  rows: [mpt-7b-chat, falcon-7b-instruct, vicuna-13b-v1.3, "
			"vicuna-13b-v1.5, oasst-30b, "
			"llama2-70b-chat]\n"
			"  columns: [Transformers 4.31, vLLM 0.1.3, TGI 1.0.1]\n"
			"targets:\n");
	for (size_t i = 0; i < ARRAY_LEN(cells); i++) {
		buf_printf(&yaml,
			   "  - {name: '%s %s', url: 'http://127.0.0.1:%zu', row: %s, column: %s, "
			   "published_tokens_per_s: %g}\n",
			   cells[i].row, cells[i].column, i + 1, cells[i].row, cells[i].column,
			   cells[i].published);
		engines[i] = (struct synth_engine){.prefill_ms = 1e3 / cells[i].published,
						   .step_ms = 1e3 / cells[i].published * 1.004,
						   .slots = i % 3 ? 0 : 1,
						   .constant = true,
						   .jitter = 0.05};
	}
	buf_puts(&yaml, "workload: {prompts: {text: [hello]}, output_tokens: 64}\n"
			"load: {serial: {requests: 10}, closed: {concurrency: 4, requests: 16}}\n");
	synth_report_init(r, buf_cstr(&yaml), engines, 64);
	buf_release(&yaml);
}

#endif
