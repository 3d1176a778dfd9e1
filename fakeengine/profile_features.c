/*
 * Owns the sections about an engine's features, and what must be true between them and the rest of
 * a profile. Runs at start. Must not know how a feature is computed.
 */
#include "profile_features.h"

#include <stddef.h>

#include "profile_fields.h"

#define MAX_DEGREE 1024

static enum rc check_degrees(struct profile *p, const struct ynode *map, struct err *e)
{
	const struct profile_parallel *l = &p->parallel;
	const struct ynode *count = ynode_get(ynode_get(map->parent, "card"), "count");
	int64_t cards = l->tensor * l->pipeline, heads = p->model.kv_heads;

	if (p->model.hidden == 0)
		return ynode_err(map, e,
				 "what the links carry follows from the model's numbers, "
				 "model.hidden among them");
	if (heads % l->tensor != 0 && l->tensor % heads != 0)
		return ynode_err(map, e, "tensor %lld does not divide the %lld KV heads",
				 (long long)l->tensor, (long long)heads);
	if (l->pipeline > p->model.layers)
		return ynode_err(map, e, "pipeline %lld is more than the %lld layers",
				 (long long)l->pipeline, (long long)p->model.layers);
	if (count && p->card.count != cards)
		return ynode_err(map, e, "tensor x pipeline is %lld, card.count is %lld",
				 (long long)cards, (long long)p->card.count);
	if (p->card.name)
		p->card.count = cards;
	return RC_OK;
}

enum rc read_parallel(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_parallel, member)
	static const struct field fields[] = {
		{"tensor", F_COUNT, false, AT(tensor), 1, MAX_DEGREE},
		{"pipeline", F_COUNT, false, AT(pipeline), 1, MAX_DEGREE},
		{"bandwidth", F_BANDWIDTH, true, AT(bandwidth_bytes_per_s), 0, 0},
		{"latency", F_PS, true, AT(latency_ps), 0, 0},
		{0},
	};
#undef AT
	enum rc rc;

	p->parallel.tensor = p->parallel.pipeline = 1;
	rc = read_section(fields, NULL, map, &p->parallel, e);
	if (rc == RC_OK)
		rc = check_degrees(p, map, e);
	if (rc == RC_OK)
		p->cost.links = hardware_links(&p->model, &p->parallel);
	return rc;
}

enum rc read_analytic(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_analytic, member)
	static const struct field fields[] = {
		{"bandwidth_share", F_NUM, true, AT(bandwidth_share), 0.01, 1},
		{"flops_share", F_NUM, true, AT(flops_share), 0.01, 1},
		{"host", F_PS, false, AT(host_ps), 0, 0},
		{"per_decode_seq", F_PS, false, AT(decode_seq_ps), 0, 0},
		{0},
	};
#undef AT
	enum rc rc = read_section(fields, NULL, map, &p->analytic, e);

	if (rc)
		return rc;
	if (p->model.hidden == 0 || p->card.count == 0)
		return ynode_err(map, e,
				 "times follow from the numbers of `model`, hidden among them, and "
				 "of `card`");
	if (p->card.count > 1 && p->parallel.tensor == 0)
		return ynode_err(map, e,
				 "card.count is %lld: `parallel` says how they share the model",
				 (long long)p->card.count);
	hardware_cost(&p->cost, &p->model, &p->card, &p->parallel, &p->analytic);
	return RC_OK;
}
