/*
 * Owns the memory of keys and values. Made and released by the executor's thread; written and read
 * by the pool during a step. Must not know who holds which page: that is the ledger's.
 */
#include "kv_pages.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/die.h"

int64_t kv_pages_bytes(const struct model_config *c, int32_t n_pages, int32_t page_tokens)
{
	int64_t token_bytes =
		(int64_t)c->n_layers * 2 * c->n_kv_heads * c->head_dim * (int64_t)sizeof(uint16_t);

	return token_bytes * n_pages * page_tokens;
}

/* Mapped, not allocated: the kernel gives pages as they are first written. Large ones, as attention
 * jumps from page to page. */
void kv_pages_init(struct kv_pages *p, const struct model_config *c, int32_t n_pages,
		   int32_t page_tokens)
{
	CHECK(n_pages > 0 && page_tokens > 0);
	*p = (struct kv_pages){
		.bytes = (size_t)kv_pages_bytes(c, n_pages, page_tokens),
		.n_pages = n_pages,
		.page_tokens = page_tokens,
		.n_kv_heads = c->n_kv_heads,
		.head_dim = c->head_dim,
	};
	p->data = mmap(NULL, p->bytes, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p->data == MAP_FAILED)
		die("%zu bytes for keys and values: %s", p->bytes, strerror(errno));
	madvise(p->data, p->bytes, MADV_HUGEPAGE);
}

void kv_pages_release(struct kv_pages *p)
{
	if (p->data)
		munmap(p->data, p->bytes);
	memset(p, 0, sizeof(*p));
}
