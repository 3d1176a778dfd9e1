/*
 * Owns a table of words, and two arenas for their bytes and ids. Must not know vocabularies.
 */
#include "word_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/die.h"

enum {
	SLOTS = 1 << 16,
	MAX_WORDS = SLOTS / 2,
	MAX_BYTES = 1 << 19,
	MAX_IDS = 1 << 18,
};

struct slot {
	uint64_t hash; /* 0 = empty */
	uint32_t bytes_at, ids_at;
	uint16_t len, n;
};

struct word_cache {
	struct slot slot[SLOTS];
	int32_t n_words;
	uint32_t n_bytes, n_ids;
	char bytes[MAX_BYTES];
	int32_t id[MAX_IDS];
};

struct word_cache *word_cache_new(void)
{
	return xcalloc(1, sizeof(struct word_cache));
}

void word_cache_free(struct word_cache *c)
{
	free(c);
}

static uint64_t hash_word(const char *word, size_t len)
{
	uint64_t h = 0x9e3779b97f4a7c15u ^ len, eight;

	for (; len >= 8; word += 8, len -= 8) {
		memcpy(&eight, word, 8);
		h = (h ^ eight) * 0xff51afd7ed558ccdu;
		h ^= h >> 32;
	}
	eight = 0;
	memcpy(&eight, word, len);
	h = (h ^ eight) * 0xff51afd7ed558ccdu;
	return (h ^ h >> 32) | 1;
}

/* Its slot, or the empty one where it would stand. */
static const struct slot *find(const struct word_cache *c, uint64_t hash, const char *word,
			       size_t len)
{
	size_t i = (size_t)(hash >> 8) % SLOTS;

	for (; c->slot[i].hash; i = (i + 1) % SLOTS)
		if (c->slot[i].hash == hash && c->slot[i].len == len &&
		    memcmp(c->bytes + c->slot[i].bytes_at, word, len) == 0)
			break;
	return &c->slot[i];
}

const int32_t *word_cache_get(const struct word_cache *c, const char *word, size_t len, int32_t *n)
{
	const struct slot *s;

	if (len > WORD_CACHE_MAX_LEN)
		return NULL;
	s = find(c, hash_word(word, len), word, len);
	if (!s->hash)
		return NULL;
	*n = s->n;
	return c->id + s->ids_at;
}

void word_cache_put(struct word_cache *c, const char *word, size_t len, const int32_t *id,
		    int32_t n)
{
	const uint64_t hash = hash_word(word, len);
	struct slot *s;

	if (len > WORD_CACHE_MAX_LEN)
		return;
	if (c->n_words == MAX_WORDS || c->n_bytes + len > MAX_BYTES ||
	    c->n_ids + (uint32_t)n > MAX_IDS) {
		memset(c->slot, 0, sizeof(c->slot));
		c->n_words = 0;
		c->n_bytes = c->n_ids = 0;
	}
	s = (struct slot *)find(c, hash, word, len);
	*s = (struct slot){hash, c->n_bytes, c->n_ids, (uint16_t)len, (uint16_t)n};
	memcpy(c->bytes + c->n_bytes, word, len);
	memcpy(c->id + c->n_ids, id, (size_t)n * sizeof(*id));
	c->n_bytes += (uint32_t)len;
	c->n_ids += (uint32_t)n;
	c->n_words++;
}
