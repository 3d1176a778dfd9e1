/*
 * Tensor-core instructions, fragment by fragment as the PTX manual lays them out (a lane is group *
 * 4 + place): A, 16 x k: register r of a lane holds row group + 8 * (r & 1), the packed columns of
 * place, upper half of k from r >= 2 B, k x 8:  column group, the packed rows of place, upper half
 * of k from register 1 on C and D:   row group + 8 * (r / 2), columns 2 * place and 2 * place + 1
 * Sums are made in single precision, k rising; a tensor core's own order differs, so compare with a
 * tolerance.
 */
#include <cstring>
#include "machine.h"
#include "numeric.h"

static float half_of(const insn &i, uint32_t v, int high)
{
	v = high ? v >> 16 : v & 0xffff;
	return i.flags & BF ? bf16_to_float(v) : half_to_float(v);
}

/* m16n8k8 and m16n8k16 of 16-bit floats, single precision sums */
static void mma_float(warp &w, const insn &i, uint32_t)
{
	float a[16][16], b[16][8], d[16][8];
	int depth = i.sub, a_count = depth / 4, b_count = depth / 8;
	for (int l = 0; l < 32; l++) {
		int group = l >> 2, place = l & 3;
		for (int r = 0; r < a_count; r++)
			for (int h = 0; h < 2; h++)
				a[group + 8 * (r & 1)][place * 2 + 8 * (r >> 1) + h] =
					half_of(i, lanes_of<uint32_t>(w, i.s[r])[l], h);
		for (int r = 0; r < b_count; r++)
			for (int h = 0; h < 2; h++)
				b[place * 2 + 8 * r + h][group] =
					half_of(i, lanes_of<uint32_t>(w, i.s[a_count + r])[l], h);
		for (int r = 0; r < 4; r++)
			d[group + 8 * (r >> 1)][place * 2 + (r & 1)] =
				lanes_of<float>(w, i.s[a_count + b_count + r])[l];
	}
	for (int m = 0; m < 16; m++)
		for (int k = 0; k < depth; k++)
			for (int n = 0; n < 8; n++)
				d[m][n] += a[m][k] * b[k][n];
	for (int l = 0; l < 32; l++)
		for (int r = 0; r < 4; r++)
			lanes_of<float>(w, i.d[r])[l] =
				d[(l >> 2) + 8 * (r >> 1)][(l & 3) * 2 + (r & 1)];
}

static int byte_of(uint32_t v, int n, bool is_signed)
{
	uint8_t b = (uint8_t)(v >> 8 * n);
	return is_signed ? (int8_t)b : b;
}

/* m16n8k16 and m16n8k32 of bytes, 32-bit integer sums that wrap */
static void mma_bytes(warp &w, const insn &i, uint32_t)
{
	int a[16][32], b[32][8];
	uint32_t d[16][8];
	int depth = i.sub, a_count = depth / 8, b_count = depth / 16;
	for (int l = 0; l < 32; l++) {
		int group = l >> 2, place = l & 3;
		for (int r = 0; r < a_count; r++)
			for (int n = 0; n < 4; n++)
				a[group + 8 * (r & 1)][place * 4 + 16 * (r >> 1) + n] =
					byte_of(lanes_of<uint32_t>(w, i.s[r])[l], n, i.t2 == S8);
		for (int r = 0; r < b_count; r++)
			for (int n = 0; n < 4; n++)
				b[place * 4 + 16 * r + n][group] = byte_of(
					lanes_of<uint32_t>(w, i.s[a_count + r])[l], n, i.t3 == S8);
		for (int r = 0; r < 4; r++)
			d[group + 8 * (r >> 1)][place * 2 + (r & 1)] =
				lanes_of<uint32_t>(w, i.s[a_count + b_count + r])[l];
	}
	for (int m = 0; m < 16; m++)
		for (int k = 0; k < depth; k++)
			for (int n = 0; n < 8; n++)
				d[m][n] += (uint32_t)(a[m][k] * b[k][n]);
	for (int l = 0; l < 32; l++)
		for (int r = 0; r < 4; r++)
			lanes_of<uint32_t>(w, i.d[r])[l] =
				d[(l >> 2) + 8 * (r >> 1)][(l & 3) * 2 + (r & 1)];
}

void count_request(const insn &i, space sp, const uint64_t *at, int n, unsigned bytes);

/* Lane l of matrix m holds the word l % 4 of row l / 4, whose address lane 8 * m + row gives. */
static void ldmatrix(warp &w, const insn &i, uint32_t)
{
	uint32_t out[4][32];
	for (int m = 0; m < i.vec; m++) {
		const char *rows[8];
		uint64_t at[8];
		for (int row = 0; row < 8; row++) {
			at[row] = address(w, i.s[0], m * 8 + row);
			rows[row] = memory_at(w, i, m * 8 + row, SHARED, at[row], 16, READ);
		}
		if (opt.count)
			count_request(i, SHARED, at, 8, 16);
		for (int l = 0; l < 32; l++) {
			if (i.flags & TRANS) {
				uint16_t low, high;
				memcpy(&low, rows[l % 4 * 2] + l / 4 * 2, 2);
				memcpy(&high, rows[l % 4 * 2 + 1] + l / 4 * 2, 2);
				out[m][l] = low | (uint32_t)high << 16;
			} else {
				memcpy(&out[m][l], rows[l / 4] + l % 4 * 4, 4);
			}
		}
	}
	for (int m = 0; m < i.vec; m++)
		memcpy(lanes_of<uint32_t>(w, i.d[m]), out[m], 128);
}

void bind_matrix(insn &i, const words_t &words)
{
	i.flow = WARP_SYNC;
	if (words[0] == "ldmatrix") {
		i.vec = has_word(words, "x4") ? 4 : has_word(words, "x2") ? 2 : 1;
		i.flags |= COUNT_MEMORY | (has_word(words, "trans") ? TRANS : 0);
		i.run = i.space == SHARED && i.t == B16 && i.ndst == i.vec ? ldmatrix : nullptr;
		return;
	}
	/* mma.sync.aligned.SHAPE.row.col.D.A.B.C */
	bool shaped = words.size() == 10 && words[4] == "row" && words[5] == "col" && i.ndst == 4;
	if (!shaped)
		return;
	i.sub = (uint8_t)(words[3] == "m16n8k32" ? 32 : words[3] == "m16n8k16" ? 16 : 8);
	bool floats =
		(i.t2 == F16 || i.t2 == BF16) && i.t3 == i.t2 && words[9] == "f32" && i.t == F32;
	bool bytes = (i.t2 == S8 || i.t2 == U8) && (i.t3 == S8 || i.t3 == U8) && i.t == S32 &&
		     words[9] == "s32";
	if (floats && i.sub <= 16 && i.nsrc == i.sub / 4 + i.sub / 8 + 4) {
		i.flags |= i.t2 == BF16 ? BF : 0;
		i.run = mma_float;
	} else if (bytes && i.sub >= 16 && i.nsrc == i.sub / 8 + i.sub / 16 + 4) {
		i.run = mma_bytes;
	}
}
