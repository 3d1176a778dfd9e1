/*
 * The figures made from single requests (report_figures_time.c) and from samples of the engines
 * (report_server.c). Private to report_figures.c.
 */
#ifndef LOADGEN_REPORT_FIGURES_TIME_H
#define LOADGEN_REPORT_FIGURES_TIME_H

#include "report_figures.h"

const char *write_cdf(struct figure_input *f);
const char *write_timeline(struct figure_input *f);
const char *write_server(struct figure_input *f);

#endif
