/*
 * The kernels compiled for AVX2, FMA and F16C. Nothing here may run on less.
 */
#include "vec_avx2.h"

#include "body_rows.h"
#include "body_matmul.h"
#include "body_attention.h"
#include "kernels_isa.h"

const struct kernels kernels_avx2 = KERNELS_ROW;
