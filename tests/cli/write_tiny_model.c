/*
 * For tests on the command line: writes a tiny model with random weights into a folder and prints
 * its path. write_tiny_model FOLDER [ARCHITECTURE [safetensors]]
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../support/tiny_model.h"
#include "model/model_file.h"

int main(int argc, char **argv)
{
	struct tiny_params p = {.dtype = DTYPE_Q8_0, .max_len = 2048};
	char *path;

	if (argc < 2 || argc > 4)
		return 2;
	if (argc > 2)
		p.arch = argv[2];
	path = tiny_model_write(&p,
				argc > 3 && strcmp(argv[3], "safetensors") == 0 ? MODEL_SAFETENSORS
										: MODEL_GGUF,
				argv[1]);
	puts(path);
	free(path);
	return 0;
}
