/*
 * Owns the words about a profile, and the derivation of a model's memory. Runs at start, in
 * `fakeengine explain`. Must not know any engine by name.
 */
#include "explain.h"

#include <math.h>
#include <stdio.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/units.h"
#include "predict.h"

#define GB 1e9

/* ---- memory ---- */

/*
 * From a guide that compares engines. The second column of 4-bit rows is transformers with a
 * quantised model. "About": the guide rounds to what a card must have.
 */
const struct published_memory published_memory[] = {
	{"1B", 0.7e9, 1.6e9, false, 4, 4},    {"7B", 6e9, 8.5e9, false, 16, 16},
	{"13B", 12e9, 14.5e9, false, 28, 30}, {"70B", 60e9, 76e9, false, 150, 150},
	{"1B", 0.7e9, 1.6e9, true, 1, 2},     {"7B", 6e9, 8.5e9, true, 4, 6},
	{"13B", 12e9, 14.5e9, true, 8, 10},   {"70B", 60e9, 76e9, true, 40, 45},
};
const size_t n_published_memory = ARRAY_LEN(published_memory);

const struct published_memory *published_memory_find(const struct profile_model *m)
{
	for (size_t i = 0; i < n_published_memory; i++) {
		const struct published_memory *row = &published_memory[i];
		bool width = row->four_bit ? m->weight_bits >= 4 && m->weight_bits <= 5
					   : m->weight_bits == 16;

		if (width && m->params >= row->params_low && m->params <= row->params_high)
			return row;
	}
	return NULL;
}

void memory_need(const struct profile_model *m, const struct profile_card *c,
		 struct memory_need *out)
{
	/* A driver's context is about 0.4 GB, activations and the allocator's slack as much again.
	 */
	double overhead_per_card = 0.8 * GB;

	out->weights_bytes = hardware_weight_bytes(m);
	out->kv_bytes_per_token = hardware_kv_bytes_per_token(m);
	out->one_sequence_bytes = out->kv_bytes_per_token * EXPLAIN_SEQUENCE_TOKENS;
	out->overhead_bytes = overhead_per_card * (double)(c->count ? c->count : 1);
	out->least_bytes = out->weights_bytes + out->one_sequence_bytes + out->overhead_bytes;
}

static void explain_published_memory(struct buf *b, const struct profile_model *m, double least)
{
	const struct published_memory *row = published_memory_find(m);
	const char *server;

	if (!row) {
		buf_printf(b, "  published      nothing for a model of this size and width\n");
		return;
	}
	server = row->four_bit ? "llama.cpp" : "vLLM";
	buf_printf(b,
		   "  published      %s %s: %s about %.0f GB (derived is %+.0f %%), transformers "
		   "about %.0f GB (%+.0f %%)\n",
		   row->size, row->four_bit ? "4-bit" : "BF16", server, row->server_gb,
		   (least / GB / row->server_gb - 1) * 100, row->native_gb,
		   (least / GB / row->native_gb - 1) * 100);
}

static void explain_kv_cache(struct buf *b, const struct profile *p, const struct memory_need *need)
{
	struct sched_stats stats;
	struct sched *s = NULL;
	double tokens, all, have = (double)p->card.memory_bytes * (double)p->card.count;

	if (p->policy->open(&s, p->knobs, -1, NULL))
		return;
	p->policy->stats(s, &stats);
	p->policy->close(s);
	if (stats.usable_blocks == 0) {
		buf_printf(b, "  KV cache       the policy keeps no account of it: any number of "
			      "tokens fits\n");
		return;
	}
	tokens = (double)stats.usable_blocks * stats.block_size;
	buf_printf(b, "  KV cache       %.0f tokens: %d usable blocks of %d (given)", tokens,
		   stats.usable_blocks, stats.block_size);
	if (need->kv_bytes_per_token > 0)
		buf_printf(b, " = %.1f GB (derived)", tokens * need->kv_bytes_per_token / GB);
	buf_puts(b, "\n");
	if (need->kv_bytes_per_token == 0 || have == 0)
		return;
	all = need->weights_bytes + need->overhead_bytes + tokens * need->kv_bytes_per_token;
	buf_printf(b, "  serving needs  %.1f GB (derived), the hardware has %.1f GB (given)%s\n",
		   all / GB, have / GB, all > have ? ": WARNING, it does not fit" : "");
}

static void explain_memory(struct buf *b, const struct profile *p)
{
	struct memory_need need = {0};

	buf_puts(b, "\nMemory (GB of 1e9 bytes)\n");
	if (p->model.params > 0) {
		memory_need(&p->model, &p->card, &need);
		buf_printf(b, "  weights        %.2f GB (derived: params x weight_bits / 8)\n",
			   need.weights_bytes / GB);
		buf_printf(b,
			   "  one sequence   %.2f GB (derived: %d tokens x %.0f bytes, "
			   "2 x layers x kv_heads x head_dim x 2; 16-bit entries assumed)\n",
			   need.one_sequence_bytes / GB, EXPLAIN_SEQUENCE_TOKENS,
			   need.kv_bytes_per_token);
		buf_printf(b,
			   "  overhead       %.2f GB (assumed: 0.8 GB a card for context and "
			   "activations)\n",
			   need.overhead_bytes / GB);
		buf_printf(b, "  at least       %.2f GB (derived: the sum)\n",
			   need.least_bytes / GB);
		explain_published_memory(b, &p->model, need.least_bytes);
	} else {
		buf_puts(b, "  the profile gives no model numbers: nothing to derive\n");
	}
	explain_kv_cache(b, p, &need);
}

/* ---- time ---- */

static const char *time_text(char out[32], double ns)
{
	if (ns != 0 && ns < 100)
		snprintf(out, 32, "%.3g ns", ns);
	else
		format_duration(out, 32, llround(ns));
	return out;
}

static void explain_cost(struct buf *b, const struct profile *p)
{
	char t[32];

	bool derived = p->analytic.bandwidth_share > 0;

	buf_printf(b, "\nTime of a step (%s): %s\n",
		   derived ? "derived from model and card: a what-if, nothing was measured"
			   : "given",
		   p->cost.type->name);
	buf_printf(b, "  = %s\n", p->cost.type->formula);
	if (derived)
		buf_printf(b,
			   "  assumed: %g of the card's bandwidth and %g of its FLOP/s are "
			   "reached, the host takes %s a step\n",
			   p->analytic.bandwidth_share, p->analytic.flops_share,
			   time_text(t, (double)p->analytic.host_ps / (double)PS_PER_NS));
	buf_puts(b, "  P prompt tokens computed, D sequences decoding, K tokens of their contexts, "
		    "Q attention pairs of P\n");
	for (size_t i = 0; p->cost.type->fields[i].key; i++) {
		const struct cost_field *f = &p->cost.type->fields[i];
		int64_t v = p->cost.coef[i];

		if (f->unit == COST_TOKENS)
			buf_printf(b, "  %-20s %12lld  %s\n", f->key, (long long)v, f->help);
		else
			buf_printf(b, "  %-20s %12s  %s\n", f->key,
				   time_text(t, (double)v / (double)PS_PER_NS), f->help);
	}
	buf_printf(b, "  %-20s %12s  from the socket to the queue\n", "ingest",
		   time_text(t, (double)p->ingest_ns));
	buf_printf(b, "  %-20s %12s  from the end of a step to the socket\n", "egress",
		   time_text(t, (double)p->egress_ns));
	buf_printf(b, "  %-20s %12g  coefficient of variation of a step's time\n", "jitter_cv",
		   p->noise.jitter_cv);
	if (p->noise.stalls_per_step > 0)
		buf_printf(b, "  %-20s %12s  longer, once in %.0f steps\n", "stall",
			   time_text(t, (double)p->noise.stall_ps / (double)PS_PER_NS),
			   1 / p->noise.stalls_per_step);
}

/* What is added to the formula, and what it is made of. */
static void explain_links(struct buf *b, const struct profile *p)
{
	const struct profile_parallel *l = &p->parallel;
	char t[32];

	if (l->tensor == 0)
		return;
	buf_printf(
		b,
		"\nSeveral cards: tensor %lld x pipeline %lld (given), links of %.0f GB/s and %s "
		"(given)\n",
		(long long)l->tensor, (long long)l->pipeline, l->bandwidth_bytes_per_s / GB,
		time_text(t, (double)l->latency_ps / (double)PS_PER_NS));
	if (l->pipeline > 1)
		buf_printf(
			b,
			"  the batch goes round in as many parts as stages, or sequences if there "
			"are fewer; a step\n  takes as long as the formula says of one part, "
			"and\n");
	buf_printf(
		b,
		"  %-20s %12s  (derived: the latency of %lld all-reduces, 2 a layer, and of %lld "
		"hops)\n",
		"links, a part", time_text(t, (double)p->cost.links.part_ps / (double)PS_PER_NS),
		(long long)(l->tensor > 1 ? 2 * p->model.layers : 0),
		(long long)(l->pipeline > 1 ? l->pipeline : 0));
	buf_printf(b,
		   "  %-20s %12s  (derived: hidden x %d bytes, 2 (t - 1)/t of it an all-reduce, "
		   "once a hop)\n",
		   "links, a token",
		   time_text(t, (double)p->cost.links.token_ps / (double)PS_PER_NS),
		   HARDWARE_VALUE_BYTES);
}

static void explain_speculation(struct buf *b, const struct profile *p)
{
	int i = sched_knob(p->policy, "num_speculative_tokens");
	int32_t n = i < 0 ? 0 : (int32_t)p->knobs[i];
	char t[32];

	if (n == 0)
		return;
	buf_printf(b,
		   "\nSpeculation: %d tokens are drafted a step, and verified like prompt tokens "
		   "(V counts as P)\n",
		   n);
	buf_puts(b, "  right (given)       ");
	for (int32_t k = 0; k < n; k++)
		buf_printf(b, " %g", p->drafter.acceptance[k]);
	buf_puts(b, "  each if those before it are\n");
	buf_printf(b, "  %-20s %12.3f  tokens of a sequence (derived: 1 + a1 + a1 a2 + ...)\n",
		   "a step yields", drafter_tokens_per_step(&p->drafter, n));
	buf_printf(b, "  %-20s %12s  for each place of the draft (given)\n", "draft_pass",
		   time_text(t, (double)p->cost.draft.pass_ps / (double)PS_PER_NS));
	buf_printf(b, "  %-20s %12s  each drafted token (given)\n", "per_draft_token",
		   time_text(t, (double)p->cost.draft.token_ps / (double)PS_PER_NS));
}

static void explain_offload(struct buf *b, const struct profile *p)
{
	int i = sched_knob(p->policy, "num_cpu_blocks");
	double blocks = i < 0 ? 0 : p->knobs[i], tokens;
	char t[32];

	if (blocks == 0)
		return;
	tokens = blocks * p->knobs[sched_knob(p->policy, "block_size")];
	buf_printf(
		b,
		"\nOffload: %.0f blocks in the host's memory (given) = %.1f GB (derived), links of "
		"%.0f GB/s a card\n",
		blocks, tokens * hardware_kv_bytes_per_token(&p->model) / GB,
		p->offload.bandwidth_bytes_per_s / GB);
	buf_printf(b, "  %-20s %12s  a step that reads any back (given)\n", "latency",
		   time_text(t, (double)p->cost.load.latency_ps / (double)PS_PER_NS));
	buf_printf(b, "  %-20s %12s  each token read back (derived: its KV entries)\n", "a token",
		   time_text(t, (double)p->cost.load.token_ps / (double)PS_PER_NS));
}

static void explain_adapters(struct buf *b, const struct profile *p)
{
	char t[32];

	if (!p->models || !p->models[1])
		return;
	buf_puts(b, "\nLoRA adapters (given), asked for as model:");
	for (int i = 1; p->models[i]; i++)
		buf_printf(b, " %s", p->models[i]);
	buf_printf(b, "\n  %-20s %12s  each that is used in a step (given)\n", "per_adapter",
		   time_text(t, (double)p->cost.adapter_ps / (double)PS_PER_NS));
}

static void explain_bound(struct buf *b, const char *what, int64_t given_ps, double bound_ns,
			  const char *bound)
{
	double given_ns = (double)given_ps / (double)PS_PER_NS;
	char t[32];

	buf_printf(b, "  %-20s %12s  at least, to %s", what, time_text(t, bound_ns), bound);
	if (given_ps == 0)
		buf_puts(b, "; the profile has none\n");
	else
		buf_printf(b, "; the profile has %.2f times that%s\n", given_ns / bound_ns,
			   given_ns < bound_ns ? ": WARNING, faster than the hardware" : "");
}

/* What the hardware cannot beat, beside what the profile says. Prompt tokens below the knee ride on
 * the weights. */
static void explain_physics(struct buf *b, const struct profile *p)
{
	double cards = (double)hardware_cards_at_once(&p->card, &p->parallel);
	double bandwidth = p->card.bandwidth_bytes_per_s * cards;
	double flops = p->card.flops_per_s * cards;
	struct memory_need need;

	if (p->cost.type != &cost_affine || p->model.params == 0 || p->card.count == 0)
		return;
	memory_need(&p->model, &p->card, &need);
	buf_puts(b, "\nPhysics (derived from model and card)\n");
	explain_bound(b, "step", p->cost.coef[AFFINE_STEP], need.weights_bytes / bandwidth * 1e9,
		      "read the weights once, all cards at a time");
	explain_bound(b, "per_kv_token", p->cost.coef[AFFINE_KV_TOKEN],
		      need.kv_bytes_per_token / bandwidth * 1e9, "read a token's KV entries");
	explain_bound(b, "prompt token",
		      p->cost.coef[AFFINE_PREFILL_TOKEN] + p->cost.coef[AFFINE_OVER_KNEE],
		      2 * p->model.params / flops * 1e9, "compute a prompt token beyond the knee");
}

static void explain_published_speed(struct buf *b, const struct profile *p)
{
	const struct profile_published *pub = &p->published;

	if (pub->tokens_per_s[1] > 0 && pub->tokens_per_s[0] == pub->tokens_per_s[1])
		buf_printf(b, "  published for one request at a time: %g tokens/s\n",
			   pub->tokens_per_s[0]);
	else if (pub->tokens_per_s[1] > 0)
		buf_printf(b, "  published for one request at a time: %g to %g tokens/s\n",
			   pub->tokens_per_s[0], pub->tokens_per_s[1]);
	if (pub->ttft_ns[1] > 0)
		buf_printf(b, "  published TTFT of one request: %g to %g ms\n",
			   ns_to_ms(pub->ttft_ns[0]), ns_to_ms(pub->ttft_ns[1]));
}

static const char closed_form[] =
	"  Closed form. Of C users B run at once (the policy is asked). Td = a step that decodes\n"
	"  B sequences of context P + N/2, Tm = a step that computes a prompt and decodes B - 1,\n"
	"  Tp(n) = a step that computes n prompts. E2EL = TTFT + (N - 1) TPOT, tokens/s = C N / "
	"E2EL.\n";

/* One of these, and the note, follow. */
static const char *const company_form[] = {
	[ALONE] = "  Under this policy requests share no step: each is as if alone.\n"
		  "    TPOT = Td    TTFT = ingest + Tp(1) + egress, with B = 1\n",
	[BESIDE] = "  Under this policy a prompt is computed beside the others' decodes:\n"
		   "    TPOT = ((B - 1) Tm + (N - B) Td) / (N - 1)    TTFT = ingest + wait + Tm + "
		   "egress\n"
		   "  In company wait = TPOT - ((ingest + egress) mod TPOT): the step that runs "
		   "already.\n",
	[INSTEAD] =
		"  Under this policy a prompt has a step of its own, and the others stand still:\n"
		"    TPOT = Td + (B - 1)/n Tp(n) / (N - 1)    TTFT = ingest + wait + Tp(n) + "
		"egress\n"
		"  In company wait = TPOT - ((ingest + egress) mod TPOT), the step that runs "
		"already, and\n"
		"  the turn: where a newcomer must let w decode steps pass, n = ceil(w B/N) share "
		"a step,\n"
		"  having waited (n - 1)/2 N/B steps; else n = 1.\n",
	[TOGETHER] =
		"  Under this policy a batch begins and ends together:\n"
		"    TPOT = Td    TTFT = ingest + time to fill the batch + Tp(B) + egress\n"
		"  Users are taken to come at once. If they are spread out, two groups take turns, "
		"and E2EL\n"
		"  is up to twice as long.\n",
};

static const char honesty[] =
	"  If users queue, E2EL = C (first step + (N - 1) TPOT) / B. Left out: jitter, "
	"preemption,\n"
	"  prefix hits, unequal lengths, prompts longer than a step takes, turning away.\n";

static const char with_drafts[] =
	"  With drafts Td and Tm verify them, too, N - 1 tokens take (N - 1)/Y steps, Y being what "
	"one\n  yields, and TPOT is the mean step over Y.\n";

static const char spread_out[] =
	"  Users are taken to be spread out; those who start together and ask for equally long\n"
	"  answers stay together, and their TTFT is that of a step with all their prompts.\n";

static void explain_load(struct buf *b, const struct profile *p, int32_t prompt, int32_t output)
{
	struct prediction d;

	if (p->output.forced_tokens > 0)
		output = (int32_t)p->output.forced_tokens;
	buf_printf(b,
		   "\nPredicted (derived) for users who ask again at once: %d tokens in, %d out\n",
		   prompt, output);
	buf_puts(b, "  users running   TTFT ms   TPOT ms   E2EL ms  tokens/s  tokens/s/user\n");
	for (int32_t users = 1; users <= 64; users *= 2) {
		struct err e;

		if (predict(p, users, prompt, output, &d, &e)) {
			buf_printf(b, "  such a request can never run: %s\n", e.msg);
			return;
		}
		buf_printf(b, "  %5d %7d %9.2f %9.3f %9.1f %9.2f %14.2f\n", users, d.running,
			   d.ttft_ns / 1e6, d.tpot_ns / 1e6, d.e2el_ns / 1e6, d.tokens_per_s,
			   d.tokens_per_s / users);
	}
	explain_published_speed(b, p);
	/* d is that of most users */
	buf_puts(b, closed_form);
	buf_puts(b, company_form[d.company]);
	if (d.yield > 1)
		buf_puts(b, with_drafts);
	buf_puts(b, honesty);
	if (d.company == BESIDE || d.company == INSTEAD)
		buf_puts(b, spread_out);
}

/* ---- the text ---- */

static void explain_knobs(struct buf *b, const struct knob *knobs, const double *values,
			  const char *whose)
{
	for (const struct knob *k = knobs; k->name; k++) {
		double v = *values++;

		if (k->kind == KNOB_CHOICE)
			buf_printf(b, "  %-28s %10s", k->name, k->choices[(int)v]);
		else if (k->kind == KNOB_BOOL)
			buf_printf(b, "  %-28s %10s", k->name, v != 0 ? "true" : "false");
		else
			buf_printf(b, "  %-28s %10.10g", k->name, v);
		buf_printf(b, "  %s", k->help);
		if (v == k->def)
			buf_printf(b, " (the %s's default)", whose);
		buf_putc(b, '\n');
	}
}

static void explain_policy(struct buf *b, const struct profile *p)
{
	buf_printf(b, "\nPolicy %s: %s\n", p->policy->name, p->policy->help);
	explain_knobs(b, p->policy->knobs, p->knobs, "policy");
}

static void explain_handover(struct buf *b, const struct profile *p)
{
	const struct profile_disaggregated *d = &p->disaggregated;
	char t[32];

	buf_printf(b,
		   "  a prompt's KV entries go over its replica's link, %.3g GB/s (given), one "
		   "prompt at "
		   "a time:\n",
		   d->bandwidth_bytes_per_s / GB);
	buf_printf(b, "  %-20s %12s  each token of it (derived: %.0f bytes a token)\n", "transfer",
		   time_text(t, (double)profile_fleet(p).kv_token_ps / (double)PS_PER_NS),
		   d->bytes_per_token);
	buf_printf(b, "  %-20s %12s  after the last of them (given)\n", "latency",
		   time_text(t, (double)d->latency_ns));
	buf_puts(b, "  the prediction below is that of one replica which does both\n");
}

static void explain_fleet(struct buf *b, const struct profile *p)
{
	const struct profile_disaggregated *d = &p->disaggregated;

	if (!profile_is_fleet(p))
		return;
	if (d->decode_replicas > 0)
		buf_printf(
			b,
			"\nFleet: %lld replica%s prefill%s, %lld decode%s (given); in virtual time "
			"only\n",
			(long long)d->prefill_replicas, d->prefill_replicas > 1 ? "s" : "",
			d->prefill_replicas > 1 ? "" : "s", (long long)d->decode_replicas,
			d->decode_replicas > 1 ? "" : "s");
	else
		buf_printf(b, "\nFleet: %lld replicas (given); in virtual time only\n",
			   (long long)p->replicas);
	buf_printf(b, "  router %s: %s\n", p->router.type->name, p->router.type->help);
	explain_knobs(b, p->router.type->knobs, p->router.knobs, "router");
	if (d->decode_replicas > 0)
		explain_handover(b, p);
	else
		buf_puts(b, "  the prediction below is that of one of them\n");
}

static void explain_output(struct buf *b, const struct profile_output *o)
{
	if (o->forced_tokens)
		buf_printf(b, "Answers are %lld tokens long, whatever is asked.\n",
			   (long long)o->forced_tokens);
	else if (o->ends_with_text)
		buf_puts(b,
			 "Answers end where their text ends, unless a request says otherwise.\n");
	else if (o->ends)
		buf_printf(b,
			   "Answers end by themselves after %.0f tokens on average (%s), unless a "
			   "request says otherwise.\n",
			   dist_mean(&o->length), dist_name(o->length.kind));
	else
		buf_puts(
			b,
			"Answers never end by themselves: they run to the request's max_tokens.\n");
}

static void explain_text(struct buf *b, const struct profile_text *t)
{
	if (t->kind == TEXT_ECHO)
		buf_puts(b, "They say what was said last, over and over if need be.\n");
	else if (t->kind == TEXT_REFERENCE)
		buf_printf(b,
			   "They say what %s answers to the prompt, over and over if need be; to "
			   "others one of its answers.\n",
			   t->file);
}

static void explain_wire(struct buf *b, const struct profile *p)
{
	buf_printf(b, "On the wire: %s (%s)\n", p->wire->help, p->wire->basis);
	for (size_t i = 0; i < p->faults.n; i++) {
		buf_puts(b, i == 0 ? "Faults, the first that is drawn: " : "  then ");
		fault_describe(b, &p->faults.item[i]);
		buf_putc(b, '\n');
	}
}

bool explain(struct buf *b, const struct profile *p, int32_t prompt, int32_t output)
{
	buf_printf(b, "%s: plays %s\n%s\nSource: %s\n", p->name, p->engine, p->description,
		   p->source);
	if (p->model.params > 0)
		buf_printf(b,
			   "Model %s (given): %.4g B parameters of %g bits, %lld layers, %lld KV "
			   "heads of %lld\n",
			   p->model.name, p->model.params / 1e9, p->model.weight_bits,
			   (long long)p->model.layers, (long long)p->model.kv_heads,
			   (long long)p->model.head_dim);
	else
		buf_printf(b, "Model %s\n", p->model.name);
	if (p->card.count)
		buf_printf(
			b, "Hardware (given): %lld x %s, each %.1f GB, %.0f GB/s, %.4g TFLOP/s\n",
			(long long)p->card.count, p->card.name, (double)p->card.memory_bytes / GB,
			p->card.bandwidth_bytes_per_s / GB, p->card.flops_per_s / 1e12);
	explain_output(b, &p->output);
	explain_text(b, &p->text);
	explain_wire(b, p);
	explain_policy(b, p);
	explain_cost(b, p);
	explain_links(b, p);
	explain_speculation(b, p);
	explain_offload(b, p);
	explain_adapters(b, p);
	explain_fleet(b, p);
	explain_physics(b, p);
	explain_memory(b, p);
	explain_load(b, p, prompt, output);
	return buf_puts(b, "");
}

enum rc explain_list(struct buf *b, struct err *e)
{
	for (const struct embedded *f = builtin_profiles; f->name; f++) {
		struct profile p;
		enum rc rc = profile_load(&p, f->name, NULL, 0, e);

		if (rc)
			return rc;
		buf_printf(b, "%-34s %s\n", p.name, p.description);
		profile_release(&p);
	}
	return RC_OK;
}
