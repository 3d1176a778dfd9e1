/*
 * Owns what the commands print alike. Main thread.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "commands.h"
#include "device.h"

int complain(const struct err *e)
{
	log_error("%s", e->msg);
	return EXIT_INPUT;
}

int print_out(struct buf *b)
{
	fwrite(buf_head(b), 1, buf_size(b), stdout);
	buf_release(b);
	return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_INPUT;
}

void put_devices(struct buf *b)
{
	buf_puts(b, "\nDevices\n");
	for (int i = 0; devices[i]; i++)
		buf_printf(b, "  %-8s %s\n", devices[i]->name, devices[i]->help);
}
