/*
 * The forward pass as the definition of the models has it, in double precision: no cache, no
 * batch, no quantised activations, one token after the other and every sum in plain order. Shares
 * nothing with the executors but struct model, and reads its weights by matrix_read_row() and
 * vector_read(). Slow; for models of a few thousand weights, and for deciding ties of a real one.
 */
#ifndef TESTS_REF_FORWARD_H
#define TESTS_REF_FORWARD_H

#include <stdint.h>

#include "model/model.h"

/* logits: n * n_vocab, those of each position. */
void ref_forward(const struct model *m, const int32_t *tokens, int32_t n, double *logits);

#endif
