/*
 * The switch between two stacks. A fiber that does not run has its callee-saved registers on top of
 * its stack, and its context is that place.
 */
#include "fiber.h"

#include <stdint.h>

#if defined(__x86_64__) && !defined(SIMT_UCONTEXT)

__asm__(".text\n"
	".globl fiber_switch\n"
	".type fiber_switch, @function\n"
	"fiber_switch:\n"
	"	push %rbp\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	push %r14\n"
	"	push %r15\n"
	"	mov %rsp, (%rdi)\n"
	"	mov %rsi, %rsp\n"
	"	pop %r15\n"
	"	pop %r14\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	pop %rbp\n"
	"	ret\n"
	".size fiber_switch, . - fiber_switch\n");

#define SAVED_REGISTERS 6

fiber_context fiber_make(char *stack, size_t bytes, void (*entry)(void))
{
	void **top = (void **)((uintptr_t)(stack + bytes) & ~(uintptr_t)15);

	*--top = NULL; /* entry's return address: there is none */
	*--top = (void *)(uintptr_t)entry;
	for (int i = 0; i < SAVED_REGISTERS; i++)
		*--top = NULL;
	return top;
}

#else

#include <ucontext.h>

/* A context lives at the low end of its stack; the one of the launching thread is static. */
static ucontext_t first;

fiber_context fiber_make(char *stack, size_t bytes, void (*entry)(void))
{
	ucontext_t *u = (ucontext_t *)stack;
	size_t head = (sizeof(*u) + 63) / 64 * 64;

	getcontext(u);
	u->uc_stack.ss_sp = stack + head;
	u->uc_stack.ss_size = bytes - head;
	u->uc_link = NULL;
	makecontext(u, entry, 0);
	return u;
}

void fiber_switch(fiber_context *from, fiber_context to)
{
	if (!*from)
		*from = &first;
	swapcontext(*from, to);
}

#endif
