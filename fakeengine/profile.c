/*
 * Owns the format of profiles: YAML in, struct profile out, every key checked. Runs at start. Must
 * not know what a policy's knobs or a formula's coefficients mean: it reads whatever their tables
 * (sched.h, cost.h) list.
 */
#include "profile.h"

#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/die.h"
#include "base/yamlx.h"
#include "profile_features.h"
#include "profile_fields.h"

#define PROFILE_MAX_BYTES (1 << 20)

/* ---- the sections ---- */

static enum rc read_model(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_model, member)
	static const struct field name_only[] = {{"name", F_STRING, true, AT(name), 0, 0}, {0}};
	static const struct field fields[] = {
		{"name", F_STRING, true, AT(name), 0, 0},
		{"params", F_NUM, true, AT(params), 1, 1e15},
		{"weight_bits", F_NUM, true, AT(weight_bits), 1, 64},
		{"layers", F_COUNT, true, AT(layers), 1, 10000},
		{"kv_heads", F_COUNT, true, AT(kv_heads), 1, 100000},
		{"head_dim", F_COUNT, true, AT(head_dim), 1, 100000},
		{"hidden", F_COUNT, false, AT(hidden), 1, 1e9},
		{"vocab", F_COUNT, false, AT(vocab), 1, 1e9},
		{0},
	};
#undef AT
	/* A name is enough for an engine of which nothing is to be derived. */
	return read_section(map->n > 1 ? fields : name_only, NULL, map, &p->model, e);
}

static enum rc read_card(struct profile *p, const struct ynode *map, struct err *e)
{
#define AT(member) offsetof(struct profile_card, member)
	static const struct field fields[] = {
		{"name", F_STRING, true, AT(name), 0, 0},
		{"count", F_COUNT, false, AT(count), 1, 10000},
		{"memory", F_BYTES, true, AT(memory_bytes), 0, 0},
		{"bandwidth", F_BANDWIDTH, true, AT(bandwidth_bytes_per_s), 0, 0},
		{"flops", F_NUM, true, AT(flops_per_s), 1, 1e21},
		{0},
	};
#undef AT
	p->card.count = 1;
	return read_section(fields, NULL, map, &p->card, e);
}

static enum rc read_scheduler(struct profile *p, const struct ynode *map, struct err *e)
{
	const struct ynode *n = ynode_get(map, "policy");
	struct sched *trial = NULL;
	const char *policy;
	struct err why;
	enum rc rc = need_map(map, e);

	if (rc == RC_OK && !n)
		return ynode_err(map, e, "key \"policy\" is missing");
	if (rc == RC_OK)
		rc = ynode_str(n, &policy, e);
	if (rc)
		return rc;
	if (sched_find(policy, &p->policy, &why))
		return ynode_err(n, e, "%s", why.msg);
	sched_defaults(p->policy, p->knobs);
	rc = read_knobs("policy", p->policy->knobs, map, p->knobs, e);
	if (rc)
		return rc;
	/* Whether the knobs contradict each other only the policy knows. */
	if (p->policy->open(&trial, p->knobs, -1, &why))
		return ynode_err(map, e, "%s", why.msg);
	p->policy->close(trial);
	return RC_OK;
}

static enum rc read_coefficient(enum cost_unit unit, const struct ynode *n, int64_t *out,
				struct err *e)
{
	double ms = 0;
	enum rc rc = RC_OK;

	switch (unit) {
	case COST_TIME:
		return read_picoseconds(n, out, e);
	case COST_TOKENS:
		return ynode_count(n, 0, INT32_MAX, out, e);
	case COST_MILLIS:
		rc = ynode_num(n, 0, 3.6e6, &ms, e);
		*out = llround(ms * (double)PS_PER_MS);
		break;
	}
	return rc;
}

static enum rc read_formula(struct cost *c, const struct ynode *map, struct err *e)
{
	const char *keys[COST_MAX_FIELDS + 1] = {0};
	enum rc rc = need_map(map, e);

	for (size_t i = 0; c->type->fields[i].key; i++)
		keys[i] = c->type->fields[i].key;
	if (rc == RC_OK)
		rc = ynode_check_keys(map, keys, e);
	for (size_t i = 0; rc == RC_OK && keys[i]; i++) {
		const struct ynode *n = ynode_get(map, keys[i]);

		if (n)
			rc = read_coefficient(c->type->fields[i].unit, n, &c->coef[i], e);
	}
	return rc;
}

static enum rc read_stall(struct cost_noise *noise, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"per_step", F_NUM, true, offsetof(struct cost_noise, stalls_per_step), 0, 1},
		{"duration", F_PS, true, offsetof(struct cost_noise, stall_ps), 0, 0},
		{0},
	};

	return read_section(fields, NULL, map, noise, e);
}

/* Exactly one formula by its name, and what holds for all of them. */
static enum rc read_cost(struct profile *p, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"ingest", F_DURATION, false, offsetof(struct profile, ingest_ns), 0, 0},
		{"egress", F_DURATION, false, offsetof(struct profile, egress_ns), 0, 0},
		{"jitter_cv", F_NUM, false, offsetof(struct profile, noise.jitter_cv), 0, 10},
		{0},
	};
	const char *others[8] = {"stall", "analytic"};
	const struct ynode *formula = ynode_get(map, "analytic"), *stall = ynode_get(map, "stall");
	enum rc rc;

	for (size_t i = 0; cost_types[i]; i++)
		others[i + 2] = cost_types[i]->name;
	rc = read_section(fields, others, map, p, e);
	for (size_t i = 0; rc == RC_OK && cost_types[i]; i++) {
		const struct ynode *n = ynode_get(map, cost_types[i]->name);

		if (n && formula)
			return ynode_err(n, e, "there is another formula already: %s",
					 formula->key);
		if (n) {
			formula = n;
			p->cost.type = cost_types[i];
		}
	}
	if (rc == RC_OK && !formula)
		return ynode_err(map, e,
				 "want one of the formulas affine, phases, constant, analytic");
	if (rc == RC_OK)
		rc = p->cost.type ? read_formula(&p->cost, formula, e)
				  : read_analytic(p, formula, e);
	if (rc == RC_OK && stall)
		rc = read_stall(&p->noise, stall, e);
	return rc;
}

/* A number of tokens, or a distribution of such numbers. */
static enum rc read_length(struct dist *d, const struct ynode *n, struct err *e)
{
	static const struct field fields[] = {
		{"mean", F_NUM, false, offsetof(struct dist, mean), 0, INT32_MAX},
		{"cv", F_NUM, false, offsetof(struct dist, cv), 0, 100},
		{"min", F_NUM, false, offsetof(struct dist, min), 1, INT32_MAX},
		{"max", F_NUM, false, offsetof(struct dist, max), 1, INT32_MAX},
		{0},
	};
	static const char *const others[] = {"dist", NULL};
	const struct ynode *kind = ynode_get(n, "dist");
	const char *name;
	int64_t tokens = 0;
	struct err why;
	enum rc rc;

	*d = (struct dist){DIST_CONSTANT, 0, 0, 1, HUGE_VAL};
	if (n->kind == YNODE_SCALAR) {
		rc = ynode_count(n, 1, INT32_MAX, &tokens, e);
		d->mean = (double)tokens;
		return rc;
	}
	rc = read_section(fields, others, n, d, e);
	if (rc == RC_OK && !kind)
		return ynode_err(n, e, "key \"dist\" is missing");
	if (rc == RC_OK)
		rc = ynode_str(kind, &name, e);
	if (rc)
		return rc;
	if (dist_kind_parse(name, &d->kind, &why))
		return ynode_err(kind, e, "%s", why.msg);
	if (dist_check(d, &why))
		return ynode_err(n, e, "%s", why.msg);
	return RC_OK;
}

/* words, echo, or reference=FILE. */
static enum rc read_text(struct profile *p, const struct ynode *n, struct err *e)
{
	static const char reference[] = "reference=";
	const char *text;
	enum rc rc = ynode_str(n, &text, e);

	if (rc)
		return rc;
	if (strcmp(text, "words") == 0) {
		p->text.kind = TEXT_WORDS;
	} else if (strcmp(text, "echo") == 0) {
		p->text.kind = TEXT_ECHO;
	} else if (strncmp(text, reference, strlen(reference)) == 0 && text[strlen(reference)]) {
		p->text.kind = TEXT_REFERENCE;
		p->text.file = xstrdup(text + strlen(reference));
	} else {
		return ynode_err(n, e, "got \"%s\", want words, echo or reference=FILE", text);
	}
	return RC_OK;
}

static bool is_word(const struct ynode *n, const char *word)
{
	return n->kind == YNODE_SCALAR && strcmp(n->text, word) == 0;
}

static enum rc read_output(struct profile *p, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"default_max_tokens", F_COUNT, false,
		 offsetof(struct profile_output, default_max_tokens), 1, INT32_MAX},
		{"forced_tokens", F_COUNT, false, offsetof(struct profile_output, forced_tokens), 1,
		 INT32_MAX},
		{0},
	};
	static const char *const others[] = {"ends_after", NULL};
	const struct ynode *length = ynode_get(map, "ends_after");
	enum rc rc = read_section(fields, others, map, &p->output, e);

	if (rc)
		return rc;
	if (p->output.forced_tokens && map->n > 1)
		return ynode_err(ynode_get(map, "forced_tokens"), e,
				 "leaves the other keys of `output` nothing to say");
	p->output.ends_with_text = length && is_word(length, "text");
	p->output.ends = length && !p->output.ends_with_text;
	if (p->output.ends_with_text && p->text.kind == TEXT_WORDS)
		return ynode_err(
			length, e,
			"words have no end of their own; want a number, a distribution, or "
			"another `text`");
	return p->output.ends ? read_length(&p->output.length, length, e) : RC_OK;
}

static enum rc read_published(struct profile *p, const struct ynode *map, struct err *e)
{
	static const struct field fields[] = {
		{"tokens_per_s", F_NUM_RANGE, false,
		 offsetof(struct profile_published, tokens_per_s), 0, 1e9},
		{"ttft", F_TIME_RANGE, false, offsetof(struct profile_published, ttft_ns), 0, 0},
		{0},
	};

	return read_section(fields, NULL, map, &p->published, e);
}

static enum rc read_wire(struct profile *p, const struct ynode *n, struct err *e)
{
	const char *names[32] = {0}, *name, *near;
	enum rc rc = ynode_str(n, &name, e);
	size_t i = 0;

	if (rc)
		return rc;
	p->wire = wire_find(name);
	if (p->wire)
		return RC_OK;
	for (; wire_habits[i] && i + 1 < ARRAY_LEN(names); i++)
		names[i] = wire_habits[i]->name;
	near = nearest_name(name, names);
	return ynode_err(n, e, "got \"%s\", %s%s; `fakeengine --help` lists them", name,
			 near ? "did you mean " : "no such server", near ? near : "");
}

/* A list of what fault.h describes; a single one may stand alone. */
static enum rc read_faults(struct profile *p, const struct ynode *n, struct err *e)
{
	bool many = n->kind == YNODE_SEQ;
	enum rc rc = RC_OK;

	for (size_t i = 0; rc == RC_OK && i < (many ? n->n : 1); i++) {
		const struct ynode *one = many ? n->child[i] : n;
		const char *spec;
		struct err why;

		rc = ynode_str(one, &spec, e);
		if (rc == RC_OK && fault_list_add(&p->faults, spec, &why))
			rc = ynode_err(one, e, "%s", why.msg);
	}
	return rc;
}

static enum rc read_profile(struct profile *p, const struct ynode *root, struct err *e)
{
	static const struct field fields[] = {
		{"name", F_STRING, true, offsetof(struct profile, name), 0, 0},
		{"engine", F_STRING, true, offsetof(struct profile, engine), 0, 0},
		{"description", F_STRING, true, offsetof(struct profile, description), 0, 0},
		{"source", F_STRING, true, offsetof(struct profile, source), 0, 0},
		{"replicas", F_COUNT, false, offsetof(struct profile, replicas), 1,
		 FLEET_MAX_REPLICAS},
		{0},
	};
	static const struct {
		const char *key;
		enum rc (*read)(struct profile *p, const struct ynode *n, struct err *e);
		bool required;
	} section[] = {
		{"model", read_model, true},	    {"card", read_card, false},
		{"parallel", read_parallel, false}, {"scheduler", read_scheduler, true},
		{"cost", read_cost, true},	    {"speculation", read_speculation, false},
		{"offload", read_offload, false},   {"lora", read_lora, false},
		{"text", read_text, false}, /* before output, which may rest on it */
		{"output", read_output, false},	    {"published", read_published, false},
		{"wire", read_wire, false},	    {"faults", read_faults, false},
		{"router", read_router, false},	    {"disaggregated", read_disaggregated, false},
	};
	const char *others[ARRAY_LEN(section) + 1] = {0};
	enum rc rc;

	for (size_t i = 0; i < ARRAY_LEN(section); i++)
		others[i] = section[i].key;
	rc = read_section(fields, others, root, p, e);
	for (size_t i = 0; rc == RC_OK && i < ARRAY_LEN(section); i++) {
		const struct ynode *n = ynode_get(root, section[i].key);

		if (n)
			rc = section[i].read(p, n, e);
		else if (section[i].required)
			rc = ynode_err(root, e, "key \"%s\" is missing", section[i].key);
	}
	if (rc == RC_OK && !p->models)
		p->models = served_names(p, NULL);
	return rc ? rc : check_features(p, root, e);
}

/* ---- where profiles come from ---- */

enum rc profile_parse(struct profile *out, const char *file, const char *text, size_t len,
		      const struct profile_set *sets, size_t n_sets, struct err *e)
{
	struct ydoc *doc = NULL;
	enum rc rc = yaml_parse(&doc, file, text, len, e);

	*out = (struct profile){.wire = wire_habits[0], .replicas = 1};
	out->router.type = router_types[0];
	for (size_t i = 0; rc == RC_OK && i < n_sets; i++)
		rc = ydoc_set(doc, sets[i].assignment, sets[i].origin, e);
	if (rc == RC_OK)
		rc = read_profile(out, ydoc_root(doc), e);
	ydoc_free(doc);
	if (rc)
		profile_release(out);
	return rc;
}

static bool is_path(const char *what)
{
	const char *dot = strrchr(what, '.');

	return strchr(what, '/') ||
	       (dot && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0));
}

static enum rc load_builtin(struct profile *out, const char *name, const struct profile_set *sets,
			    size_t n_sets, struct err *e)
{
	const char *near, **names;
	size_t n = 0;

	for (const struct embedded *b = builtin_profiles; b->name; b++, n++)
		if (strcmp(b->name, name) == 0)
			return profile_parse(out, name, b->text, b->len, sets, n_sets, e);
	names = xcalloc(n + 1, sizeof(*names));
	for (size_t i = 0; i < n; i++)
		names[i] = builtin_profiles[i].name;
	near = nearest_name(name, names);
	free(names);
	return err_set(e, RC_INPUT,
		       "%s: no such profile%s%s%s; `fakeengine profiles` lists them, a file is "
		       "named with its .yaml",
		       name, near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

enum rc profile_load(struct profile *out, const char *what, const struct profile_set *sets,
		     size_t n_sets, struct err *e)
{
	struct buf text;
	enum rc rc;

	if (!is_path(what))
		return load_builtin(out, what, sets, n_sets, e);
	buf_init(&text, PROFILE_MAX_BYTES);
	rc = (enum rc)buf_read_file(&text, what, e);
	if (rc == RC_OK)
		rc = profile_parse(out, what, buf_head(&text), buf_size(&text), sets, n_sets, e);
	buf_release(&text);
	return rc;
}

void profile_release(struct profile *p)
{
	free(p->name);
	free(p->engine);
	free(p->description);
	free(p->source);
	free(p->model.name);
	for (size_t i = 0; p->models && p->models[i]; i++)
		free(p->models[i]);
	free(p->models);
	free(p->card.name);
	free(p->text.file);
	fault_list_release(&p->faults);
	*p = (struct profile){0};
}

bool profile_is_fleet(const struct profile *p)
{
	return p->replicas > 1 || p->disaggregated.decode_replicas > 0;
}

struct fleet_shape profile_fleet(const struct profile *p)
{
	const struct profile_disaggregated *d = &p->disaggregated;
	struct fleet_shape s = {.replicas = (int32_t)p->replicas, .router = p->router.type};

	memcpy(s.router_knobs, p->router.knobs, sizeof(s.router_knobs));
	if (d->decode_replicas > 0) {
		s.replicas = (int32_t)d->prefill_replicas;
		s.decode_replicas = (int32_t)d->decode_replicas;
		s.kv_latency_ns = d->latency_ns;
		s.kv_token_ps = llround(d->bytes_per_token / d->bandwidth_bytes_per_s * 1e12);
	}
	return s;
}

int32_t profile_answer_tokens(const struct profile *p, const struct genreq *r, uint64_t seed)
{
	uint64_t prompt = UINT64_C(0xcbf29ce484222325); /* FNV-1a over the ids */
	struct rng rng;
	int64_t tokens;

	if (!p->output.ends)
		return 0;
	for (int32_t i = 0; i < r->n_prompt; i++)
		prompt = (prompt ^ (uint32_t)r->tokens[i]) * UINT64_C(0x100000001b3);
	rng_init(&rng, seed, "answer length", prompt ^ r->seed);
	tokens = dist_sample_count(&p->output.length, &rng, 1);
	return tokens < INT32_MAX ? (int32_t)tokens : INT32_MAX;
}
