/*
 * Owns the choice of a device, and how the memory that one has becomes pages. Runs at start. Must
 * not know any of them.
 */
#include "device.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/units.h"

const struct device *const devices[] = {&device_cuda, &device_cpu, NULL};

static enum rc too_little(const struct device_plan *p, int64_t kv_bytes, struct err *e)
{
	char weights[32], kv[32], scratch[32], left[32];

	return err_set(
		e, RC_INPUT,
		"not enough memory: weights %s, KV cache %s and scratch %s are wanted, %s are "
		"free; a smaller --kv-cache or --ctx-size would do, or a smaller model",
		format_bytes(weights, sizeof(weights), (double)p->weight_bytes),
		format_bytes(kv, sizeof(kv), (double)kv_bytes),
		format_bytes(scratch, sizeof(scratch), (double)p->scratch_bytes),
		format_bytes(left, sizeof(left), (double)p->free_bytes));
}

enum rc device_size_cache(struct device_plan *p, const struct device_wish *w, double share,
			  struct err *e)
{
	int64_t page = model_kv_token_bytes(&w->model->config) * w->block_size;
	int64_t one = (w->max_len + w->block_size - 1) / w->block_size;
	int64_t rest = p->free_bytes - p->weight_bytes - p->scratch_bytes, n;

	if (w->kv_bytes > 0)
		n = w->kv_bytes / page;
	else
		n = one * w->max_seqs;
	if (w->kv_bytes == 0 && n * page > (int64_t)(share * (double)rest))
		n = (int64_t)(share * (double)rest) / page;
	if (n < one && w->kv_bytes > 0) {
		char got[32], want[32];

		return err_set(e, RC_INPUT,
			       "--kv-cache: %s hold %lld tokens, and one context of --ctx-size %d "
			       "takes %s",
			       format_bytes(got, sizeof(got), (double)w->kv_bytes),
			       (long long)n * w->block_size, w->max_len,
			       format_bytes(want, sizeof(want), (double)(one * page)));
	}
	if (n < one || n * page > rest)
		return too_little(p, n < one ? one * page : n * page, e);
	if (n > INT32_MAX / w->block_size - 1)
		n = INT32_MAX / w->block_size - 1;
	p->num_blocks = (int32_t)n + 1; /* the null block */
	p->kv_bytes = (n + 1) * page;
	return RC_OK;
}

/* out is empty if there is no plan. */
static enum rc try_device(struct device_plan *out, const struct device *d,
			  const struct device_wish *w, struct err *e)
{
	enum rc rc;

	memset(out, 0, sizeof(*out));
	out->device = d;
	rc = d->plan(out, w, e);
	if (rc)
		device_plan_release(out);
	return rc;
}

static enum rc no_such(const char *name, struct err *e)
{
	struct buf list;

	buf_init(&list, 256);
	for (int i = 0; devices[i]; i++)
		buf_printf(&list, ", %s", devices[i]->name);
	err_set(e, RC_INPUT, "--device %s: want auto%s", name, buf_cstr(&list));
	buf_release(&list);
	return RC_INPUT;
}

enum rc device_plan(struct device_plan *out, const char *name, const struct device_wish *w,
		    struct err *e)
{
	struct err first = {.rc = RC_OK}; /* why it is not the first one */
	bool automatic = strcmp(name, "auto") == 0;

	for (int i = 0; devices[i]; i++) {
		enum rc rc;

		if (!automatic && strcmp(name, devices[i]->name) != 0)
			continue;
		rc = try_device(out, devices[i], w, e);
		if (rc && automatic && devices[i + 1]) {
			first = first.rc ? first : *e;
			continue;
		}
		if (rc == RC_OK && first.rc)
			log_info("%s; going on with --device %s", first.msg, devices[i]->name);
		return rc;
	}
	return no_such(name, e);
}

void device_plan_release(struct device_plan *p)
{
	if (p->device)
		p->device->release(p);
	memset(p, 0, sizeof(*p));
}
