/*
 * Owns what is asked: the prompt set, and the draw of a request from (seed, level, repeat, k). One
 * thread; nothing here depends on the order of calls. Must not know targets or time.
 */
#include "workload.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/dist.h"
#include "base/log.h"
#include "base/rng.h"
#include "phases.h"
#include "prompts.h"

#define MAX_SET_BYTES	 (1u << 30)
#define MAX_PROMPT_BYTES (256u << 20)

/* Frequent words that the usual vocabularies hold whole, with the blank before them. 128: seven
 * bits a word. */
const char *const workload_word[WORKLOAD_WORDS] = {
	"the",	   "of",    "and",     "to",   "in",	"is",	 "that",   "for",    "it",
	"as",	   "was",   "with",    "be",   "by",	"on",	 "not",	   "he",     "his",
	"but",	   "at",    "are",     "this", "have",	"from",	 "or",	   "had",    "an",
	"they",	   "which", "one",     "you",  "were",	"all",	 "her",	   "she",    "there",
	"would",   "their", "we",      "him",  "been",	"has",	 "when",   "who",    "will",
	"no",	   "more",  "if",      "out",  "so",	"up",	 "said",   "what",   "its",
	"about",   "than",  "into",    "them", "can",	"only",	 "other",  "time",   "new",
	"some",	   "could", "these",   "two",  "may",	"first", "then",   "do",     "any",
	"like",	   "my",    "now",     "over", "such",	"our",	 "man",	   "me",     "even",
	"most",	   "made",  "after",   "also", "well",	"did",	 "many",   "before", "must",
	"years",   "back",  "through", "much", "where", "your",	 "down",   "way",    "should",
	"because", "long",  "each",    "just", "state", "those", "people", "how",    "too",
	"little",  "good",  "world",   "make", "very",	"year",	 "still",  "see",    "own",
	"work",	   "men",   "day",     "get",  "here",	"life",	 "both",   "old",    "water",
	"last",	   "part",
};

struct workload {
	const struct workload_spec *spec; /* the scenario's, which outlives this */
	const struct cancel_spec *cancel;
	uint64_t seed;
	struct prompt_set set;
	size_t n_prompts; /* the first so many of the set are used */

	/* The order in use. Requests of a level ask for one order many times, so one is kept. */
	uint32_t *order;
	uint64_t order_of; /* stream index of `order`; ORDER_NONE at first */

	struct trace trace; /* n 0: none */

	bool keep_words;
	struct buf word;      /* of the last made-up prompt, a byte each */
	struct buf text;      /* the same, spelled */
	struct message *also; /* of the last batch; texts owned */
	size_t n_also;

	bool remember;
	struct kept_plans *kept;
	size_t kept_bytes;
};

#define MAX_KEPT_BYTES ((size_t)512 << 20)

/* Plans of a level in a repeat, by their number. */
struct kept_plans {
	int level, repeat;
	struct planned_request *v; /* of those that are there, `word` is ours */
	int64_t n;
	struct kept_plans *next;
};

#define ORDER_NONE UINT64_MAX

/* Streams are numbered by (level, repeat, n), so that adding a level never moves another's draws.
 */
static uint64_t stream_index(int level, int repeat, int64_t n)
{
	DCHECK(level >= -1 && level < UINT16_MAX && repeat >= 0 && repeat <= UINT16_MAX);
	DCHECK(n >= 0 && n <= UINT32_MAX);
	return (uint64_t)(level + 1) << 48 | (uint64_t)repeat << 32 | (uint64_t)n;
}

static enum rc read_file(struct workload *w, struct err *e)
{
	const struct workload_spec *spec = w->spec;
	enum prompt_format format = spec->format;
	struct buf b;
	enum rc rc;

	buf_init(&b, MAX_SET_BYTES);
	rc = (enum rc)buf_read_file(&b, spec->file, e);
	if (!rc && format == PROMPTS_AUTO)
		rc = prompts_detect(spec->file, buf_head(&b), buf_size(&b), &format, e);
	if (!rc)
		rc = prompts_parse(&w->set, format, spec->file, buf_head(&b), buf_size(&b), e);
	buf_release(&b);
	if (!rc && !w->set.n)
		return err_set(e, RC_INPUT, "%s: holds no prompts", spec->file);
	if (!rc && w->set.skipped)
		log_info("%s: %zu conversations without a human's words are left out of %zu",
			 spec->file, w->set.skipped, w->set.skipped + w->set.n);
	return rc;
}

static enum rc read_trace(struct workload *w, const char *file, struct err *e)
{
	enum rc rc = trace_read(&w->trace, file, e);

	if (!rc && w->spec->from_trace && w->spec->output_reference)
		rc = err_set(e, RC_INPUT, "%s: a trace has no answers of its own", file);
	if (!rc && w->trace.skipped)
		log_info("%s: %zu failed requests (0 tokens) are left out of %zu", file,
			 w->trace.skipped, w->trace.skipped + w->trace.n);
	return rc;
}

static void copy_text(struct workload *w)
{
	size_t n = 0;

	while (w->spec->text[n])
		n++;
	w->set.v = xcalloc(n, sizeof(*w->set.v));
	for (; w->set.n < n; w->set.n++) {
		struct prompt *p = &w->set.v[w->set.n];

		p->n_turns = 1;
		p->turn = xcalloc(1, sizeof(*p->turn));
		p->turn[0].text = xstrdup(w->spec->text[w->set.n]);
		p->turn[0].len = strlen(p->turn[0].text);
	}
}

/* Of a conversation, how many turns some level asks at most. */
static size_t turns_asked(const struct scenario *s)
{
	size_t most = 1;

	for (int i = 0; i < s->n_levels; i++) {
		const struct level *l = &s->levels[i];

		if (l->kind == LOAD_SESSIONS && !l->turns)
			return SIZE_MAX;
		if (l->kind == LOAD_SESSIONS && (size_t)l->turns > most)
			most = (size_t)l->turns;
	}
	return most;
}

static enum rc check_references(const struct workload *w, const struct scenario *s, struct err *e)
{
	size_t asked = turns_asked(s);

	if (!w->spec->output_reference)
		return RC_OK;
	for (size_t i = 0; i < w->n_prompts; i++)
		for (size_t k = 0; k < w->set.v[i].n_turns && k < asked; k++)
			if (!w->set.v[i].turn[k].reference_tokens)
				return err_set(e, RC_INPUT,
					       "%s: record %zu has no answer%s, and "
					       "workload.output_tokens: reference asks for its "
					       "length",
					       w->spec->file, i + 1,
					       k ? " to one of its later turns" : "");
	return RC_OK;
}

/* All turns of a level's conversations need ids of their own. Told by the longest conversation. */
static enum rc check_sessions(const struct workload *w, const struct scenario *s, struct err *e)
{
	for (int i = 0; i < s->n_levels; i++) {
		const struct level *l = &s->levels[i];
		int64_t longest = w->n_prompts ? 1 : l->turns;

		for (size_t k = 0; k < w->n_prompts; k++)
			if (w->set.v[k].n_turns > (size_t)longest)
				longest = (int64_t)w->set.v[k].n_turns;
		if (l->turns && l->turns < longest)
			longest = l->turns;
		if (l->conversations && longest > (PHASE_ID_STRIDE - 1) / l->conversations)
			return err_set(e, RC_INPUT,
				       "load.sessions: %lld conversations of up to %lld turns are "
				       "more than the %lld requests that a level may have",
				       (long long)l->conversations, (long long)longest,
				       (long long)PHASE_ID_STRIDE - 1);
	}
	return RC_OK;
}

enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e)
{
	struct workload *w = xcalloc(1, sizeof(*w));
	enum rc rc = RC_OK;

	*out = NULL;
	w->spec = &s->workload;
	w->cancel = &s->cancel;
	w->seed = s->seed;
	w->order_of = ORDER_NONE;
	buf_init(&w->word, MAX_PROMPT_BYTES);
	buf_init(&w->text, MAX_PROMPT_BYTES);
	if (s->trace_file)
		rc = read_trace(w, s->trace_file, e);
	if (!rc && w->spec->file)
		rc = read_file(w, e);
	else if (!rc && w->spec->text)
		copy_text(w);
	if (!rc) {
		w->n_prompts = w->spec->limit && (size_t)w->spec->limit < w->set.n
				       ? (size_t)w->spec->limit
				       : w->set.n;
		rc = check_references(w, s, e);
		if (!rc)
			rc = check_sessions(w, s, e);
	}
	if (rc) {
		workload_free(w);
		return rc;
	}
	w->order = xcalloc(w->n_prompts + 1, sizeof(*w->order));
	*out = w;
	return RC_OK;
}

static void drop_batch(struct workload *w)
{
	while (w->n_also)
		free(w->also[--w->n_also].text);
}

static void forget_plans(struct workload *w)
{
	while (w->kept) {
		struct kept_plans *p = w->kept;

		w->kept = p->next;
		for (int64_t i = 0; i < p->n; i++)
			free((uint8_t *)p->v[i].word);
		free(p->v);
		free(p);
	}
}

void workload_free(struct workload *w)
{
	if (!w)
		return;
	prompts_release(&w->set);
	trace_release(&w->trace);
	drop_batch(w);
	forget_plans(w);
	free(w->also);
	free(w->order);
	buf_release(&w->word);
	buf_release(&w->text);
	free(w);
}

size_t workload_prompts(const struct workload *w)
{
	return w->n_prompts;
}

const struct trace *workload_trace(const struct workload *w)
{
	return w->trace.n ? &w->trace : NULL;
}

/* Place k of the orders of this level, one behind the other. */
static size_t pick(struct workload *w, int level, int repeat, int64_t k)
{
	int64_t n = (int64_t)w->n_prompts;
	uint64_t which = stream_index(level, repeat, k / n);
	struct rng r;

	if (w->spec->pick == PICK_SEQUENTIAL)
		return (size_t)(k % n);
	if (w->order_of != which) {
		for (size_t i = 0; i < w->n_prompts; i++)
			w->order[i] = (uint32_t)i;
		rng_init(&r, w->seed, "prompts", which);
		rng_shuffle(&r, w->order, w->n_prompts);
		w->order_of = which;
	}
	return w->order[k % n];
}

void workload_keep_words(struct workload *w)
{
	w->keep_words = true;
}

bool workload_spell(const uint8_t *word, size_t n, struct buf *out)
{
	for (size_t i = 0; i < n; i++)
		if ((i && !buf_putc(out, ' ')) || !buf_puts(out, workload_word[word[i]]))
			return false;
	return true;
}

/* Appends n words of a stream: four to a draw. */
static void draw_words(struct workload *w, const char *purpose, uint64_t stream, int64_t n)
{
	char *to = buf_reserve(&w->word, (size_t)n + 3);
	struct rng r;

	CHECK(to);
	rng_init(&r, w->seed, purpose, stream);
	for (int64_t i = 0; i < n; i += 4) {
		uint32_t bits = rng_u32(&r);

		for (int k = 0; k < 4; k++)
			to[i + k] = (char)(bits >> 7 * k & 127);
	}
	buf_commit(&w->word, (size_t)n);
}

static void give_words(struct workload *w, struct planned_request *out)
{
	const uint8_t *word = (const uint8_t *)buf_head(&w->word);
	size_t n = buf_size(&w->word);

	if (w->keep_words) {
		out->text = "";
		out->word = word;
		out->n_words = n;
		return;
	}
	buf_clear(&w->text);
	CHECK(workload_spell(word, n, &w->text));
	out->text = buf_cstr(&w->text);
	out->len = buf_size(&w->text);
}

/* A later turn of a session has what was shared in its history. */
static void plan_synthetic(struct workload *w, int level, int repeat, int turn, int64_t k,
			   struct planned_request *out)
{
	const struct workload_spec *spec = w->spec;
	int64_t shared = turn ? 0 : spec->prefix_tokens;
	uint64_t stream = stream_index(level, repeat, k);
	int64_t own;
	struct rng r;

	rng_init(&r, w->seed, "input lengths", stream);
	own = dist_sample_count(&spec->input_tokens, &r, 1);
	buf_clear(&w->word);
	if (shared) {
		int64_t group;

		rng_init(&r, w->seed, "prefix groups", stream);
		group = (int64_t)rng_below(&r, (uint64_t)spec->prefix_groups);
		draw_words(w, "shared prefixes", stream_index(level, repeat, group), shared);
	}
	draw_words(w, "input words", stream, own);
	out->prompt_id = k;
	out->input_tokens = (int32_t)(shared + own);
	give_words(w, out);
}

/* Returns the length of the recorded answer. */
static int32_t plan_from_trace(struct workload *w, int level, int repeat, int64_t k,
			       struct planned_request *out)
{
	const struct trace *t = &w->trace;
	size_t i = (size_t)k % t->n, at = level < 0 ? t->n - 1 - i : i;
	const struct trace_row *row = &t->row[at];
	int64_t left = row->input_tokens;

	out->prompt_id = (int64_t)at;
	if (row->prompt) {
		out->text = row->prompt;
		out->len = strlen(row->prompt);
		out->input_tokens = -1;
		return row->output_tokens;
	}
	buf_clear(&w->word);
	for (size_t b = 0; b < row->n_blocks; b++) {
		int64_t n = left < t->block_tokens ? left : t->block_tokens;

		draw_words(w, "trace blocks",
			   stream_index(level, repeat, t->block[row->first_block + b]), n);
		left -= n;
	}
	draw_words(w, "input words", stream_index(level, repeat, k), left);
	out->input_tokens = row->input_tokens;
	give_words(w, out);
	return row->output_tokens;
}

/* own: how long the answer is that stands in the set or the trace; 0 = none stands there. */
static int32_t output_tokens(const struct workload *w, uint64_t stream, int32_t own)
{
	int64_t cap = w->spec->output_cap;
	struct rng r;

	if (w->spec->output_reference || w->spec->output_trace)
		return cap && own > cap ? (int32_t)cap : own;
	rng_init(&r, w->seed, "output lengths", stream);
	return (int32_t)dist_sample_count(&w->spec->output_tokens, &r, 1);
}

/* Turn of the k-th conversation of the set. Returns the length of the set's own answer. */
static int32_t plan_from_set(struct workload *w, int level, int repeat, int64_t k, int turn,
			     struct planned_request *out)
{
	const struct prompt *p;

	out->prompt_id = (int64_t)pick(w, level, repeat, k);
	p = &w->set.v[out->prompt_id];
	out->text = p->turn[turn].text;
	out->len = p->turn[turn].len;
	out->before = p->lead;
	out->n_before = p->n_lead;
	out->input_tokens = -1;
	return p->turn[turn].reference_tokens;
}

int workload_turns(struct workload *w, int level, int repeat, int64_t session, int64_t at_most)
{
	int64_t n =
		w->n_prompts ? (int64_t)w->set.v[pick(w, level, repeat, session)].n_turns : at_most;

	CHECK(n > 0);
	return (int)(at_most && at_most < n ? at_most : n);
}

static int32_t cancel_after(const struct workload *w, int level, uint64_t stream)
{
	struct rng r;

	rng_init(&r, w->seed, "cancellations", stream);
	if (level < 0 || rng_unit(&r) >= w->cancel->share)
		return 0;
	return (int32_t)dist_sample_count(&w->cancel->after_tokens, &r, 1);
}

/* Turn of a session's k-th request; of any other session is k and turn 0. Returns what the set or
 * the trace has as the length of the answer. */
static int32_t plan_prompt(struct workload *w, int level, int repeat, int64_t session, int turn,
			   int64_t k, struct planned_request *out)
{
	*out = (struct planned_request){0};
	if (w->spec->from_trace)
		return plan_from_trace(w, level, repeat, k, out);
	if (!w->spec->synthetic)
		return plan_from_set(w, level, repeat, session, turn, out);
	plan_synthetic(w, level, repeat, turn, k, out);
	return 0;
}

static void plan_model(const struct workload *w, uint64_t stream, struct planned_request *out)
{
	char *const *modules = w->spec->lora_modules;
	uint64_t n = 0;
	struct rng r;

	out->lora_module = -1;
	while (modules && modules[n])
		n++;
	if (n == 0)
		return;
	rng_init(&r, w->seed, "lora modules", stream);
	out->lora_module = (int32_t)rng_below(&r, n);
	out->model = modules[out->lora_module];
}

static void plan_lengths(struct workload *w, int level, int repeat, int64_t k, int32_t own,
			 struct planned_request *out)
{
	uint64_t stream = stream_index(level, repeat, k);

	out->output_tokens = output_tokens(w, stream, own);
	out->cancel_after_tokens = cancel_after(w, level, stream);
	plan_model(w, stream, out);
}

void workload_plan_turn(struct workload *w, int level, int repeat, int64_t session, int turn,
			int64_t k, struct planned_request *out)
{
	int32_t own = plan_prompt(w, level, repeat, session, turn, k, out);

	plan_lengths(w, level, repeat, k, own, out);
}

static struct kept_plans *kept_plans(struct workload *w, int level, int repeat)
{
	struct kept_plans *p = w->kept;

	while (p && (p->level != level || p->repeat != repeat))
		p = p->next;
	if (p)
		return p;
	p = xcalloc(1, sizeof(*p));
	p->level = level;
	p->repeat = repeat;
	p->next = w->kept;
	w->kept = p;
	return p;
}

static void keep_plan(struct workload *w, struct kept_plans *p, int64_t k,
		      struct planned_request *plan)
{
	uint8_t *word;

	if (!plan->word || w->kept_bytes + plan->n_words > MAX_KEPT_BYTES)
		return;
	if (k >= p->n) {
		int64_t n = k + 1 > 2 * p->n ? k + 1 : 2 * p->n;

		p->v = xreallocarray(p->v, (size_t)n, sizeof(*p->v));
		memset(p->v + p->n, 0, (size_t)(n - p->n) * sizeof(*p->v));
		p->n = n;
	}
	word = xmalloc(plan->n_words + 1);
	memcpy(word, plan->word, plan->n_words);
	plan->word = word;
	plan->kept = true;
	p->v[k] = *plan;
	w->kept_bytes += plan->n_words + sizeof(*plan);
}

void workload_remember(struct workload *w)
{
	w->remember = true;
}

void workload_plan(struct workload *w, int level, int repeat, int64_t k,
		   struct planned_request *out)
{
	struct kept_plans *p = w->remember ? kept_plans(w, level, repeat) : NULL;

	if (p && k < p->n && p->v[k].word) {
		*out = p->v[k];
		return;
	}
	workload_plan_turn(w, level, repeat, k, 0, k, out);
	if (p)
		keep_plan(w, p, k, out);
}

/* The prompt as one text, with what the set has in front of it. */
static void add_to_batch(struct workload *w, const struct planned_request *r)
{
	struct buf flat;

	buf_init(&flat, MAX_PROMPT_BYTES);
	for (size_t i = 0; i < r->n_before; i++)
		buf_printf(&flat, "%s\n\n", r->before[i].text);
	buf_append(&flat, r->text, r->len);
	w->also[w->n_also].len = buf_size(&flat);
	w->also[w->n_also++].text = buf_take(&flat);
	buf_release(&flat);
}

void workload_plan_batch(struct workload *w, int level, int repeat, int64_t k, int size,
			 struct planned_request *out)
{
	int32_t own, longest = 0, input_tokens = 0;
	struct planned_request r = {0};

	drop_batch(w);
	w->also = xreallocarray(w->also, (size_t)size, sizeof(*w->also));
	for (int i = size - 1; i >= 0; i--) { /* the first last: its text is still to be valid */
		own = plan_prompt(w, level, repeat, k * size + i, 0, k * size + i, &r);
		longest = own > longest ? own : longest;
		input_tokens += r.input_tokens;
		if (i > 0)
			add_to_batch(w, &r);
	}
	*out = r;
	out->input_tokens = r.input_tokens < 0 ? -1 : input_tokens;
	out->also = w->also;
	out->n_also = w->n_also;
	plan_lengths(w, level, repeat, k, longest, out);
}
