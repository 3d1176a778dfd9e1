/*
 * The sections of a profile that describe what an engine has beyond a policy and a formula: several
 * cards, a formula from numbers of hardware, speculation, a cache in the host's memory, adapters,
 * several engines.
 * Read by profile.c, after the sections that they build on; all return RC_INPUT with the place.
 */
#ifndef FAKEENGINE_PROFILE_FEATURES_H
#define FAKEENGINE_PROFILE_FEATURES_H

#include "base/yamlx.h"
#include "profile.h"

/* `parallel`: after model and card. */
enum rc read_parallel(struct profile *p, const struct ynode *map, struct err *e);

/* `cost.analytic`: after model, card and parallel. */
enum rc read_analytic(struct profile *p, const struct ynode *map, struct err *e);

/* `speculation`: after scheduler and cost. */
enum rc read_speculation(struct profile *p, const struct ynode *map, struct err *e);

/* `offload`: after model, card, parallel, scheduler and cost. */
enum rc read_offload(struct profile *p, const struct ynode *map, struct err *e);

/* `lora`: after model, scheduler and cost. */
enum rc read_lora(struct profile *p, const struct ynode *map, struct err *e);

/* `router`: its name, or a map with `policy` and its knobs. */
enum rc read_router(struct profile *p, const struct ynode *n, struct err *e);

/* `disaggregated`: after model and scheduler. */
enum rc read_disaggregated(struct profile *p, const struct ynode *map, struct err *e);

/* profile.models: the model, and the adapters of a list (NULL: none). To be freed with its names.
 */
char **served_names(const struct profile *p, const struct ynode *adapters);

/* A knob that is nothing without a section that is not there. */
enum rc check_features(const struct profile *p, const struct ynode *root, struct err *e);

#endif
