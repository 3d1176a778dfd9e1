/*
 * `fakeengine fit`: measured rows in, a profile out.
 */
#ifndef FAKEENGINE_FIT_COMMAND_H
#define FAKEENGINE_FIT_COMMAND_H

/* argv[0] is the subcommand. Returns the exit code: 0, or 2 with a line on stderr. */
int fit_command(int argc, char *const *argv);

#endif
