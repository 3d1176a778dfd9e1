/*
 * The tensors behind the ledger of serve/kvpool.h: a page is what the ledger calls a block. Half
 * precision, laid out [layer][page][k|v][kv head][token of the page][head_dim], so that what one
 * head reads of one page is one run of memory.
 *
 * A page is written before it is read, by whoever computes its tokens, so nothing is cleared; pages
 * that were never used cost no memory.
 */
#ifndef CPU_KV_PAGES_H
#define CPU_KV_PAGES_H

#include <stddef.h>
#include <stdint.h>

#include "model/model.h"

enum kv_half { KV_KEYS, KV_VALUES };

struct kv_pages {
	uint16_t *data;
	size_t bytes;
	int32_t n_pages, page_tokens, n_kv_heads, head_dim;
};

void kv_pages_init(struct kv_pages *p, const struct model_config *c, int32_t n_pages,
		   int32_t page_tokens);
void kv_pages_release(struct kv_pages *p);

int64_t kv_pages_bytes(const struct model_config *c, int32_t n_pages, int32_t page_tokens);

/* [page_tokens][head_dim] of one head. */
static inline uint16_t *kv_page(const struct kv_pages *p, int32_t layer, int32_t page,
				enum kv_half half, int32_t kv_head)
{
	size_t run = (size_t)p->page_tokens * (size_t)p->head_dim;
	size_t at = (size_t)layer * (size_t)p->n_pages + (size_t)page;

	at = (at * 2 + (size_t)half) * (size_t)p->n_kv_heads + (size_t)kv_head;
	return p->data + at * run;
}

#endif
