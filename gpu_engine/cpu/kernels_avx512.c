/*
 * The kernels compiled for AVX-512 with its byte products (VNNI). Nothing here may run on less.
 */
#include "vec_avx512.h"

#include "body_rows.h"
#include "body_matmul.h"
#include "body_attention.h"
#include "kernels_isa.h"

const struct kernels kernels_avx512 = KERNELS_ROW;
