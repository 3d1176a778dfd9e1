/*
 * Owns the choice of a device. Runs at start. Must not know any of them.
 */
#include "device.h"

#include <string.h>

#include "base/buf.h"
#include "base/log.h"

const struct device *const devices[] = {&device_cpu, NULL};

static enum rc try_device(struct device_plan *out, const struct device *d,
			  const struct device_wish *w, struct err *e)
{
	memset(out, 0, sizeof(*out));
	out->device = d;
	return d->plan(out, w, e);
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
	enum rc rc;

	for (int i = 0; devices[i]; i++) {
		bool last = !devices[i + 1];

		if (strcmp(name, devices[i]->name) == 0)
			return try_device(out, devices[i], w, e);
		if (strcmp(name, "auto") != 0)
			continue;
		rc = try_device(out, devices[i], w, e);
		if (rc == RC_OK || last)
			return rc;
		log_info("%s", e->msg);
	}
	return no_such(name, e);
}

void device_plan_release(struct device_plan *p)
{
	if (p->device)
		p->device->release(p);
	memset(p, 0, sizeof(*p));
}
