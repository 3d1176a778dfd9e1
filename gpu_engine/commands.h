/*
 * The program's commands: each reads its own command line (argv[0] is its name) and returns an exit
 * code. 0 done, 2 wrong input or no such machine.
 */
#ifndef GPU_ENGINE_COMMANDS_H
#define GPU_ENGINE_COMMANDS_H

#include "base/buf.h"
#include "base/err.h"

#define EXIT_INPUT 2

int command_serve(int argc, char *const *argv);
int command_run(int argc, char *const *argv);
int command_bench(int argc, char *const *argv);
int command_perplexity(int argc, char *const *argv);
int command_info(int argc, char *const *argv);

/* e as the one line of an error; returns EXIT_INPUT. */
int complain(const struct err *e);

/* To stdout, and released. */
int print_out(struct buf *b);

/* The devices there are, for --help. */
void put_devices(struct buf *b);

#endif
