/*
 * The kernels in plain C: for every machine, and what the others are compared with.
 */
#include "vec_scalar.h"

#include "body_rows.h"
#include "body_matmul.h"
#include "body_attention.h"
#include "kernels_isa.h"

const struct kernels kernels_scalar = KERNELS_ROW;
