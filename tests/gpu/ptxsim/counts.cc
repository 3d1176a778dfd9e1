/* What a warp's requests cost, what a kernel did in all: for whoever asks, and on the way to a
 * file. */
#include <algorithm>
#include <bitset>
#include <cstdio>
#include <unordered_map>
#include "counts.h"
#include "machine.h"

constexpr uint64_t SECTOR = 32, PAGE_SECTORS = 4096;
typedef std::bitset<PAGE_SECTORS> sector_page;
static std::unordered_map<uint64_t, sector_page> touched[2]; /* read, written */

static void touch(bool is_store, const uint64_t *sectors, size_t n)
{
	static uint64_t page_number[2] = {~0ull, ~0ull};
	static sector_page *page[2];
	for (size_t k = 0; k < n; k++) {
		uint64_t number = sectors[k] / PAGE_SECTORS;
		if (number != page_number[is_store] || touched[is_store].empty()) {
			page[is_store] = &touched[is_store][number];
			page_number[is_store] = number;
		}
		page[is_store]->set(sectors[k] % PAGE_SECTORS);
	}
}

/*
 * Global: sectors touched against the fewest that could hold the distinct bytes. Shared: the 32
 * banks serve one word each a phase of 128 bytes; a phase takes as long as the busiest bank has
 * different words.
 */
static void count_global(const insn &i, const uint64_t *at, int n, unsigned bytes)
{
	uint64_t sectors[64];
	int count = 0;
	uint64_t distinct[32];
	std::copy(at, at + n, distinct);
	std::sort(distinct, distinct + n);
	uint64_t different = std::unique(distinct, distinct + n) - distinct;
	for (int l = 0; l < n; l++)
		for (uint64_t s = at[l] / SECTOR; s <= (at[l] + bytes - 1) / SECTOR; s++)
			sectors[count++] = s;
	std::sort(sectors, sectors + count);
	count = (int)(std::unique(sectors, sectors + count) - sectors);
	touch(i.flags & IS_STORE, sectors, (size_t)count);
	i.counts.sectors += (uint64_t)count;
	i.counts.ideal += (different * bytes + SECTOR - 1) / SECTOR;
	i.counts.bytes += different * bytes;
}

static void count_shared(const insn &i, const uint64_t *at, int n, unsigned bytes)
{
	int words = std::max(1u, bytes / 4), per_phase = std::min(32, 32 / words);
	for (int from = 0; from < n; from += per_phase) {
		uint64_t seen[32][8];
		int depth[32] = {}, most = 0;
		for (int l = from; l < std::min(n, from + per_phase); l++) {
			for (int k = 0; k < words; k++) {
				uint64_t word = at[l] / 4 + k, bank = word & 31;
				int d = std::min(depth[bank], 8);
				if (std::find(seen[bank], seen[bank] + d, word) != seen[bank] + d)
					continue;
				if (d < 8)
					seen[bank][d] = word;
				most = std::max(most, ++depth[bank]);
			}
		}
		i.counts.wavefronts += most;
		i.counts.phases++;
	}
}

void count_request(const insn &i, space sp, const uint64_t *at, int n, unsigned bytes)
{
	if (n && sp == GENERIC)
		sp = at[0] < SHARED_WINDOW ? GLOBAL : at[0] < LOCAL_WINDOW ? SHARED : LOCAL;
	if (sp == SHARED)
		count_shared(i, at, n, bytes);
	else if (sp != LOCAL)
		count_global(i, at, n, bytes);
}

/* Requests of shared memory that are rare do not count as a hot loop's. */
constexpr uint64_t HOT_SHARE = 20;

static void add_kernel(ptxsim_counts *out, kernel &k)
{
	uint64_t busiest = 0;
	for (auto &i : k.code)
		busiest = std::max(busiest, i.counts.phases);
	for (auto &i : k.code) {
		const insn_counts &c = i.counts;
		out->sectors += c.sectors, out->ideal_sectors += c.ideal;
		out->wavefronts += c.wavefronts, out->phases += c.phases;
		out->mma += i.text.compare(0, 4, "mma.") ? 0 : c.runs;
		if (c.phases && c.phases * HOT_SHARE >= busiest)
			out->worst_conflict = std::max(out->worst_conflict,
						       (double)c.wavefronts / (double)c.phases);
		i.counts = {};
	}
	out->warp_insns += k.warp_insns, out->lane_insns += k.lane_insns;
	k.warp_insns = k.lane_insns = k.launches = 0;
}

static uint64_t bytes_touched(bool is_store)
{
	uint64_t sectors = 0;
	for (auto &page : touched[is_store])
		sectors += page.second.count();
	touched[is_store].clear();
	return sectors * SECTOR;
}

void counts_take(const std::vector<module *> &modules, ptxsim_counts *out)
{
	*out = {};
	for (auto *m : modules)
		for (auto &k : m->kernels)
			add_kernel(out, k.second);
	out->read_bytes = bytes_touched(false);
	out->write_bytes = bytes_touched(true);
}

/* One line a kernel, then one line for every of its instructions that wastes: an object a line. */
static void report_kernel(FILE *f, const kernel &k)
{
	uint64_t bytes[2] = {}, sectors = 0, ideal = 0, wavefronts = 0, phases = 0, matrix = 0;
	for (auto &i : k.code) {
		bool global = i.counts.ideal != 0;
		bytes[i.flags & IS_STORE ? 1 : 0] += global ? i.counts.bytes : 0;
		sectors += i.counts.sectors, ideal += i.counts.ideal;
		wavefronts += i.counts.wavefronts, phases += i.counts.phases;
		matrix += i.text.compare(0, 4, "mma.") ? 0 : i.counts.runs;
	}
	fprintf(f,
		"{\"kernel\":\"%s\",\"launches\":%llu,\"warp_insns\":%llu,\"lane_insns\":%llu,"
		"\"global_read_bytes\":%llu,"
		"\"global_write_bytes\":%llu,\"sectors\":%llu,\"ideal_sectors\":%llu,\"shared_"
		"wavefronts\":%llu,"
		"\"shared_phases\":%llu,\"mma\":%llu}\n",
		k.name.c_str(), (unsigned long long)k.launches, (unsigned long long)k.warp_insns,
		(unsigned long long)k.lane_insns, (unsigned long long)bytes[0],
		(unsigned long long)bytes[1], (unsigned long long)sectors,
		(unsigned long long)ideal, (unsigned long long)wavefronts,
		(unsigned long long)phases, (unsigned long long)matrix);
	for (auto &i : k.code)
		if (i.counts.sectors > i.counts.ideal || i.counts.wavefronts > i.counts.phases)
			fprintf(f,
				"{\"kernel\":\"%s\",\"line\":%d,\"insn\":\"%s\",\"runs\":%llu,"
				"\"sectors_per_ideal\":%.3f,"
				"\"bank_conflict\":%.3f}\n",
				k.name.c_str(), i.line, i.text.c_str(),
				(unsigned long long)i.counts.runs,
				i.counts.ideal ? (double)i.counts.sectors / (double)i.counts.ideal
					       : 0,
				i.counts.phases
					? (double)i.counts.wavefronts / (double)i.counts.phases
					: 0);
}

void report_write(const std::vector<module *> &modules)
{
	FILE *f = opt.report.empty() ? nullptr : fopen(opt.report.c_str(), "w");
	if (!f)
		return;
	for (auto *m : modules)
		for (auto &k : m->kernels)
			if (k.second.launches)
				report_kernel(f, k.second);
	fclose(f);
}
