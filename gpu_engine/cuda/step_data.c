/*
 * Owns the layout of a step's data and its two copies. Engine thread. Must not know what is
 * computed with it.
 */
#include "step_data.h"

#include <string.h>

#include "base/check.h"

/* ---- layout ---- */

#define TAKE(a, n, of) arena_take(a, (size_t)(n) * sizeof(*(of)))

static void lay_out(struct step_arrays *s, struct arena *a, const struct step_counts *n)
{
	s->tokens = TAKE(a, n->n_rows, s->tokens);
	s->positions = TAKE(a, n->n_rows, s->positions);
	s->row_sequence = TAKE(a, n->n_rows, s->row_sequence);
	s->block_table = TAKE(a, (int64_t)n->n_sequences * n->table_stride, s->block_table);
	s->decode_rows = TAKE(a, n->n_decodes, s->decode_rows);
	s->chunk_first = TAKE(a, n->n_chunks, s->chunk_first);
	s->chunk_rows = TAKE(a, n->n_chunks, s->chunk_rows);
	s->logits_rows = TAKE(a, n->n_logits, s->logits_rows);
	s->sampling = TAKE(a, n->n_logits, s->sampling);
	s->known = TAKE(a, n->n_known, s->known);
	s->history = TAKE(a, n->n_history, s->history);
	s->bias = TAKE(a, n->n_bias, s->bias);
	s->forbidden = TAKE(a, n->n_forbidden, s->forbidden);
}

static size_t bytes_of(const struct step_counts *n)
{
	struct step_arrays scrap;
	struct arena a = {0};

	lay_out(&scrap, &a, n);
	return a.at;
}

static int32_t least(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

static int32_t blocks_for(const struct step_limits *l, int32_t tokens)
{
	return (tokens + l->page_tokens - 1) / l->page_tokens;
}

/* Every row a chunk of its own, every row's logits wanted, nobody's history. */
static struct step_counts usual(const struct step_limits *l)
{
	return (struct step_counts){.n_rows = l->max_rows,
				    .n_sequences = l->max_sequences,
				    .table_stride = blocks_for(l, l->max_len),
				    .n_decodes = l->max_sequences,
				    .n_chunks = l->max_rows,
				    .n_logits = l->max_rows,
				    .n_known = l->max_rows};
}

int64_t step_data_bytes(const struct step_limits *l)
{
	struct step_counts n = usual(l);

	return (int64_t)bytes_of(&n);
}

static void release_memory(struct step_data *d)
{
	cuda_free_host(d->cuda, d->host_memory);
	cuda_free(d->cuda, d->card_memory);
	d->host_memory = d->card_memory = NULL;
	d->bytes = 0;
	d->moves++;
}

/* Grows to `bytes`; nothing of it is in use. */
static void make_room(struct step_data *d, size_t bytes, struct err *e)
{
	if (bytes <= d->bytes || e->rc)
		return;
	release_memory(d);
	cuda_alloc_host(d->cuda, &d->host_memory, bytes, "a step's data", e);
	cuda_alloc(d->cuda, &d->card_memory, bytes, "a step's data", e);
	if (e->rc)
		release_memory(d); /* the next step asks again */
	else
		d->bytes = bytes;
}

void step_data_init(struct step_data *d, struct cuda *c, const struct step_limits *l, struct err *e)
{
	*d = (struct step_data){.cuda = c, .limits = *l};
	make_room(d, (size_t)step_data_bytes(l), e);
}

void step_data_release(struct step_data *d)
{
	if (d->cuda)
		release_memory(d);
	memset(d, 0, sizeof(*d));
}

/* ---- counting ---- */

static bool is_known(const struct batch *b, int32_t row)
{
	return b->position[row] + 1 < b->plan->item[b->item[row]].req->n_prompt;
}

static bool penalised(const struct sampling *how)
{
	return how && (how->repetition_penalty != 1 || how->presence_penalty != 0 ||
		       how->frequency_penalty != 0);
}

static bool may_not_end(const struct genreq *r)
{
	return genreq_output_tokens(r) < r->min_tokens;
}

static void count_choice(struct step_counts *n, const struct genreq *r, int32_t n_end_ids)
{
	const struct sampling *how = r->sampling;

	n->n_history += penalised(how) ? r->n_tokens : 0;
	n->n_bias += how ? how->n_bias : 0;
	if (may_not_end(r))
		n->n_forbidden += n_end_ids + (how ? how->n_stop_ids : 0);
}

static int32_t tokens_of(const struct step_item *it)
{
	return it->computed + it->n_tokens;
}

static void count(struct step_data *d, const struct batch *b, int32_t n_end_ids)
{
	struct step_counts *n = &d->n;
	int32_t longest = 0, longest_decode = 0;

	*n = (struct step_counts){
		.n_rows = b->n_rows, .n_sequences = b->plan->n_items, .n_logits = b->n_logits};
	d->told = false;
	for (int32_t i = 0; i < b->plan->n_items; i++) {
		int32_t tokens = tokens_of(&b->plan->item[i]);

		longest = tokens > longest ? tokens : longest;
		if (b->plan->item[i].n_tokens == 1 && tokens > longest_decode)
			longest_decode = tokens;
	}
	n->table_stride = blocks_for(&d->limits, longest);
	d->n_splits = gpu_splits(longest_decode);
	for (int32_t i = 0; i < b->n_chunks; i++) {
		bool decode = b->plan->item[b->chunk[i].item].n_tokens == 1;

		n->n_decodes += decode;
		n->n_chunks += !decode;
	}
	for (int32_t i = 0; i < b->n_logits; i++) {
		const struct genreq *r = b->plan->item[b->item[b->logits_row[i]]].req;

		if (is_known(b, b->logits_row[i])) {
			n->n_known++;
			d->told = true;
		} else {
			count_choice(n, r, n_end_ids);
			d->told |= r->sampling && r->sampling->n_logprobs >= 0;
		}
	}
}

/* ---- padding ---- */

static bool can_pad(const struct step_data *d)
{
	const struct step_counts *n = &d->n;

	return n->n_decodes == n->n_rows && n->n_logits == n->n_rows && n->n_known == 0 &&
	       !step_data_adjusts(d);
}

static int32_t power_of_two(int32_t from)
{
	int32_t n = 1;

	while (n < from)
		n *= 2;
	return n;
}

static int32_t row_bucket(int32_t rows)
{
	return rows <= 8 ? power_of_two(rows) : (rows + 7) / 8 * 8;
}

static void pad_counts(struct step_data *d)
{
	const struct step_limits *l = &d->limits;
	struct step_counts *n = &d->n;

	n->n_rows = least(row_bucket(n->n_rows), least(l->max_rows, l->max_sequences));
	n->n_sequences = n->n_decodes = n->n_logits = n->n_rows;
	d->n_splits = least(power_of_two(d->n_splits), gpu_splits(l->max_len));
	n->table_stride = blocks_for(l, least(d->n_splits * GPU_SPLIT_TOKENS, l->max_len));
}

/* ---- filling ---- */

static void fill_rows(struct step_data *d, const struct batch *b)
{
	struct step_arrays *h = &d->host;
	int32_t decodes = 0, chunks = 0;
	size_t bytes = (size_t)b->n_rows * sizeof(int32_t);

	memcpy(h->tokens, b->token, bytes);
	memcpy(h->positions, b->position, bytes);
	memcpy(h->row_sequence, b->item, bytes);
	for (int32_t i = 0; i < b->plan->n_items; i++) {
		const struct step_item *it = &b->plan->item[i];

		memcpy(h->block_table + (size_t)i * (size_t)d->n.table_stride, it->req->slot.block,
		       (size_t)blocks_for(&d->limits, tokens_of(it)) * sizeof(int32_t));
	}
	for (int32_t i = 0; i < b->n_chunks; i++) {
		const struct query_chunk *chunk = &b->chunk[i];

		if (b->plan->item[chunk->item].n_tokens == 1) {
			h->decode_rows[decodes++] = chunk->row;
		} else {
			h->chunk_first[chunks] = chunk->row;
			h->chunk_rows[chunks++] = chunk->n_rows;
		}
	}
}

/* Where the lists of the next row begin. */
struct lists {
	int32_t history, bias, forbidden;
};

/* A token that is named twice gets both; the kernel wants it once. Requests name a few hundred at
 * most. */
static void add_bias(struct gpu_sampling *s, struct gpu_logit_bias *list,
		     const struct logit_bias *one)
{
	struct gpu_logit_bias *own = list + s->first_bias;
	int32_t i = 0;

	while (i < s->n_bias && own[i].token != one->token)
		i++;
	if (i < s->n_bias)
		own[i].bias += one->bias;
	else
		own[s->n_bias++] = (struct gpu_logit_bias){one->token, one->bias};
}

static void forbid(struct gpu_sampling *s, int32_t *list, const int32_t *ids, int32_t n)
{
	if (n > 0)
		memcpy(list + s->first_forbidden + s->n_forbidden, ids, (size_t)n * sizeof(*ids));
	s->n_forbidden += n;
}

static struct gpu_sampling neutral(void)
{
	return (struct gpu_sampling){.top_p = 1, .repetition = 1, .n_logprobs = -1};
}

static struct gpu_sampling choice(const struct genreq *r, const struct lists *at,
				  const struct step_arrays *h, const int32_t *end_ids,
				  int32_t n_end_ids)
{
	const struct sampling *how = r->sampling;
	struct gpu_sampling s = neutral();

	s.seed = r->seed;
	s.position = genreq_output_tokens(r);
	s.first_token = at->history;
	s.first_bias = at->bias;
	s.first_forbidden = at->forbidden;
	if (may_not_end(r))
		forbid(&s, h->forbidden, end_ids, n_end_ids);
	if (!how)
		return s;
	s.temperature = (float)how->temperature;
	s.top_k = how->top_k;
	s.top_p = (float)how->top_p;
	s.min_p = (float)how->min_p;
	s.presence = (float)how->presence_penalty;
	s.frequency = (float)how->frequency_penalty;
	s.repetition = (float)how->repetition_penalty;
	s.n_logprobs = how->n_logprobs;
	if (penalised(how)) {
		s.n_prompt = r->n_prompt;
		s.n_tokens = r->n_tokens;
		memcpy(h->history + s.first_token, r->tokens,
		       (size_t)r->n_tokens * sizeof(int32_t));
	}
	for (int32_t i = 0; i < how->n_bias; i++)
		add_bias(&s, h->bias, &how->bias[i]);
	if (may_not_end(r))
		forbid(&s, h->forbidden, how->stop_id, how->n_stop_ids);
	return s;
}

static void fill_choices(struct step_data *d, const struct batch *b, const int32_t *end_ids,
			 int32_t n_end_ids)
{
	struct step_arrays *h = &d->host;
	int32_t known = 0, chosen = d->n.n_known;
	struct lists at = {0};

	for (int32_t i = 0; i < b->n_logits; i++) {
		int32_t row = b->logits_row[i];
		const struct genreq *r = b->plan->item[b->item[row]].req;
		struct gpu_sampling *s;

		if (is_known(b, row)) {
			h->known[known] = r->tokens[b->position[row] + 1];
			h->logits_rows[known] = row;
			h->sampling[known] = neutral();
			h->sampling[known++].n_logprobs = 0;
			continue;
		}
		h->logits_rows[chosen] = row;
		s = &h->sampling[chosen++];
		*s = choice(r, &at, h, end_ids, n_end_ids);
		at.history += s->n_tokens;
		at.bias += s->n_bias;
		at.forbidden += s->n_forbidden;
	}
}

/* Rows of nobody, behind `from` rows of a padded step. */
static void fill_padding(struct step_data *d, int32_t from)
{
	struct step_arrays *h = &d->host;

	for (int32_t i = from; i < d->n.n_rows; i++) {
		h->tokens[i] = h->row_sequence[i] = h->decode_rows[i] = -1;
		h->positions[i] = 0;
		h->logits_rows[i] = i;
		h->sampling[i] = neutral();
	}
}

void step_data_fill(struct step_data *d, const struct batch *b, const int32_t *end_ids,
		    int32_t n_end_ids, bool pad, struct err *e)
{
	struct arena host, card;

	count(d, b, n_end_ids);
	d->padded = pad && can_pad(d);
	if (d->padded)
		pad_counts(d);
	if (d->n.n_history > INT32_MAX || d->n.n_bias > INT32_MAX || d->n.n_forbidden > INT32_MAX) {
		err_set(e, RC_LIMIT, "a step's sampling has lists of more than %d entries",
			INT32_MAX);
		return;
	}
	make_room(d, bytes_of(&d->n), e);
	if (e->rc)
		return;
	host = (struct arena){.memory = d->host_memory};
	card = (struct arena){.memory = d->card_memory};
	lay_out(&d->host, &host, &d->n);
	lay_out(&d->card, &card, &d->n);
	d->used = host.at;
	fill_rows(d, b);
	fill_choices(d, b, end_ids, n_end_ids);
	if (d->padded)
		fill_padding(d, b->n_rows);
}

void step_data_upload(struct step_data *d, struct err *e)
{
	cuda_upload(d->cuda, d->card_memory, d->host_memory, d->used, e);
}

bool step_data_adjusts(const struct step_data *d)
{
	return d->n.n_history > 0 || d->n.n_bias > 0 || d->n.n_forbidden > 0;
}
