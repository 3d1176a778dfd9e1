/*
 * The prefix cache by token: small trees in which every node can be followed by hand, then random
 * use with a naive list of prefixes beside it. Prompts are strings here: a token is a letter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "serve/radix.h"

enum { MAX_LEN = 64 };

static int32_t letters(const char *text, int32_t *tokens)
{
	int32_t n = (int32_t)strlen(text);

	for (int32_t i = 0; i < n; i++)
		tokens[i] = (unsigned char)text[i];
	return n;
}

static struct radix_node *insert(struct radix *t, const char *text, int32_t want_cached)
{
	int32_t tokens[MAX_LEN], cached, n = letters(text, tokens);
	struct radix_node *at = radix_insert(t, tokens, n, &cached);

	assert_int_equal(cached, want_cached);
	radix_check(t);
	return at;
}

static struct radix_node *match(struct radix *t, const char *text, int32_t want)
{
	int32_t tokens[MAX_LEN], len, n = letters(text, tokens);
	struct radix_node *at = radix_match(t, tokens, n, &len);

	assert_int_equal(len, want);
	assert_int_equal(at != NULL, want > 0);
	radix_check(t);
	return at;
}

static void evict(struct radix *t, int32_t tokens, int32_t want)
{
	assert_int_equal(radix_evict(t, tokens), want);
	radix_check(t);
}

static void prefixes_are_shared(void **state)
{
	struct radix *t = radix_new(false);

	(void)state;
	match(t, "hello", 0);
	match(t, "", 0);
	assert_null(insert(t, "", 0));
	insert(t, "hello", 0);
	assert_int_equal(radix_tokens(t), 5);
	insert(t, "hello", 5);
	insert(t, "help", 3);
	assert_int_equal(radix_tokens(t), 6); /* hel + lo + p */
	insert(t, "he", 2);
	insert(t, "hello world", 5);
	insert(t, "world", 0);
	assert_int_equal(radix_tokens(t), 6 + 6 + 5);
	assert_int_equal(radix_evictable(t), 17);
	match(t, "hello", 5);
	match(t, "hello w", 7);
	match(t, "helm", 3);
	match(t, "h", 1);
	match(t, "x", 0);
	radix_free(t);
}

/*
 * "abc" is older than "abd", but was matched since: "abd" goes first, its "d" only, as "ab" has
 * another child. Then "xy", which came between; then "c", and at last "ab", which no one else needs
 * any more.
 */
static void the_least_recently_used_leaf_goes_first(void **state)
{
	struct radix *t = radix_new(false);

	(void)state;
	insert(t, "abc", 0);
	insert(t, "abd", 2);
	insert(t, "xy", 0);
	match(t, "abc", 3);
	evict(t, 1, 1);
	match(t, "abd", 2);
	match(t, "abc", 3);
	evict(t, 1, 2); /* whole leaves: two tokens for one asked */
	match(t, "xy", 0);
	evict(t, 1, 1);
	match(t, "abc", 2);
	evict(t, 1, 2);
	assert_int_equal(radix_tokens(t), 0);
	evict(t, 1, 0);
	radix_free(t);
}

static void a_leaf_may_be_cut(void **state)
{
	struct radix *t = radix_new(true);

	(void)state;
	insert(t, "abcdef", 0);
	insert(t, "abxyz", 2);
	evict(t, 3, 3); /* "cdef" is the older leaf and keeps "c" */
	match(t, "abcdef", 3);
	match(t, "abxyz", 5);
	evict(t, 3, 3); /* all of "c", then "z" and "y" of the other */
	match(t, "abcdef", 2);
	match(t, "abxyz", 3);
	assert_int_equal(radix_tokens(t), 3);
	radix_free(t);
}

static void what_is_locked_stays(void **state)
{
	struct radix *t = radix_new(false);
	struct radix_node *abcd, *ab;

	(void)state;
	abcd = insert(t, "abcd", 0);
	radix_lock(t, abcd);
	assert_int_equal(radix_evictable(t), 0);
	/* The node is split under the lock, which goes on to hold both halves. */
	insert(t, "abxx", 2);
	assert_int_equal(radix_evictable(t), 2);
	ab = match(t, "ab", 2);
	radix_lock(t, ab);
	evict(t, 100, 2);
	match(t, "abcd", 4);
	radix_unlock(t, abcd);
	assert_int_equal(radix_evictable(t), 2); /* "cd": "ab" has its own lock */
	radix_check(t);
	evict(t, 100, 2);
	match(t, "abcd", 2);
	radix_lock(t, ab);
	radix_unlock(t, ab);
	radix_unlock(t, ab);
	evict(t, 100, 2);
	radix_lock(t, NULL);
	radix_unlock(t, NULL);
	radix_free(t);
}

/* A leaf that is locked and let go returns to its own place in the order, not to the end of it. */
static void a_lock_is_not_a_use(void **state)
{
	struct radix *t = radix_new(false);
	struct radix_node *a;

	(void)state;
	a = insert(t, "aa", 0);
	insert(t, "bb", 0);
	radix_lock(t, a);
	radix_unlock(t, a);
	evict(t, 1, 2);
	match(t, "aa", 0);
	match(t, "bb", 2);
	radix_free(t);
}

/* ---- random use ---- */

enum { PREFIXES = 50, USES = 1500 };

/* A naive cache: every prefix inserted, and how much of it is left. A prefix is cached if one of
 * these begins with it. */
struct book {
	struct radix *t;
	int n;
	struct entry {
		int32_t text[MAX_LEN], left;
		struct radix_node *lock; /* or NULL; then all of it must stay */
		int32_t locked;
	} e[PREFIXES];
};

static int32_t shared(const int32_t *a, int32_t n_a, const int32_t *b, int32_t n_b)
{
	int32_t k = 0;

	while (k < n_a && k < n_b && a[k] == b[k])
		k++;
	return k;
}

static int32_t naive_match(const struct book *b, int n, const int32_t *text, int32_t len)
{
	int32_t best = 0;

	for (int i = 0; i < n; i++) {
		int32_t k = shared(b->e[i].text, b->e[i].left, text, len);

		best = k > best ? k : best;
	}
	return best;
}

/* Distinct prefixes are tokens of the tree: each counts where no earlier entry has it. */
static int32_t naive_tokens(const struct book *b)
{
	int32_t tokens = 0;

	for (int i = 0; i < b->n; i++)
		tokens += b->e[i].left - naive_match(b, i, b->e[i].text, b->e[i].left);
	return tokens;
}

/* What is left of an entry the tree is asked; that must add up to what it says it took, and all
 * that is locked must be there. */
static void evict_some(struct book *b, int32_t n, bool cut)
{
	int32_t before = radix_tokens(b->t), evictable = radix_evictable(b->t),
		evicted = radix_evict(b->t, n);

	assert_true(evicted >= n || evicted == evictable);
	assert_true(!cut || evicted == (n < evictable ? n : evictable));
	assert_int_equal(radix_tokens(b->t), before - evicted);
	assert_int_equal(radix_evictable(b->t), evictable - evicted);
	for (int i = 0; i < b->n; i++) {
		struct entry *e = &b->e[i];

		radix_match(b->t, e->text, e->left, &e->left);
		assert_true(e->left >= e->locked);
	}
}

/* With nothing left but what is locked, the other entries say nothing new. */
static void make_room(struct book *b, bool cut)
{
	int n = 0;

	evict_some(b, INT32_MAX, cut);
	assert_int_equal(radix_evictable(b->t), 0);
	for (int i = 0; i < b->n; i++)
		if (b->e[i].lock)
			b->e[n++] = b->e[i];
	b->n = n;
}

static void insert_and_lock(struct book *b, struct rng *g)
{
	struct entry *e = &b->e[b->n];
	int32_t cached, n = 1 + (int32_t)rng_below(g, MAX_LEN - 1);

	for (int32_t k = 0; k < n; k++)
		e->text[k] = rng_below(g, 6) == 0;
	e->lock = radix_insert(b->t, e->text, n, &cached);
	assert_int_equal(cached, naive_match(b, b->n, e->text, n));
	e->left = e->locked = n;
	radix_lock(b->t, e->lock);
	b->n++;
}

static void unlock(struct book *b, struct entry *e)
{
	radix_unlock(b->t, e->lock);
	e->lock = NULL;
	e->locked = 0;
}

static void use(struct book *b, struct rng *g, bool cut)
{
	int i = (int)rng_below(g, PREFIXES);

	if (i < b->n && b->e[i].lock)
		unlock(b, &b->e[i]);
	else if (b->n < PREFIXES)
		insert_and_lock(b, g);
	else
		make_room(b, cut);
	if (rng_below(g, 4) == 0)
		evict_some(b, 1 + (int32_t)rng_below(g, 30), cut);
}

static void random_use_keeps_the_books(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct book *b = calloc(1, sizeof(*b));
		bool cut = seed % 2;
		struct rng g;

		assert_non_null(b);
		rng_init(&g, seed, "radix", 0);
		b->t = radix_new(cut);
		for (int op = 0; op < USES; op++) {
			use(b, &g, cut);
			assert_int_equal(radix_tokens(b->t), naive_tokens(b));
			radix_check(b->t);
		}
		for (int i = 0; i < b->n; i++)
			if (b->e[i].lock)
				unlock(b, &b->e[i]);
		radix_evict(b->t, INT32_MAX);
		assert_int_equal(radix_tokens(b->t), 0);
		radix_check(b->t);
		radix_free(b->t);
		free(b);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(prefixes_are_shared),
		cmocka_unit_test(the_least_recently_used_leaf_goes_first),
		cmocka_unit_test(a_leaf_may_be_cut),
		cmocka_unit_test(what_is_locked_stays),
		cmocka_unit_test(a_lock_is_not_a_use),
		cmocka_unit_test(random_use_keeps_the_books),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
