/*
 * The KV block ledger: small cases in which every block can be followed by hand, then random
 * workloads with a second, naive book beside the ledger.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/die.h"
#include "base/rng.h"
#include "serve/kvpool.h"

enum { BS = 4 }; /* tokens a block in all cases but where said */

/* A prompt of n tokens that begins with `shared` common ones and goes on with its own. */
static struct genreq *request(uint64_t id, int32_t shared, int32_t n)
{
	int32_t *prompt = xcalloc((size_t)n, sizeof(*prompt));
	struct genreq *r;

	for (int32_t i = 0; i < n; i++)
		prompt[i] = i < shared ? i : (int32_t)(1000 * (id + 1)) + i;
	r = genreq_new(id, NULL, prompt, n, 1000);
	free(prompt);
	return r;
}

/* As a policy does it: look up, admit, name. Everything is computed in one step. */
static bool admit(struct kvpool *p, struct genreq *r)
{
	int32_t hit = kvpool_lookup(p, r, r->n_tokens - 1);

	if (!kvpool_admit(p, r, hit, r->n_tokens, 0, 0))
		return false;
	r->cached_tokens = hit;
	kvpool_cache_full(p, r, r->n_tokens);
	r->slot.computed = r->n_tokens;
	kvpool_check(p);
	return true;
}

static void release(struct kvpool *p, struct genreq *r)
{
	kvpool_release(p, r);
	r->slot.computed = 0;
	kvpool_check(p);
}

static void assert_blocks(const struct genreq *r, int32_t n, const int32_t *id)
{
	assert_int_equal(r->slot.n_blocks, n);
	assert_memory_equal(r->slot.block, id, (size_t)n * sizeof(*id));
}
#define assert_holds(r, ...)                                                                       \
	assert_blocks((r), (int32_t)(sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t)),          \
		      (int32_t[]){__VA_ARGS__})

static void the_null_block_is_set_aside(void **state)
{
	struct kvpool *p = kvpool_new(4, BS, true);
	struct genreq *r = request(0, 0, 3 * BS);

	(void)state;
	assert_int_equal(kvpool_usable_blocks(p), 3);
	assert_int_equal(kvpool_free_blocks(p), 3);
	assert_true(admit(p, r));
	assert_holds(r, 1, 2, 3);
	assert_int_equal(kvpool_free_blocks(p), 0);
	assert_false(kvpool_grow(p, r, 3 * BS + 1));
	assert_true(kvpool_grow(p, r, 3 * BS));
	release(p, r);
	assert_int_equal(kvpool_free_blocks(p), 3);
	kvpool_free(p);
	genreq_free(r);
}

/*
 * A of 10 tokens holds 1 2 3; 1 and 2 are full and named, 3 is not. Free: 4 5. Its release gives
 * them back from the last to the first: 3, nameless, before all others; 2, then 1, behind them.
 * Queue: 3 4 5 2 1. B takes 3 4 5 2 and so takes the name of 2 away, but not that of 1, the head of
 * the prefix.
 */
static void tails_are_evicted_before_heads(void **state)
{
	struct kvpool *p = kvpool_new(6, BS, true);
	struct genreq *a = request(0, 0, 10), *b = request(1, 0, 16);

	(void)state;
	assert_true(admit(p, a));
	assert_holds(a, 1, 2, 3);
	release(p, a);
	assert_int_equal(kvpool_lookup(p, a, 9), 8);
	assert_true(admit(p, b));
	assert_holds(b, 3, 4, 5, 2);
	assert_int_equal(kvpool_lookup(p, a, 9), 4);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

/* A hit on a block that nobody holds takes it out of the queue, so it counts as needed; on a held
 * one it costs nothing. */
static void hits_on_free_blocks_need_room_too(void **state)
{
	struct kvpool *p = kvpool_new(6, BS, true);
	struct genreq *a = request(0, 8, 8), *b = request(1, 8, 12), *c = request(2, 8, 12),
		      *d = request(3, 0, 8);

	(void)state;
	assert_true(admit(p, a));
	assert_true(admit(p, d)); /* 1 2 and 3 4; 5 is free */
	assert_true(admit(p, b)); /* shares 1 2, takes 5 */
	assert_holds(b, 1, 2, 5);
	assert_int_equal(kvpool_free_blocks(p), 0);
	release(p, a);
	assert_int_equal(kvpool_free_blocks(p), 0); /* b still holds 1 2 */
	release(p, b);
	assert_int_equal(kvpool_free_blocks(p), 3);
	/* c would find 1 2 and need one more: all three free blocks. With 1 to be left free it does
	 * not fit. */
	assert_int_equal(kvpool_lookup(p, c, 11), 8);
	assert_false(kvpool_admit(p, c, 8, 12, 0, 1));
	assert_false(kvpool_admit(p, c, 8, 12, 13, 0));
	assert_int_equal(c->slot.n_blocks, 0);
	assert_int_equal(kvpool_free_blocks(p), 3);
	assert_true(kvpool_admit(p, c, 8, 12, 12, 0));
	/* b's release: 5 (named, the tail), 2, 1. */
	assert_holds(c, 1, 2, 5);
	kvpool_check(p);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
	genreq_free(d);
}

/* The whole prompt is cached, but the last token must be computed: block 2 is computed again under
 * the same name. */
static void a_whole_prompt_in_the_cache_makes_twins(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *a = request(0, 8, 8), *b = request(1, 8, 8), *c = request(2, 8, 8),
		      *d = request(3, 8, 9);

	(void)state;
	assert_true(admit(p, a));
	assert_true(admit(p, b));
	assert_true(admit(p, c));
	assert_holds(a, 1, 2);
	assert_holds(b, 1, 3);
	assert_holds(c, 1, 4);
	assert_true(admit(p, d)); /* of the twins 2 3 4 the one named first answers */
	assert_holds(d, 1, 2, 5);
	release(p, d);
	release(p, a);				/* queue: 5 6 7 2 */
	assert_true(kvpool_grow(p, c, 6 * BS)); /* takes 5 6 7 2 */
	assert_holds(c, 1, 4, 5, 6, 7, 2);
	kvpool_check(p);
	release(p, b); /* 3 */
	/* 2 has lost its name: 3 is the first now. */
	assert_int_equal(kvpool_lookup(p, d, 8), 8);
	assert_true(kvpool_admit(p, d, 8, 8, 0, 0));
	assert_holds(d, 1, 3);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
	genreq_free(d);
}

static void output_is_found_again(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *r = request(0, 0, 6);

	(void)state;
	assert_true(admit(p, r));
	for (int32_t i = 0; i < 5; i++) {
		genreq_push_token(r, 500 + i, -1, 1000);
		assert_true(kvpool_grow(p, r, r->n_tokens));
		kvpool_cache_full(p, r, r->n_tokens);
		r->slot.computed = r->n_tokens;
	}
	release(p, r); /* 11 tokens: two full blocks, the second of both prompt and output */
	assert_int_equal(kvpool_lookup(p, r, 10), 8);
	assert_int_equal(kvpool_lookup(p, r, 7), 4); /* whole blocks below the limit */
	kvpool_free(p);
	genreq_free(r);
}

/* A step that is never computed must not leave names behind that promise its content. */
static void what_was_not_computed_loses_its_name(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *a = request(0, 12, 12), *b = request(1, 12, 13);

	(void)state;
	assert_true(kvpool_admit(p, a, 0, 12, 0, 0));
	kvpool_cache_full(p, a, 12);
	assert_int_equal(kvpool_lookup(p, b, 12), 12);
	assert_true(kvpool_admit(p, b, 12, 13, 0, 0));
	kvpool_check(p);
	a->slot.computed = 5; /* only its first chunk was */
	release(p, a);
	b->slot.computed = 0;
	release(p, b);
	assert_int_equal(kvpool_lookup(p, b, 12), 0);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

static void without_caching_nothing_is_found(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, false);
	struct genreq *a = request(0, 8, 8), *b = request(1, 8, 8);

	(void)state;
	assert_true(admit(p, a));
	assert_true(admit(p, b));
	assert_int_equal(b->cached_tokens, 0);
	assert_int_equal(kvpool_free_blocks(p), 3);
	release(p, a);
	release(p, b);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

/* A name depends on every token before and in its block: change any one of them, and nothing from
 * there on is found. */
static void every_token_counts(void **state)
{
	static const int32_t sizes[] = {1, 2, 3, 4, 5, 7, 16};

	(void)state;
	for (size_t k = 0; k < sizeof(sizes) / sizeof(sizes[0]); k++) {
		int32_t bs = sizes[k], n = 4 * bs;
		struct kvpool *p = kvpool_new(64, bs, true);
		struct genreq *a = request(0, n, n);

		assert_true(admit(p, a));
		for (int32_t at = 0; at < n; at++) {
			for (int32_t change = 1; change < 1 << 20; change *= 4) {
				struct genreq *b = request(1, n, n);

				b->tokens[at] ^= change;
				assert_int_equal(kvpool_lookup(p, b, n), at / bs * bs);
				genreq_free(b);
			}
		}
		kvpool_free(p);
		genreq_free(a);
	}
}

/* ---- random workloads ---- */

enum { REQUESTS = 24, BLOCKS = 60, MAX_LEN = 120 };

/* What block id should hold, kept the slow way: its whole prefix, written when it is named. */
struct book {
	struct kvpool *pool;
	struct genreq *r[REQUESTS];
	int32_t n_prefix[BLOCKS]; /* 0 = no name */
	int32_t prefix[BLOCKS][MAX_LEN];
};

/* Tokens 0 and 1 only, so that prefixes meet by chance, and whole prompts come back. */
static struct genreq *random_request(struct rng *g, uint64_t id)
{
	int32_t prompt[MAX_LEN], n = 1 + (int32_t)rng_below(g, MAX_LEN / 2);

	for (int32_t i = 0; i < n; i++)
		prompt[i] = rng_below(g, 12) == 0;
	return genreq_new(id, NULL, prompt, n, 1000);
}

static int32_t naive_lookup(const struct book *b, const struct genreq *r, int32_t limit)
{
	int32_t len = 0;

	for (bool found = true; found && len + BS <= limit;) {
		found = false;
		for (int32_t id = 1; id < BLOCKS; id++)
			found |= b->n_prefix[id] == len + BS &&
				 !memcmp(b->prefix[id], r->tokens,
					 (size_t)(len + BS) * sizeof(int32_t));
		len += found ? BS : 0;
	}
	return len;
}

/* Blocks handed out beyond `kept` lose what they held; those full with `computed` tokens get r's
 * prefix. */
static void write_book(struct book *b, const struct genreq *r, int32_t kept, int32_t computed)
{
	for (int32_t i = kept; i < r->slot.n_blocks; i++)
		b->n_prefix[r->slot.block[i]] = 0;
	for (int32_t i = 0; (i + 1) * BS <= computed; i++) {
		b->n_prefix[r->slot.block[i]] = (i + 1) * BS;
		memcpy(b->prefix[r->slot.block[i]], r->tokens,
		       (size_t)(i + 1) * BS * sizeof(int32_t));
	}
}

static void check_book(const struct book *b)
{
	int32_t holders[BLOCKS] = {0}, held = 0;

	kvpool_check(b->pool);
	for (int i = 0; i < REQUESTS; i++) {
		if (!b->r[i])
			continue;
		for (int32_t k = 0; k < b->r[i]->slot.n_blocks; k++) {
			int32_t id = b->r[i]->slot.block[k];

			assert_true(id > 0 && id < BLOCKS);
			held += holders[id]++ == 0;
			/* Whoever shares a block agrees on what is in it. */
			if ((k + 1) * BS <= b->r[i]->slot.computed) {
				assert_int_equal(b->n_prefix[id], (k + 1) * BS);
				assert_memory_equal(b->prefix[id], b->r[i]->tokens,
						    (size_t)(k + 1) * BS * sizeof(int32_t));
			} else {
				assert_int_equal(holders[id], 1);
			}
		}
	}
	assert_int_equal(kvpool_free_blocks(b->pool), BLOCKS - 1 - held);
}

static void admit_or_grow(struct book *b, struct genreq *r, struct rng *g)
{
	int32_t before = r->slot.n_blocks, free_before = kvpool_free_blocks(b->pool), kept = before,
		to;
	bool done;

	if (before == 0) {
		int32_t hit = kvpool_lookup(b->pool, r, r->n_tokens - 1),
			must = rng_below(g, 2) ? r->n_tokens : 0;

		assert_int_equal(hit, naive_lookup(b, r, r->n_tokens - 1));
		to = hit + 1 + (int32_t)rng_below(g, (uint64_t)(r->n_tokens - hit));
		done = kvpool_admit(b->pool, r, hit, to, must, (int32_t)rng_below(g, 3));
		kept = hit / BS;
	} else {
		if (r->slot.computed == r->n_tokens)
			genreq_push_token(r, (int32_t)rng_below(g, 2), -1, INT32_MAX);
		to = r->slot.computed + 1 +
		     (int32_t)rng_below(g, (uint64_t)(r->n_tokens - r->slot.computed));
		done = kvpool_grow(b->pool, r, to);
	}
	if (!done) {
		assert_int_equal(r->slot.n_blocks, before);
		assert_int_equal(kvpool_free_blocks(b->pool), free_before);
		return;
	}
	kvpool_cache_full(b->pool, r, to);
	r->slot.computed = to;
	write_book(b, r, kept, to);
}

static void random_workloads_keep_the_books(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct book *b = xcalloc(1, sizeof(*b));
		struct rng g;

		rng_init(&g, seed, "kvpool", 0);
		b->pool = kvpool_new(BLOCKS, BS, true);
		for (uint64_t op = 0; op < 4000; op++) {
			struct genreq **r = &b->r[rng_below(&g, REQUESTS)];

			if (!*r) {
				*r = random_request(&g, op);
			} else if ((*r)->n_tokens >= MAX_LEN - 1 || rng_below(&g, 12) == 0) {
				kvpool_release(b->pool, *r);
				(*r)->slot.computed = 0; /* some come back: preempted */
				if ((*r)->n_tokens >= MAX_LEN - 1 || rng_below(&g, 2)) {
					genreq_free(*r);
					*r = NULL;
				}
			} else {
				admit_or_grow(b, *r, &g);
			}
			check_book(b);
		}
		for (int i = 0; i < REQUESTS; i++) {
			if (b->r[i])
				kvpool_release(b->pool, b->r[i]);
			genreq_free(b->r[i]);
		}
		kvpool_check(b->pool);
		assert_int_equal(kvpool_free_blocks(b->pool), kvpool_usable_blocks(b->pool));
		kvpool_free(b->pool);
		free(b);
	}
}

/* ---- a cache that is given up as a whole ---- */

/* As hf-cb does it: look up, take what is found, grow, name when computed. */
static bool compute_shared(struct kvpool *p, struct genreq *r)
{
	int32_t hit = kvpool_lookup(p, r, r->n_tokens - 1);

	if (!kvpool_admit(p, r, hit, hit, 0, 0))
		return false;
	r->cached_tokens = r->slot.computed = hit;
	if (!kvpool_grow(p, r, r->n_tokens)) {
		release(p, r);
		return false;
	}
	return true;
}

static void computed(struct kvpool *p, struct genreq *r)
{
	r->slot.computed = r->n_tokens;
	kvpool_share_full(p, r, r->n_tokens);
	kvpool_check(p);
}

/*
 * A and B begin with the same 8 tokens and are computed side by side: A in 1 2 3, B in 4 5 6. A's
 * full blocks get names; B's first two would get the same ones and go back for 1 and 2, each to the
 * front, so that 5 is the first of the free. When A has gone, 1 and 2 are still B's. When B has,
 * they are free and named, 3 and 6 free.
 */
static void equal_blocks_become_one(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *a = request(0, 8, 9), *b = request(1, 8, 10), *c = request(2, 8, 13);

	(void)state;
	assert_true(compute_shared(p, a));
	assert_true(compute_shared(p, b));
	assert_holds(a, 1, 2, 3);
	assert_holds(b, 4, 5, 6);
	computed(p, a);
	assert_int_equal(kvpool_free_blocks(p), 1);
	computed(p, b);
	assert_holds(b, 1, 2, 6);
	assert_int_equal(kvpool_free_blocks(p), 3);
	assert_int_equal(kvpool_cached_blocks(p), 0);
	release(p, a);
	assert_int_equal(kvpool_cached_blocks(p), 0);
	release(p, b);
	assert_int_equal(kvpool_cached_blocks(p), 2);
	assert_int_equal(kvpool_free_blocks(p), 7);
	/* C takes both back and two new ones: the last to have become free, 6, then 3. */
	assert_true(compute_shared(p, c));
	assert_int_equal(c->cached_tokens, 8);
	assert_holds(c, 1, 2, 6, 3);
	assert_int_equal(kvpool_cached_blocks(p), 0);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
	genreq_free(c);
}

/* What is forgotten is not found, and what is held keeps its name. */
static void cached_blocks_are_forgotten_together(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *a = request(0, 0, 9), *b = request(1, 0, 9);

	(void)state;
	compute_shared(p, a);
	computed(p, a);
	compute_shared(p, b);
	computed(p, b);
	release(p, a);
	assert_int_equal(kvpool_cached_blocks(p), 2);
	assert_int_equal(kvpool_lookup(p, a, 8), 8);
	kvpool_forget_cached(p);
	kvpool_check(p);
	assert_int_equal(kvpool_cached_blocks(p), 0);
	assert_int_equal(kvpool_lookup(p, a, 8), 0);
	assert_int_equal(kvpool_lookup(p, b, 8), 8);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

/* A's own block goes without a name, those it shares with B stay. */
static void what_is_discarded_is_not_kept(void **state)
{
	struct kvpool *p = kvpool_new(8, BS, true);
	struct genreq *a = request(0, 8, 12), *b = request(1, 8, 9);

	(void)state;
	compute_shared(p, a);
	computed(p, a);
	compute_shared(p, b);
	computed(p, b);
	assert_holds(b, 1, 2, 4);
	kvpool_discard(p, a);
	kvpool_check(p);
	assert_int_equal(a->slot.n_blocks, 0);
	assert_int_equal(kvpool_cached_blocks(p), 0);
	assert_int_equal(kvpool_free_blocks(p), 4);
	assert_int_equal(kvpool_lookup(p, a, 12), 8);
	kvpool_free(p);
	genreq_free(a);
	genreq_free(b);
}

/* Many requests with long common prefixes: the books stay right, and no content is there twice. */
static void random_sharing_keeps_the_books(void **state)
{
	enum { N = 12, ROUNDS = 4000 };
	struct kvpool *p = kvpool_new(60, BS, true);
	struct genreq *r[N] = {0};
	struct rng g;

	(void)state;
	rng_init(&g, 7, "sharing", 0);
	for (int round = 0; round < ROUNDS; round++) {
		uint64_t i = rng_below(&g, N);

		if (!r[i]) {
			r[i] = request(rng_below(&g, 5), (int32_t)rng_below(&g, 40),
				       40 + (int32_t)rng_below(&g, 20));
			if (compute_shared(p, r[i]))
				continue;
		} else if (r[i]->slot.computed < r[i]->n_tokens) {
			computed(p, r[i]);
			assert_true(kvpool_lookup(p, r[i], r[i]->n_tokens) ==
				    r[i]->n_tokens / BS * BS);
			continue;
		} else if (rng_below(&g, 2)) {
			release(p, r[i]);
		} else {
			kvpool_discard(p, r[i]);
		}
		if (rng_below(&g, 10) == 0)
			kvpool_forget_cached(p);
		kvpool_check(p);
		genreq_free(r[i]);
		r[i] = NULL;
	}
	for (int i = 0; i < N; i++) {
		if (r[i])
			release(p, r[i]);
		genreq_free(r[i]);
	}
	assert_int_equal(kvpool_free_blocks(p), kvpool_usable_blocks(p));
	kvpool_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_null_block_is_set_aside),
		cmocka_unit_test(tails_are_evicted_before_heads),
		cmocka_unit_test(hits_on_free_blocks_need_room_too),
		cmocka_unit_test(a_whole_prompt_in_the_cache_makes_twins),
		cmocka_unit_test(output_is_found_again),
		cmocka_unit_test(what_was_not_computed_loses_its_name),
		cmocka_unit_test(without_caching_nothing_is_found),
		cmocka_unit_test(every_token_counts),
		cmocka_unit_test(random_workloads_keep_the_books),
		cmocka_unit_test(equal_blocks_become_one),
		cmocka_unit_test(cached_blocks_are_forgotten_together),
		cmocka_unit_test(what_is_discarded_is_not_kept),
		cmocka_unit_test(random_sharing_keeps_the_books),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
