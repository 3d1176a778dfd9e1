/*
 * What the interpreter counted, for tests in C. It counts where PTXSIM_COUNT or PTXSIM_REPORT is
 * set.
 *
 * Instructions are PTX's: ptxas makes fewer of them. A request is one load or store of a warp. A
 * sector is 32 bytes of global memory; the fewest that could hold a request's bytes are its ideal
 * ones. A phase is a request of shared memory for up to 128 bytes; it costs a wavefront for each
 * different word that its busiest bank is asked for.
 */
#ifndef PTXSIM_COUNTS_H
#define PTXSIM_COUNTS_H

#include <stdint.h>

struct ptxsim_counts {
	uint64_t warp_insns, lane_insns, mma;
	uint64_t sectors, ideal_sectors;
	uint64_t read_bytes, write_bytes; /* different sectors: what no cache could save */
	uint64_t wavefronts, phases;
	/* Wavefronts a phase, of the instructions with a twentieth of the busiest one's phases or
	 * more: 1 = no conflict, 0 = no shared memory. */
	double worst_conflict;
};

#ifdef __cplusplus
extern "C" {
#endif

/* Of all kernels since the last call. */
void ptxsim_counts_take(struct ptxsim_counts *out);

#ifdef __cplusplus
}
#endif

#endif
