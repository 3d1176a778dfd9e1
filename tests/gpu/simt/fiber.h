/*
 * Stacks that are switched between by hand. 20 ns a switch on x86-64; elsewhere, or with
 * SIMT_UCONTEXT, by ucontext, six times slower.
 */
#ifndef SIMT_FIBER_H
#define SIMT_FIBER_H

#include <stddef.h>

/* What a fiber that does not run needs to be gone on with: a place on its stack. */
typedef void *fiber_context;

/* A new one, that begins in entry() and must never return from it. stack is aligned to 16. */
fiber_context fiber_make(char *stack, size_t bytes, void (*entry)(void));

/* Leaves the one that runs in *from and goes on with `to`. */
void fiber_switch(fiber_context *from, fiber_context to);

#endif
