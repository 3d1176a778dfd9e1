/*
 * Prefix caching against what it is meant to be: a list of blocks, the least recently used of which
 * is given up. vLLM V1's policy serves a trace; the list below, which knows nothing of it, says of
 * every request how much of its prompt is there already. One at a time they must agree request by
 * request; and more blocks must never find less.
 *
 * A block of the trace stands for 16 tokens here, whatever it holds there: the ledger counts
 * blocks. Behind its blocks a prompt has one more token, so that each of its blocks can be a hit
 * (the last token of a prompt is computed even if all of them are cached), and the answer is one
 * token.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/check.h"
#include "base/die.h"
#include "base/rng.h"
#include "loadgen/trace.h"
#include "serve/sched.h"

#define BLOCK_TOKENS 16
#define MAX_BLOCKS   1024 /* of a prompt */

/* ---- the straight computation ---- */

/* Ids 1..n in a ring around 0, the most recently used behind it. An id that is not in it: 0, 0. */
struct lru {
	uint32_t *prev, *next;
	bool *in;
	size_t n_ids, n;
};

static void lru_init(struct lru *l, size_t n_ids)
{
	*l = (struct lru){.n_ids = n_ids};
	l->prev = xcalloc(n_ids + 1, sizeof(*l->prev));
	l->next = xcalloc(n_ids + 1, sizeof(*l->next));
	l->in = xcalloc(n_ids + 1, sizeof(*l->in));
}

static void lru_release(struct lru *l)
{
	free(l->prev);
	free(l->next);
	free(l->in);
}

static void lru_drop(struct lru *l, uint32_t id)
{
	l->next[l->prev[id]] = l->next[id];
	l->prev[l->next[id]] = l->prev[id];
	l->in[id] = false;
	l->n--;
}

static void lru_use(struct lru *l, uint32_t id)
{
	if (l->in[id])
		lru_drop(l, id);
	l->prev[id] = 0;
	l->next[id] = l->next[0];
	l->prev[l->next[0]] = id;
	l->next[0] = id;
	l->in[id] = true;
	l->n++;
}

/* Serves a prompt of n blocks with a cache of `room` of them, one of which its last token takes;
 * returns how many it found. Of a prompt the end is given up before its beginning. */
static size_t lru_serve(struct lru *l, const uint32_t *block, size_t n, size_t room)
{
	size_t hits = 0;

	while (hits < n && l->in[block[hits]])
		hits++;
	for (size_t i = n; i-- > 0;)
		lru_use(l, block[i]);
	while (l->n > room - 1)
		lru_drop(l, l->prev[0]);
	return hits;
}

/* ---- the policy ---- */

/* Where a policy may not hit: what a request in flight has named is there for all others. */
struct engine {
	struct sched *sched;
	struct genreq **running;
	size_t n_running;
	int64_t now_ns;
};

static void engine_open(struct engine *g, size_t room, int max_num_seqs)
{
	double values[SCHED_MAX_KNOBS];
	struct err e;

	*g = (struct engine){0};
	sched_defaults(&sched_vllm_v1, values);
	values[sched_knob(&sched_vllm_v1, "num_gpu_blocks")] = (double)room + 1;
	values[sched_knob(&sched_vllm_v1, "block_size")] = BLOCK_TOKENS;
	values[sched_knob(&sched_vllm_v1, "max_num_seqs")] = max_num_seqs;
	values[sched_knob(&sched_vllm_v1, "max_num_batched_tokens")] = 4096;
	if (sched_vllm_v1.open(&g->sched, values, -1, &e))
		fail_msg("%s", e.msg);
	g->running = xcalloc((size_t)max_num_seqs, sizeof(struct genreq *));
}

static void engine_close(struct engine *g)
{
	sched_vllm_v1.close(g->sched);
	free(g->running);
}

static struct genreq *make_request(uint64_t id, const uint32_t *block, size_t n)
{
	static int32_t token[MAX_BLOCKS * BLOCK_TOKENS + 1];

	assert_true(n < MAX_BLOCKS);
	for (size_t i = 0; i < n * BLOCK_TOKENS; i++)
		token[i] = (int32_t)block[i / BLOCK_TOKENS];
	token[n * BLOCK_TOKENS] = 0;
	return genreq_new(id, NULL, token, (int32_t)(n * BLOCK_TOKENS) + 1, 1);
}

/* Steps until nothing is left; hits[id] is what a request found, in blocks. */
static void engine_run(struct engine *g, size_t *hits)
{
	static const int32_t token[64];
	struct step_plan p;

	step_plan_init(&p);
	while (sched_vllm_v1.plan(g->sched, &p)) {
		assert_true(p.n_items <= (int32_t)(sizeof(token) / sizeof(*token)));
		sched_vllm_v1.commit(g->sched, &p, token, ++g->now_ns);
		step_plan_clear(&p);
	}
	step_plan_release(&p);
	for (size_t i = 0; i < g->n_running; i++) {
		assert_int_equal(g->running[i]->state, GENREQ_DONE);
		hits[g->running[i]->id] = (size_t)g->running[i]->cached_tokens / BLOCK_TOKENS;
		genreq_free(g->running[i]);
	}
	g->n_running = 0;
}

/* ---- both of them ---- */

struct prompts {
	size_t n, n_blocks;
	size_t *first; /* n + 1 places in block[] */
	uint32_t *block, n_ids;
};

/* Requests that came together are served `at_once`. Returns the blocks found. */
static size_t serve(const struct prompts *p, size_t room, int at_once, size_t *hits)
{
	struct engine g;
	size_t sum = 0;

	engine_open(&g, room, at_once);
	for (size_t i = 0; i < p->n; i++) {
		struct genreq *r =
			make_request(i, p->block + p->first[i], p->first[i + 1] - p->first[i]);

		sched_vllm_v1.add(g.sched, r);
		g.running[g.n_running++] = r;
		if (g.n_running == (size_t)at_once || i + 1 == p->n)
			engine_run(&g, hits);
	}
	engine_close(&g);
	for (size_t i = 0; i < p->n; i++)
		sum += hits[i];
	return sum;
}

static size_t expect_lru(const struct prompts *p, size_t room)
{
	size_t *hits = xcalloc(p->n, sizeof(*hits)), found = serve(p, room, 1, hits);
	struct lru l;

	lru_init(&l, p->n_ids);
	for (size_t i = 0; i < p->n; i++) {
		size_t want =
			lru_serve(&l, p->block + p->first[i], p->first[i + 1] - p->first[i], room);

		if (hits[i] != want)
			fail_msg("%zu blocks, request %zu: found %zu of its blocks, the list says "
				 "%zu",
				 room, i, hits[i], want);
	}
	lru_release(&l);
	free(hits);
	return found;
}

static double share(const struct prompts *p, size_t hits)
{
	return (double)hits / (double)p->n_blocks;
}

static void prompts_release(struct prompts *p)
{
	free(p->first);
	free(p->block);
}

/* ---- where prompts come from ---- */

/* A tree of 3 ways at each block, so that prompts share all lengths of prefixes; each node of it is
 * an id. */
static struct prompts random_prompts(uint64_t seed)
{
	enum { PROMPTS = 2000, DEPTH = 7 };
	struct prompts p = {.n = PROMPTS};
	struct rng r;

	rng_init(&r, seed, "prompts", 0);
	p.first = xcalloc(p.n + 1, sizeof(*p.first));
	p.block = xcalloc(p.n * DEPTH, sizeof(*p.block));
	for (size_t i = 0; i < p.n; i++) {
		size_t depth = 1 + rng_below(&r, DEPTH);
		uint32_t node = 0;

		p.first[i] = p.n_blocks;
		for (size_t k = 0; k < depth; k++) {
			node = 3 * node + 1 + (uint32_t)rng_below(&r, 3);
			p.block[p.n_blocks++] = node;
			p.n_ids = node > p.n_ids ? node : p.n_ids;
		}
	}
	p.first[p.n] = p.n_blocks;
	return p;
}

/* Ids from 1: 0 is the ring. */
static struct prompts trace_prompts(const char *path)
{
	struct prompts p = {0};
	struct trace t = {0};
	struct err e;

	if (access(path, R_OK) != 0) {
		print_message("skipped: no %s\n", path);
		skip();
	}
	if (trace_read(&t, path, &e))
		fail_msg("%s", e.msg);
	p.n = t.n;
	p.first = xcalloc(p.n + 1, sizeof(*p.first));
	p.block = xcalloc(t.n_blocks + 1, sizeof(*p.block));
	for (size_t i = 0; i < t.n; i++) {
		p.first[i] = p.n_blocks;
		for (size_t k = 0; k < t.row[i].n_blocks; k++) {
			uint32_t id = t.block[t.row[i].first_block + k] + 1;

			p.block[p.n_blocks++] = id;
			p.n_ids = id > p.n_ids ? id : p.n_ids;
		}
	}
	p.first[p.n] = p.n_blocks;
	trace_release(&t);
	return p;
}

/* ---- the tests ---- */

/* From as few as hold one prompt. */
static void test_random(void **state)
{
	static const size_t rooms[] = {8, 9, 11, 16, 32, 64, 256, 1024, 4000};
	struct prompts p = random_prompts(1);
	size_t before = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
		size_t found = expect_lru(&p, rooms[i]);

		assert_true(found >= before);
		before = found;
	}
	assert_true(before > p.n_blocks / 2);
	prompts_release(&p);
}

static void test_documents(void **state)
{
	struct prompts p = trace_prompts(SOURCE_DIR "/scenarios/traces/documents.jsonl");
	size_t longest = 0, before = 0;

	(void)state;
	for (size_t i = 0; i < p.n; i++)
		longest = p.first[i + 1] - p.first[i] > longest ? p.first[i + 1] - p.first[i]
								: longest;
	for (size_t room = longest + 1; room < 16 * longest; room *= 2) {
		size_t found = expect_lru(&p, room);

		assert_true(found >= before);
		before = found;
	}
	prompts_release(&p);
}

/* What each size of the cache finds of the Mooncake conversations, and all that there is to find:
 * 36.6 %. */
static void test_mooncake(void **state)
{
	static const size_t rooms[] = {400, 1000, 3000, 10000, 30000, 100000, 200000};
	struct prompts p = trace_prompts(SHARED_DIR "/data/traces/mooncake_conversation_trace."
						    "jsonl");
	size_t before = 0, *hits = xcalloc(p.n, sizeof(*hits));

	(void)state;
	assert_int_equal(p.n, 12031);
	for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
		size_t found = expect_lru(&p, rooms[i]);

		print_message("%7zu blocks of 512 tokens: %5.2f %% of the prompts' blocks are "
			      "found\n",
			      rooms[i], 100 * share(&p, found));
		assert_true(found > before || (i && found == before && before > p.n_blocks / 3));
		before = found;
	}
	assert_true(fabs(share(&p, before) - 0.366) < 0.0005);

	/* In company, too, where all that was computed stays: what one step names, the next of the
	 * same step finds. */
	assert_int_equal(serve(&p, 200000, 64, hits), before);
	free(hits);
	prompts_release(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_documents),
		cmocka_unit_test(test_mooncake),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
