/*
 * A fit as a profile: the YAML that was begun with, the fitted numbers in it, and behind each
 * number of scheduler and cost a comment that says where it comes from.
 */
#ifndef FAKEENGINE_FIT_PROFILE_H
#define FAKEENGINE_FIT_PROFILE_H

#include "base/buf.h"
#include "base/yamlx.h"
#include "fit.h"

/* base: what was begun with, `--set` included; changed. source: what it was fitted to. RC_LIMIT at
 * the cap of out. */
enum rc fit_profile_write(struct buf *out, const struct fit_result *r, struct ydoc *base,
			  const char *name, const char *source, struct err *e);

#endif
