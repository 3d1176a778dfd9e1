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
#include "prompts.h"

#define MAX_SET_BYTES	 (1u << 30)
#define MAX_PROMPT_BYTES (256u << 20)

/* Frequent words that the usual vocabularies hold whole, with the blank before them. 128: seven
 * bits a word. */
static const char *const words[128] = {
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
	uint64_t seed;
	struct prompt_set set;
	size_t n_prompts; /* the first so many of the set are used */

	/* The order in use. Requests of a level ask for one order many times, so one is kept. */
	uint32_t *order;
	uint64_t order_of; /* stream index of `order`; ORDER_NONE at first */

	struct buf text; /* of the last synthetic prompt */
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

static enum rc check_references(const struct workload *w, struct err *e)
{
	if (!w->spec->output_reference)
		return RC_OK;
	for (size_t i = 0; i < w->n_prompts; i++)
		if (!w->set.v[i].turn[0].reference_tokens)
			return err_set(e, RC_INPUT,
				       "%s: record %zu has no answer, and workload.output_tokens: "
				       "reference asks for its length",
				       w->spec->file, i + 1);
	return RC_OK;
}

enum rc workload_new(struct workload **out, const struct scenario *s, struct err *e)
{
	struct workload *w = xcalloc(1, sizeof(*w));
	enum rc rc = RC_OK;

	*out = NULL;
	w->spec = &s->workload;
	w->seed = s->seed;
	w->order_of = ORDER_NONE;
	buf_init(&w->text, MAX_PROMPT_BYTES);
	if (w->spec->file)
		rc = read_file(w, e);
	else if (w->spec->text)
		copy_text(w);
	if (!rc) {
		w->n_prompts = w->spec->limit && (size_t)w->spec->limit < w->set.n
				       ? (size_t)w->spec->limit
				       : w->set.n;
		rc = check_references(w, e);
	}
	if (rc) {
		workload_free(w);
		return rc;
	}
	w->order = xcalloc(w->n_prompts + 1, sizeof(*w->order));
	*out = w;
	return RC_OK;
}

void workload_free(struct workload *w)
{
	if (!w)
		return;
	prompts_release(&w->set);
	free(w->order);
	buf_release(&w->text);
	free(w);
}

size_t workload_prompts(const struct workload *w)
{
	return w->n_prompts;
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

static void write_words(struct buf *b, struct rng *r, int64_t n)
{
	uint32_t bits = 0;

	buf_clear(b);
	for (int64_t i = 0; i < n; i++, bits >>= 7) {
		if (i % 4 == 0)
			bits = rng_u32(r);
		if (i)
			buf_putc(b, ' ');
		buf_puts(b, words[bits & 127]);
	}
}

static void plan_synthetic(struct workload *w, uint64_t stream, int64_t k,
			   struct planned_request *out)
{
	struct rng lengths, text;

	rng_init(&lengths, w->seed, "input lengths", stream);
	rng_init(&text, w->seed, "input words", stream);
	out->prompt_id = k;
	out->input_tokens = (int32_t)dist_sample_count(&w->spec->input_tokens, &lengths, 1);
	write_words(&w->text, &text, out->input_tokens);
	out->text = buf_cstr(&w->text);
	out->len = buf_size(&w->text);
	out->before = NULL;
	out->n_before = 0;
}

static int32_t output_tokens(const struct workload *w, uint64_t stream, int32_t reference)
{
	int64_t cap = w->spec->output_cap;
	struct rng r;

	if (w->spec->output_reference)
		return cap && reference > cap ? (int32_t)cap : reference;
	rng_init(&r, w->seed, "output lengths", stream);
	return (int32_t)dist_sample_count(&w->spec->output_tokens, &r, 1);
}

/* Returns the length of the set's own answer. */
static int32_t plan_from_set(struct workload *w, int level, int repeat, int64_t k,
			     struct planned_request *out)
{
	const struct prompt *p;

	out->prompt_id = (int64_t)pick(w, level, repeat, k);
	p = &w->set.v[out->prompt_id];
	out->text = p->turn[0].text;
	out->len = p->turn[0].len;
	out->before = p->lead;
	out->n_before = p->n_lead;
	out->input_tokens = -1;
	return p->turn[0].reference_tokens;
}

void workload_plan(struct workload *w, int level, int repeat, int64_t k,
		   struct planned_request *out)
{
	uint64_t stream = stream_index(level, repeat, k);
	int32_t reference = 0; /* synthetic prompts have no answers, and the scenario knows it */

	if (w->spec->synthetic)
		plan_synthetic(w, stream, k, out);
	else
		reference = plan_from_set(w, level, repeat, k, out);
	out->output_tokens = output_tokens(w, stream, reference);
}
