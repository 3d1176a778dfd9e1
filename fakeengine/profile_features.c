/*
 * Owns the sections about an engine's features, and what must be true between them and the rest of
 * a profile. Runs at start. Must not know how a feature is computed.
 */
#include "profile_features.h"

#include <stddef.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
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

/* ---- with a knob of the policy ---- */

/* The value of a knob that not every policy has. */
static double knob_value(const struct profile *p, const char *name)
{
	int i = sched_knob(p->policy, name);

	return i < 0 ? 0 : p->knobs[i];
}

/* The section has an effect only with the knob; one that is written and 0 turns it off, as a sweep
 * does. */
static enum rc need_knob(const struct profile *p, const struct ynode *section, const char *knob,
			 struct err *e)
{
	if (sched_knob(p->policy, knob) < 0)
		return ynode_err(section, e, "policy %s knows nothing of it", p->policy->name);
	if (!ynode_get(ynode_get(section->parent, "scheduler"), knob))
		return ynode_err(section, e, "has no effect without scheduler.%s", knob);
	return RC_OK;
}

/* A probability for each place, or one for all. */
static enum rc read_acceptance(struct drafter *d, const struct ynode *n, int32_t places,
			       struct err *e)
{
	bool each = n->kind == YNODE_SEQ;
	enum rc rc = RC_OK;

	if (each && (n->n < (size_t)places || n->n > SCHED_MAX_DRAFT))
		return ynode_err(n, e,
				 "%zu probabilities, want one for each of %d drafted tokens (at "
				 "most %d), or one number for all",
				 n->n, places, SCHED_MAX_DRAFT);
	for (size_t i = 0; rc == RC_OK && i < (each ? n->n : SCHED_MAX_DRAFT); i++)
		rc = ynode_num(each ? n->child[i] : n, 0, 1, &d->acceptance[i], e);
	return rc;
}

enum rc read_speculation(struct profile *p, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"draft_pass", F_PS, false, offsetof(struct cost_draft, pass_ps), 0, 0},
		{"per_draft_token", F_PS, false, offsetof(struct cost_draft, token_ps), 0, 0},
		{0},
	};
	static const char *const others[] = {"acceptance", NULL};
	const char *knob = "num_speculative_tokens";
	const struct ynode *n;
	enum rc rc = read_section(fields, others, map, &p->cost.draft, e);

	if (rc == RC_OK)
		rc = need_knob(p, map, knob, e);
	if (rc)
		return rc;
	n = ynode_get(map, "acceptance");
	if (!n)
		return ynode_err(map, e, "key \"acceptance\" is missing");
	return read_acceptance(&p->drafter, n, (int32_t)knob_value(p, knob), e);
}

enum rc read_offload(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_offload, member)
	static const struct field fields[] = {
		{"bandwidth", F_BANDWIDTH, true, AT(bandwidth_bytes_per_s), 0, 0},
		{"latency", F_PS, false, AT(latency_ps), 0, 0},
		{0},
	};
#undef AT
	enum rc rc = read_section(fields, NULL, map, &p->offload, e);

	if (rc == RC_OK)
		rc = need_knob(p, map, "num_cpu_blocks", e);
	if (rc == RC_OK && p->model.params == 0)
		return ynode_err(map, e, "how long a block takes follows from the model's numbers");
	if (rc == RC_OK)
		p->cost.load = hardware_load(&p->model, &p->card, &p->parallel, &p->offload);
	return rc;
}

char **served_names(const struct profile *p, const struct ynode *adapters)
{
	size_t n = adapters ? adapters->n : 0;
	char **names = xcalloc(n + 2, sizeof(char *));

	names[0] = xstrdup(p->model.name);
	for (size_t i = 0; i < n; i++)
		names[i + 1] = xstrdup(adapters->child[i]->text);
	return names;
}

/* Names that are all different, and not the model's. */
static enum rc check_adapters(const struct profile *p, const struct ynode *list, struct err *e)
{
	const char *name, *other;
	enum rc rc = RC_OK;

	if (list->kind != YNODE_SEQ || list->n < 1 || list->n > SCHED_MAX_ADAPTERS)
		return ynode_err(list, e, "want a list of 1 to %d names", SCHED_MAX_ADAPTERS);
	for (size_t i = 0; rc == RC_OK && i < list->n; i++) {
		rc = ynode_str(list->child[i], &name, e);
		if (rc == RC_OK && (*name == '\0' || strcmp(name, p->model.name) == 0))
			rc = ynode_err(list->child[i], e, "\"%s\" is no name for an adapter", name);
		for (size_t k = 0; rc == RC_OK && k < i; k++)
			if (ynode_str(list->child[k], &other, e) == RC_OK &&
			    strcmp(name, other) == 0)
				rc = ynode_err(list->child[i], e, "\"%s\" is there twice", name);
	}
	return rc;
}

enum rc read_lora(struct profile *p, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"per_adapter", F_PS, false, offsetof(struct cost, adapter_ps), 0, 0},
		{0},
	};
	static const char *const others[] = {"adapters", NULL};
	const struct ynode *list = ynode_get(map, "adapters");
	enum rc rc = read_section(fields, others, map, &p->cost, e);

	if (rc == RC_OK)
		rc = need_knob(p, map, "max_loras", e);
	if (rc == RC_OK && !list)
		return ynode_err(map, e, "key \"adapters\" is missing");
	if (rc == RC_OK)
		rc = check_adapters(p, list, e);
	if (rc == RC_OK)
		p->models = served_names(p, knob_value(p, "max_loras") > 0 ? list : NULL);
	return rc;
}

/* ---- a fleet ---- */

enum rc read_router(struct profile *p, const struct ynode *n, struct err *e)
{
	const struct ynode *policy = n->kind == YNODE_MAP ? ynode_get(n, "policy") : n;
	const char *name;
	struct err why;
	enum rc rc;

	if (!policy)
		return ynode_err(n, e, "key \"policy\" is missing");
	rc = ynode_str(policy, &name, e);
	if (rc)
		return rc;
	if (router_find(name, &p->router.type, &why))
		return ynode_err(policy, e, "%s", why.msg);
	if (!ynode_get(n->parent, "replicas") && !ynode_get(n->parent, "disaggregated"))
		return ynode_err(n, e, "has nothing to choose from without `replicas`");
	router_defaults(p->router.type, p->router.knobs);
	return policy == n ? RC_OK
			   : read_knobs("policy", p->router.type->knobs, n, p->router.knobs, e);
}

#define MAX_TRANSFER_S 5e-3 /* of a token: a long prompt's time stays a number */

static enum rc read_kv_transfer(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_disaggregated, member)
	static const struct field fields[] = {
		{"bandwidth", F_BANDWIDTH, true, AT(bandwidth_bytes_per_s), 0, 0},
		{"latency", F_DURATION, false, AT(latency_ns), 0, 0},
		{"bytes_per_token", F_NUM, false, AT(bytes_per_token), 0, 1e12},
		{0},
	};
#undef AT
	struct profile_disaggregated *d = &p->disaggregated;
	enum rc rc = read_section(fields, NULL, map, d, e);

	if (rc)
		return rc;
	if (!ynode_get(map, "bytes_per_token")) {
		if (p->model.params == 0)
			return ynode_err(map, e,
					 "how long a token takes follows from the model's numbers, "
					 "or from bytes_per_token");
		d->bytes_per_token = hardware_kv_bytes_per_token(&p->model);
	}
	if (d->bytes_per_token / d->bandwidth_bytes_per_s > MAX_TRANSFER_S)
		return ynode_err(map, e, "the entries of a token take more than %g ms",
				 MAX_TRANSFER_S * 1e3);
	return RC_OK;
}

enum rc read_disaggregated(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_disaggregated, member)
	static const struct field fields[] = {
		{"prefill_replicas", F_COUNT, true, AT(prefill_replicas), 1, FLEET_MAX_REPLICAS},
		{"decode_replicas", F_COUNT, true, AT(decode_replicas), 1, FLEET_MAX_REPLICAS},
		{0},
	};
#undef AT
	static const char *const others[] = {"kv_transfer", NULL};
	const struct ynode *transfer = ynode_get(map, "kv_transfer");
	enum rc rc = read_section(fields, others, map, &p->disaggregated, e);

	if (rc)
		return rc;
	if (ynode_get(map->parent, "replicas"))
		return ynode_err(map, e,
				 "says how many replicas there are, and so does `replicas`");
	if (!p->policy->takes_kv)
		return ynode_err(map, e, "policy %s knows nothing of it", p->policy->name);
	if (!transfer)
		return ynode_err(map, e, "key \"kv_transfer\" is missing");
	return read_kv_transfer(p, transfer, e);
}

enum rc check_features(const struct profile *p, const struct ynode *root, struct err *e)
{
	static const struct {
		const char *knob, *section, *says;
	} pair[] = {
		{"num_speculative_tokens", "speculation", "how many of them are right"},
		{"num_cpu_blocks", "offload", "how fast they are read back"},
		{"max_loras", "lora", "which adapters there are"},
	};
	const struct ynode *scheduler = ynode_get(root, "scheduler");

	for (size_t i = 0; i < ARRAY_LEN(pair); i++)
		if (knob_value(p, pair[i].knob) > 0 && !ynode_get(root, pair[i].section))
			return ynode_err(ynode_get(scheduler, pair[i].knob), e,
					 "a section `%s` is to say %s", pair[i].section,
					 pair[i].says);
	return RC_OK;
}
