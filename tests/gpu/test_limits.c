/*
 * What ptxas made of the kernels, read from the cubins that are embedded: registers, a stack frame,
 * loads and stores of local memory (which spills are), calls, and whether the instructions that a
 * kernel lives from are there. limits.txt is what is allowed; `test_gpu_limits print` writes it
 * anew. Nothing here runs on a card.
 */
#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda/launch.h"
#include "cuda/modules.h"

#define MAX_CARDS  8
#define LINE_BYTES 256

/* Volta to Blackwell: an instruction is 16 bytes, its opcode the lowest 9 bits. */
#define INSN_BYTES  16
#define OPCODE_MASK 0x1ffU
#define SIZE_SHIFT  9 /* in the second 8 bytes: what a load loads */
#define SIZE_MASK   7U
#define SIZE_128    6U
enum {
	OP_LDG = 0x181,
	OP_LDL = 0x183,
	OP_STL = 0x187,
	OP_CALL = 0x144,
	OP_IDP4A = 0x026,
	OP_HMMA = 0x03c,
	OP_LDSM = 0x03b,
	OP_LDGSTS = 0x1ae,
};

/* In .nv.info: entries of a format byte, an attribute byte and a size, here of two words: the
 * kernel's symbol and a number. */
#define INFO_SIZED     4
#define INFO_FRAME     0x11
#define INFO_REGISTERS 0x2f

/* Of a kernel's section, in sh_info; what is above it is not of use everywhere. */
#define SYMBOL_MASK 0xffffffU

/* What a kernel may be said to need, by the names of limits.txt. */
enum { WIDE_LOADS = 1, DP4A = 2, MMA = 4, LDMATRIX = 8, ASYNC_COPIES = 16 };
static const struct {
	unsigned bit;
	const char *name;
} abilities[] = {{WIDE_LOADS, "wide"},
		 {DP4A, "dp4a"},
		 {MMA, "mma"},
		 {LDMATRIX, "ldmatrix"},
		 {ASYNC_COPIES, "copies"}};
#define N_ABILITIES (sizeof(abilities) / sizeof(*abilities))

struct figures {
	int32_t registers, calls, local, frame;
	unsigned has;
};

/* ---- a cubin ---- */

struct cubin {
	const unsigned char *at;
	const Elf64_Shdr *section;
	int32_t n_sections;
	const char *names;
};

static void open_cubin(struct cubin *c, const struct gpu_image *image)
{
	const Elf64_Ehdr *head = image->data;

	assert_true(image->bytes > sizeof(*head) && memcmp(head->e_ident, ELFMAG, SELFMAG) == 0);
	c->at = image->data;
	assert_true(head->e_shoff + head->e_shnum * sizeof(Elf64_Shdr) <= image->bytes);
	c->section = (const Elf64_Shdr *)(const void *)(c->at + head->e_shoff);
	c->n_sections = head->e_shnum;
	c->names = (const char *)c->at + c->section[head->e_shstrndx].sh_offset;
	for (int32_t i = 0; i < c->n_sections; i++)
		assert_true(c->section[i].sh_type == SHT_NOBITS ||
			    c->section[i].sh_offset + c->section[i].sh_size <= image->bytes);
}

static const Elf64_Shdr *find_section(const struct cubin *c, const char *prefix, const char *name)
{
	size_t n = strlen(prefix);

	for (int32_t i = 0; i < c->n_sections; i++) {
		const char *its = c->names + c->section[i].sh_name;

		if (strncmp(its, prefix, n) == 0 && strcmp(its + n, name) == 0)
			return &c->section[i];
	}
	return NULL;
}

static void count_instructions(const unsigned char *code, size_t bytes, struct figures *f)
{
	for (size_t i = 0; i + INSN_BYTES <= bytes; i += INSN_BYTES) {
		uint64_t word[2];

		memcpy(word, code + i, sizeof(word));
		switch (word[0] & OPCODE_MASK) {
		case OP_LDG:
			if ((word[1] >> SIZE_SHIFT & SIZE_MASK) == SIZE_128)
				f->has |= WIDE_LOADS;
			break;
		case OP_LDL:
		case OP_STL:
			f->local++;
			break;
		case OP_CALL:
			f->calls++;
			break;
		case OP_IDP4A:
			f->has |= DP4A;
			break;
		case OP_HMMA:
			f->has |= MMA;
			break;
		case OP_LDSM:
			f->has |= LDMATRIX;
			break;
		case OP_LDGSTS:
			f->has |= ASYNC_COPIES;
			break;
		default:
			break;
		}
	}
}

/* What .nv.info says of a kernel, which is told by its symbol's number. */
static int32_t info_of(const struct cubin *c, unsigned attribute, uint32_t symbol)
{
	const Elf64_Shdr *info = find_section(c, ".nv.info", "");
	size_t at = 0;

	while (info && at + 4 <= info->sh_size) {
		const unsigned char *entry = c->at + info->sh_offset + at;
		uint32_t pair[2];
		uint16_t size;

		memcpy(&size, entry + 2, sizeof(size));
		at += 4;
		if (entry[0] != INFO_SIZED)
			continue;
		at += size;
		if (entry[1] != attribute || size != sizeof(pair) || at > info->sh_size)
			continue;
		memcpy(pair, entry + 4, sizeof(pair));
		if (pair[0] == symbol)
			return (int32_t)pair[1];
	}
	fail_msg("a cubin does not say its figure %#x of symbol %u", attribute, symbol);
	return 0;
}

static struct figures figures_of(const struct gpu_image *image, const char *kernel)
{
	struct figures f = {0};
	const Elf64_Shdr *text;
	uint32_t symbol;
	struct cubin c;

	open_cubin(&c, image);
	text = find_section(&c, ".text.", kernel);
	if (!text) {
		fail_msg("%s is not in its cubin for sm_%d", kernel, image->sm);
		return f;
	}
	symbol = text->sh_info & SYMBOL_MASK;
	f.registers = info_of(&c, INFO_REGISTERS, symbol);
	f.frame = info_of(&c, INFO_FRAME, symbol);
	count_instructions(c.at + text->sh_offset, text->sh_size, &f);
	return f;
}

static const struct gpu_module *module_of(const char *file)
{
	for (int32_t i = 0; i < gpu_n_modules; i++)
		if (strcmp(gpu_modules[i].name, file) == 0)
			return &gpu_modules[i];
	return NULL;
}

/* ---- what is allowed ---- */

struct limits {
	int32_t sm[MAX_CARDS], registers[MAX_CARDS], n_cards;
	int32_t calls;
	unsigned needs;
};

static unsigned ability_named(const char *name)
{
	for (size_t i = 0; i < N_ABILITIES; i++)
		if (strcmp(abilities[i].name, name) == 0)
			return abilities[i].bit;
	fail_msg("limits.txt: what is '%s'?", name);
	return 0;
}

/* The header names the cards: "kernel 80 86 ... calls needs". */
static void read_row(char *line, struct limits *l, bool header)
{
	char *rest = NULL, *word;

	strtok_r(line, " \n", &rest); /* its name */
	for (int32_t i = 0; (word = strtok_r(NULL, " \n", &rest)); i++) {
		if (header && strcmp(word, "calls") == 0)
			return;
		if (header) {
			assert_true(i < MAX_CARDS);
			l->sm[l->n_cards++] = (int32_t)strtol(word, NULL, 10);
		} else if (i < l->n_cards) {
			l->registers[i] = (int32_t)strtol(word, NULL, 10);
		} else if (i == l->n_cards) {
			l->calls = (int32_t)strtol(word, NULL, 10);
		} else {
			l->needs |= ability_named(word);
		}
	}
}

static void read_limits(const char *kernel, struct limits *l)
{
	FILE *file = fopen(LIMITS, "r");
	char line[LINE_BYTES];
	bool found = false;
	size_t n = strlen(kernel);

	assert_non_null(file);
	memset(l, 0, sizeof(*l));
	while (fgets(line, sizeof(line), file) && !found) {
		if (line[0] == '#')
			continue;
		found = strncmp(line, kernel, n) == 0 && line[n] == ' ';
		if (found || l->n_cards == 0)
			read_row(line, l, l->n_cards == 0);
	}
	fclose(file);
	if (!found)
		fail_msg("limits.txt has no row for %s", kernel);
}

static int32_t registers_allowed(const struct limits *l, int32_t sm)
{
	for (int32_t i = 0; i < l->n_cards; i++)
		if (l->sm[i] == sm)
			return l->registers[i];
	fail_msg("limits.txt has no column for sm_%d", sm);
	return 0;
}

/* ---- the test ---- */

static void check_kernel(const char *kernel, const struct gpu_image *image, const struct limits *l)
{
	struct figures f = figures_of(image, kernel);
	int32_t registers = registers_allowed(l, image->sm);

	if (f.frame != 0 || f.local != 0)
		fail_msg("%s, sm_%d: a stack frame of %d bytes, %d accesses of local memory",
			 kernel, image->sm, f.frame, f.local);
	if (f.registers > registers)
		fail_msg("%s, sm_%d: %d registers, %d are allowed", kernel, image->sm, f.registers,
			 registers);
	if (f.calls > l->calls)
		fail_msg("%s, sm_%d: %d calls, %d are allowed", kernel, image->sm, f.calls,
			 l->calls);
	for (size_t i = 0; i < N_ABILITIES; i++)
		if (l->needs & ~f.has & abilities[i].bit)
			fail_msg("%s, sm_%d: it has lost '%s'", kernel, image->sm,
				 abilities[i].name);
}

static void test_limits(void **state)
{
	int32_t checked = 0;

	(void)state;
	for (int32_t k = 0; k < GPU_KERNEL_COUNT; k++) {
		const struct gpu_kernel_info *info = gpu_kernel_info((enum gpu_kernel)k);
		const struct gpu_module *m = module_of(info->file);
		struct limits l;

		assert_non_null(m);
		read_limits(info->name, &l);
		for (int32_t i = 0; i < m->n_cubins; i++, checked++)
			check_kernel(info->name, &m->cubins[i], &l);
	}
	assert_true(checked > 0);
}

static void print_row(const struct gpu_kernel_info *info)
{
	const struct gpu_module *m = module_of(info->file);
	unsigned has = ~0U;
	int32_t calls = 0;

	printf("%-16s", info->name);
	for (int32_t i = 0; i < m->n_cubins; i++) {
		struct figures f = figures_of(&m->cubins[i], info->name);

		printf(" %3d", f.registers);
		has &= f.has;
		calls = f.calls > calls ? f.calls : calls;
	}
	printf(" %5d", calls);
	for (size_t i = 0; i < N_ABILITIES; i++)
		if (has & abilities[i].bit)
			printf(" %s", abilities[i].name);
	printf("\n");
}

static void print_limits(void)
{
	printf("# Of the kernels as nvcc 13.0 compiles them: registers on each card (sm_), calls "
	       "(on\n"
	       "# sm_80 to 89 they lead to the out-of-line half of a shuffle that a warp may "
	       "reach\n"
	       "# divided), and the instructions without which a kernel is not what it was "
	       "written\n"
	       "# to be: wide = loads of 128 bits. Stack frames and local memory: none, "
	       "everywhere.\n");
	printf("%-16s", "kernel");
	for (int32_t i = 0; i < gpu_modules[0].n_cubins; i++)
		printf(" %3d", gpu_modules[0].cubins[i].sm);
	printf(" calls needs\n");
	for (int32_t k = 0; k < GPU_KERNEL_COUNT; k++)
		print_row(gpu_kernel_info((enum gpu_kernel)k));
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits)};

	if (argc == 2 && strcmp(argv[1], "print") == 0) {
		print_limits();
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
