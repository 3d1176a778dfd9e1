/*
 * `fakeengine probe`: puts the load that tells a server's costs apart (scenarios/probe.yaml) to a
 * server and fits a profile to what came of it. The load is loadgen's, a program of its own; this
 * starts it and waits.
 */
#ifndef FAKEENGINE_PROBE_COMMAND_H
#define FAKEENGINE_PROBE_COMMAND_H

/* argv[0] is the subcommand. Returns the exit code: 0; 2 with a line on stderr; 130 if the load was
 * interrupted. */
int probe_command(int argc, char *const *argv);

#endif
