/*
 * Owns what lanes do together: warp operations, barriers, shared memory, asynchronous copies. The
 * last lane that arrives does a warp operation for all of them, after it has checked that they mean
 * the same one. Must not know how lanes take turns.
 */
#include <stdlib.h>
#include <string.h>

#include "simt_state.h"

/* Through a pointer the sanitizers' own memcpy is called, which sees what is copied. */
static void *(*volatile seen_memcpy)(void *, const void *, size_t) = memcpy;

/* And by hand it is not seen: results of warp operations go from lane to lane in registers. */
static void unseen_copy(void *to, const void *from, size_t bytes)
{
	volatile char *out = to;
	const volatile char *in = from;

	while (bytes-- > 0)
		*out++ = *in++;
}

/* ---- the tensor core ---- */

static float half_value(uint32_t pair, int high)
{
	uint32_t h = high ? pair >> 16 : pair & 0xffff, bits;
	uint32_t sign = (h & 0x8000) << 16, exponent = h >> 10 & 31, m = h & 0x3ff;
	float f;

	if (exponent == 0) {
		f = (float)m * 0x1p-24f;
		return sign ? -f : f;
	}
	bits = sign | (exponent == 31 ? 0x7f800000 | m << 13 : (exponent + 112) << 23 | m << 13);
	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* in: a, b, d of each lane. */
static void multiply_fragments(struct lane *warp)
{
	float a[16][16], b[16][8], d[16][8];

	for (int l = 0; l < SIMT_WARP; l++) {
		const void *const *in = warp[l].request.in;
		const uint32_t *from_a = in[0], *from_b = in[1];
		const float *from_d = in[2];
		int group = l / 4, pair = l % 4 * 2;

		for (int h = 0; h < 2; h++) {
			for (int i = 0; i < 4; i++)
				a[group + i % 2 * 8][pair + i / 2 * 8 + h] =
					half_value(from_a[i], h);
			for (int i = 0; i < 2; i++)
				b[pair + i * 8 + h][group] = half_value(from_b[i], h);
		}
		for (int i = 0; i < 4; i++)
			d[group + i / 2 * 8][pair + i % 2] = from_d[i];
	}
	for (int m = 0; m < 16; m++)
		for (int k = 0; k < 16; k++)
			for (int n = 0; n < 8; n++)
				d[m][n] += a[m][k] * b[k][n];
	for (int l = 0; l < SIMT_WARP; l++)
		for (int i = 0; i < 4; i++)
			((float *)warp[l].request.out)[i] = d[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
}

static void load_matrices(struct lane *warp, bool turned)
{
	for (int l = 0; l < SIMT_WARP; l++) {
		for (int i = 0; i < 4; i++) {
			uint16_t pair[2];

			for (int h = 0; h < 2; h++) {
				int row = turned ? l % 4 * 2 + h : l / 4;
				int column = turned ? l / 4 : l % 4 * 2 + h;

				seen_memcpy(&pair[h],
					    (const uint16_t *)warp[i * 8 + row].request.in + column,
					    sizeof(pair[h]));
			}
			memcpy((uint32_t *)warp[l].request.out + i, pair, sizeof(pair));
		}
	}
}

/* ---- warp operations ---- */

static void check_warp_op(const struct block *b, uint32_t warp, const struct lane *first)
{
	const struct lane *lanes = b->lane + (ptrdiff_t)warp * SIMT_WARP;
	uint32_t mask = first->request.mask;

	if (mask & b->gone[warp])
		simt_fail("the warp operation at line %d names a lane that has exited (mask %08x)",
			  first->request.line, mask);
	for (int i = 0; i < SIMT_WARP; i++) {
		const struct warp_request *r = &lanes[i].request;

		if (!(mask >> i & 1))
			continue;
		if (r->op != first->request.op || r->mask != mask ||
		    r->line != first->request.line || r->bytes != first->request.bytes)
			simt_fail("lanes of a warp are in different operations: %u at line %d, %d "
				  "at line %d",
				  first->self.lane, first->request.line, i, r->line);
	}
	if (first->request.op >= SIMT_MMA_F16 && mask != 0xffffffffu)
		simt_fail("line %d needs all 32 lanes", first->request.line);
}

static void do_warp_op(struct lane *lanes, const struct warp_request *r)
{
	uint32_t votes = 0;

	switch (r->op) {
	case SIMT_SYNCWARP:
		break;
	case SIMT_SHUFFLE:
		for (int i = 0; i < SIMT_WARP; i++) {
			struct warp_request *to = &lanes[i].request;

			if (!(r->mask >> i & 1))
				continue;
			if (r->mask >> to->from_lane & 1)
				unseen_copy(to->out, lanes[to->from_lane].request.in, r->bytes);
			else
				simt_fill_nan(to->out, r->bytes); /* undefined */
		}
		break;
	case SIMT_BALLOT:
		for (int i = 0; i < SIMT_WARP; i++)
			if (r->mask >> i & 1)
				votes |= *(const uint32_t *)lanes[i].request.in << i;
		for (int i = 0; i < SIMT_WARP; i++)
			if (r->mask >> i & 1)
				*(uint32_t *)lanes[i].request.out = votes;
		break;
	case SIMT_MMA_F16:
		multiply_fragments(lanes);
		break;
	case SIMT_LOAD_MATRICES:
	case SIMT_LOAD_MATRICES_TURNED:
		load_matrices(lanes, r->op == SIMT_LOAD_MATRICES_TURNED);
		break;
	}
}

bool simt_finish_warp_op(struct block *b, uint32_t warp)
{
	struct lane *lanes = b->lane + (ptrdiff_t)warp * SIMT_WARP;
	const struct lane *first = &lanes[__builtin_ctz(b->waiting[warp])];
	struct warp_request r = first->request;

	if (r.mask & ~(b->waiting[warp] | b->gone[warp]))
		return false;
	check_warp_op(b, warp, first);
	do_warp_op(lanes, &r);
	b->waiting[warp] &= ~r.mask;
	for (int i = 0; i < SIMT_WARP; i++)
		if (r.mask >> i & 1)
			simt_make_ready(&lanes[i]);
	return true;
}

void simt_warp_op(enum simt_op op, uint32_t mask, const void *in, void *out, uint32_t bytes,
		  uint32_t from_lane, int line)
{
	struct lane *l = simt_lane();
	struct block *b = l->block;
	uint32_t warp = l->self.warp;

	if (!(mask >> l->self.lane & 1))
		simt_fail("line %d: the lane is not in its own mask %08x", line, mask);
	if (op >= SIMT_LOAD_MATRICES && (uintptr_t)in % 16 != 0)
		simt_fail("line %d: a row of ldmatrix is not aligned to 16 bytes", line);
	l->request = (struct warp_request){op, mask, bytes, from_lane, in, out, line};
	l->state = LANE_IN_WARP_OP;
	if (op == SIMT_SYNCWARP) /* the only one that orders memory */
		simt_release(&b->warp_tag[warp]);
	b->waiting[warp] |= 1u << l->self.lane;
	simt_finish_warp_op(b, warp);
	simt_wait();
	if (op == SIMT_SYNCWARP)
		simt_acquire(&b->warp_tag[warp]);
}

/* ---- barriers ---- */

void simt_finish_barrier(struct block *b)
{
	if (b->n_live != b->n_lanes)
		simt_fail("__syncthreads at line %d: %d of %d threads have exited before it",
			  b->lane[0].request.line, b->n_lanes - b->n_live, b->n_lanes);
	for (int i = 1; i < b->n_lanes; i++)
		if (b->lane[i].request.line != b->lane[0].request.line)
			simt_fail(
				"__syncthreads at different lines: thread 0 at %d, thread %d at %d",
				b->lane[0].request.line, i, b->lane[i].request.line);
	b->n_at_barrier = 0;
	for (int i = 0; i < b->n_lanes; i++)
		simt_make_ready(&b->lane[i]);
}

void simt_barrier(int line)
{
	struct lane *l = simt_lane();
	struct block *b = l->block;

	l->request.line = line;
	l->state = LANE_AT_BARRIER;
	simt_release(&b->barrier_tag);
	if (++b->n_at_barrier == b->n_live)
		simt_finish_barrier(b);
	simt_wait();
	simt_acquire(&b->barrier_tag);
}

/* ---- shared memory ---- */

void *simt_shared(const void *key, size_t bytes)
{
	struct block *b = simt_lane()->block;
	struct variable *v;

	for (int i = 0; i < b->n_variables; i++)
		if (b->variable[i].key == key)
			return b->variable[i].at;
	if (b->n_variables == SIMT_MAX_VARIABLES)
		simt_fail("more than %d shared variables", SIMT_MAX_VARIABLES);
	v = &b->variable[b->n_variables++];
	*v = (struct variable){.key = key, .bytes = bytes};
	if (b->static_bytes + bytes > SIMT_MAX_STATIC ||
	    b->static_bytes + bytes + b->dynamic_bytes > SIMT_MAX_SHARED)
		simt_fail("%zu + %zu bytes of shared memory", b->static_bytes + bytes,
			  b->dynamic_bytes);
	if (b->arena)
		v->at = b->arena + b->static_bytes;
	else if (posix_memalign(&v->at, 16, bytes) != 0)
		abort();
	simt_fill_nan(v->at, bytes);
	b->static_bytes += (bytes + 15) / 16 * 16;
	return v->at;
}

void *simt_dynamic_shared(void)
{
	return simt_lane()->block->dynamic;
}

void simt_end_block(struct block *b)
{
	for (int i = 0; !b->arena && i < b->n_variables; i++)
		free(b->variable[i].at);
	free(b->arena);
	free(b->dynamic);
}

/* ---- asynchronous copies ---- */

static void do_copy(const struct copy *c)
{
	seen_memcpy(c->to, c->from, c->bytes_read);
	memset((char *)c->to + c->bytes_read, 0, c->bytes - c->bytes_read);
}

void simt_copy(void *to, const void *from, uint32_t bytes, uint32_t bytes_read)
{
	struct lane *l = simt_lane();
	struct copy c = {to, from, bytes, bytes_read, l->group};

	if ((uintptr_t)to % bytes != 0 || (uintptr_t)from % bytes != 0)
		simt_fail("an asynchronous copy of %u bytes is not aligned", bytes);
	if (simt_options.copies == SIMT_COPIES_EARLY ||
	    (simt_options.copies == SIMT_COPIES_RANDOM && simt_random() % 2)) {
		do_copy(&c);
		return;
	}
	if (l->n_copies == l->max_copies) {
		l->max_copies = 2 * l->max_copies + 16;
		l->copy = realloc(l->copy, (size_t)l->max_copies * sizeof(c));
		if (!l->copy)
			abort();
	}
	l->copy[l->n_copies++] = c;
}

void simt_copy_commit(void)
{
	simt_lane()->group++;
}

void simt_copy_wait(int behind)
{
	struct lane *l = simt_lane();
	int kept = 0;

	for (int i = 0; i < l->n_copies; i++) {
		if (l->copy[i].group < l->group - behind)
			do_copy(&l->copy[i]);
		else
			l->copy[kept++] = l->copy[i];
	}
	l->n_copies = kept;
}
