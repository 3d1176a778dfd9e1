/*
 * A real engine: weights, tokens and text behind the same front end and the same scheduler as the
 * fake one. Without a command it serves.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/die.h"
#include "gpu_engine/commands.h"

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char *const *argv);
	} command[] = {
		{"run", command_run},
		{"bench", command_bench},
		{"perplexity", command_perplexity},
		{"info", command_info},
	};

	die_set_program("gpu_engine");
	for (size_t i = 0; argc > 1 && i < ARRAY_LEN(command); i++)
		if (strcmp(argv[1], command[i].name) == 0)
			return command[i].run(argc - 1, argv + 1);
	return command_serve(argc, argv);
}
