/*
 * Owns plots/ in a results folder: a data file and a gnuplot file a figure, and gnuplot to draw
 * them. Main thread; waits for gnuplot. Must not know what a figure shows (report_figures.c) nor
 * how (plots/NAME.gp, which travel inside the program).
 */
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "base/die.h"
#include "base/embedded.h"
#include "report_figures.h"
#include "report_shown.h"
#include "table.h"

extern char **environ;
extern const struct embedded builtin_figures[];

enum {
	MAX_TITLE = 100,
	MAX_NAME = 34
}; /* columns of text that 900 pixels hold; three names in a row */

static const char *template_of(const char *name)
{
	for (const struct embedded *f = builtin_figures; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f->text;
	return NULL;
}

static const struct figure *find_figure(const char *name)
{
	for (const struct figure *f = figures; f->name; f++)
		if (strcmp(f->name, name) == 0)
			return f;
	return NULL;
}

static void add_note(struct buf *note, const char *figure, const char *why)
{
	buf_printf(note, "%sfigure %s: %s", buf_size(note) ? "\n" : "", figure, why);
}

/* ---- what every figure is told ---- */

static void define_subtitle(struct buf *defs, const struct scenario *s)
{
	const char *model = s->targets[0].model;
	char text[512];

	for (int i = 1; i < s->n_targets && model; i++)
		if (!s->targets[i].model || strcmp(s->targets[i].model, model) != 0)
			model = NULL;
	snprintf(text, sizeof(text), "scenario %s%s%.80s, seed %llu", s->name,
		 model ? ", model " : "", model ? model : "", (unsigned long long)s->seed);
	define_text(defs, "subtitle", text, MAX_TITLE + 20);
}

static void define_common(struct buf *defs, const struct scenario *s, const char *name)
{
	size_t longest = 0;
	char element[32], title[512];

	define_text(defs, "name", name, MAX_TITLE);
	snprintf(title, sizeof(title), "%s%s", s->clock == RUN_CLOCK_VIRTUAL ? "Simulated: " : "",
		 s->description && *s->description ? s->description : s->name);
	define_text(defs, "title", title, MAX_TITLE);
	define_subtitle(defs, s);
	buf_printf(defs, "n_targets = %d\narray target[%d]\n", s->n_targets, s->n_targets);
	for (int i = 0; i < s->n_targets; i++) {
		snprintf(element, sizeof(element), "target[%d]", i + 1);
		define_text(defs, element, s->targets[i].name, MAX_NAME);
		if (display_width(s->targets[i].name) > longest)
			longest = display_width(s->targets[i].name);
	}
	define_number(defs, "slo_percent", 100 * s->slo.share);
	define_number(defs, "key_columns", longest <= 16 ? 4 : longest <= 24 ? 3 : 2);
	/* the axis of figures that have none; write() gives others their own */
	buf_puts(defs,
		 "load_label = ''\nload_log = 0\nload_tics = ''\nload_min = 0\nload_max = 1\n");
}

/* ---- files ---- */

static enum rc write_text(const char *path, const struct buf *text, struct err *e)
{
	FILE *f = fopen(path, "w");
	bool ok = f && fwrite(buf_head(text), 1, buf_size(text), f) == buf_size(text);

	if (f && fclose(f) != 0)
		ok = false;
	return ok ? RC_OK : err_set(e, RC_IO, "%s: %s", path, strerror(errno));
}

/* Definitions, common.gp and the figure's own template: a file that runs by itself. */
static enum rc write_gp(const char *path, const struct buf *defs, const char *figure, struct err *e)
{
	struct buf text;
	enum rc rc;

	buf_init(&text, 64u << 20);
	buf_puts(&text, "# Written by loadgen. Draws this folder's figure again: gnuplot FILE.\n");
	buf_append(&text, buf_head(defs), buf_size(defs));
	buf_printf(&text, "\n%s\n%s", template_of("common"), figure);
	rc = write_text(path, &text, e);
	buf_release(&text);
	return rc;
}

/* ---- gnuplot ---- */

enum drawn { DRAWN, NO_GNUPLOT, NOT_DRAWN };

/* In the plots folder, its messages to NAME.log, which goes when there is nothing to say. */
static enum drawn run_gnuplot(const char *plots_dir, const char *name)
{
	char *gp = xasprintf("%s.gp", name), *log = xasprintf("%s/%s.log", plots_dir, name);
	char *argv[] = {(char *)"gnuplot", (char *)"--default-settings", gp, NULL};
	posix_spawn_file_actions_t files;
	enum drawn drawn = NOT_DRAWN;
	int status, rc;
	pid_t pid;

	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&files, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
	posix_spawn_file_actions_adddup2(&files, 1, 2);
	posix_spawn_file_actions_addchdir_np(&files, plots_dir);
	rc = posix_spawnp(&pid, "gnuplot", &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	if (rc == ENOENT)
		drawn = NO_GNUPLOT;
	if (rc == 0) {
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		drawn = WIFEXITED(status) && WEXITSTATUS(status) == 0 ? DRAWN : NOT_DRAWN;
	}
	if (drawn != NOT_DRAWN)
		unlink(log);
	free(log);
	free(gp);
	return drawn;
}

/* ---- a figure ---- */

static void remove_files(const char *stem)
{
	static const char *const endings[] = {"dat", "gp", "svg", "png", "log"};

	for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
		char *path = xasprintf("%s.%s", stem, endings[i]);

		unlink(path);
		free(path);
	}
}

/* *why: why there is no figure; its files are gone then. */
static enum rc write_figure(struct figure_input *f, const struct figure *figure, const char *stem,
			    const char **why, struct err *e)
{
	char *dat = xasprintf("%s.dat", stem), *gp = xasprintf("%s.gp", stem);
	enum rc rc = RC_OK;
	struct buf defs;

	buf_init(&defs, 16u << 20);
	define_common(&defs, f->in->scenario, figure->name);
	f->defs = &defs;
	f->dat = fopen(dat, "w");
	*why = NULL;
	if (f->dat) {
		bool failed;

		*why = figure->write(f);
		failed = ferror(f->dat) != 0;
		if (fclose(f->dat) != 0 || failed)
			rc = err_set(e, RC_IO, "%s: %s", dat, strerror(errno));
	} else {
		rc = err_set(e, RC_IO, "%s: %s", dat, strerror(errno));
	}
	if (!rc && !*why)
		rc = write_gp(gp, &defs, template_of(figure->name), e);
	if (*why)
		remove_files(stem);
	f->defs = NULL;
	f->dat = NULL;
	buf_release(&defs);
	free(dat);
	free(gp);
	return rc;
}

static enum rc one_figure(struct figure_input *f, const struct figure *figure,
			  const char *plots_dir, bool *gnuplot, struct buf *note, struct err *e)
{
	const char *name = figure->name, *why;
	char *stem;
	enum rc rc;

	stem = xasprintf("%s/%s", plots_dir, name);
	rc = write_figure(f, figure, stem, &why, e);
	free(stem);
	if (rc)
		return rc;
	if (why) {
		add_note(note, name, why);
		return RC_OK;
	}
	if (!*gnuplot)
		return RC_OK;
	switch (run_gnuplot(plots_dir, name)) {
	case DRAWN:
		break;
	case NO_GNUPLOT:
		*gnuplot = false;
		buf_printf(note,
			   "%sgnuplot is not installed (Debian: apt-get install gnuplot-nox); the "
			   "figures wait in %s as "
			   ".dat and .gp",
			   buf_size(note) ? "\n" : "", plots_dir);
		break;
	case NOT_DRAWN:
		add_note(note, name, "gnuplot failed; what it said is in the .log beside it");
		break;
	}
	return RC_OK;
}

static void input_init(struct figure_input *f, const struct report_input *in)
{
	*f = (struct figure_input){.in = in};
	curves_init(&f->curves, in->scenario, in->points, in->n_points);
	axis_init(&f->axis, in->scenario);
	axis_drop_unmeasured(&f->axis, &f->curves);
}

static void input_release(struct figure_input *f)
{
	axis_release(&f->axis);
	curves_release(&f->curves);
}

enum rc report_plots(const struct report_input *in, struct buf *note, struct err *e)
{
	char *plots_dir = xasprintf("%s/plots", in->dir);
	struct figure_input whole, part;
	struct shown shown;
	bool gnuplot = true;
	enum rc rc = RC_OK;

	shown_init(&shown, in);
	input_init(&whole, in);
	input_init(&part, &shown.in);
	if (mkdir(plots_dir, 0777) != 0 && errno != EEXIST)
		rc = err_set(e, RC_IO, "%s: %s", plots_dir, strerror(errno));
	for (char **name = in->scenario->output.plots; name && *name && !rc; name++) {
		const struct figure *figure = find_figure(*name);

		CHECK(figure && template_of(*name)); /* the scenario checked the name */
		rc = one_figure(figure->whole ? &whole : &part, figure, plots_dir, &gnuplot, note,
				e);
	}
	input_release(&part);
	input_release(&whole);
	shown_release(&shown);
	free(plots_dir);
	return rc;
}
