/* SPDX-License-Identifier: Apache-2.0 */
/* numa.c - see numa_place.h */
#include "numa_place.h"

#include <errno.h>
#include <numa.h>
#include <numaif.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define SURVEY_BYTES (UINT64_C(64) << 20)
#define SURVEY_BATCH 512
#define NODES_MAX    1024 /* of the kernel, at its largest */
#define WORD_BITS    (8 * sizeof(unsigned long))

static bool available;
static int highest; /* number of the last node */

void numa_start(void)
{
	available = numa_available() >= 0;
	highest = available ? numa_max_node() : 0;
}

static bool usable(int node)
{
	if (!available)
		return node == 0;
	return node >= 0 && node <= highest &&
	       numa_bitmask_isbitset(numa_all_nodes_ptr, (unsigned)node);
}

unsigned numa_node_count(void)
{
	unsigned count = 0;
	int node;

	for (node = 0; node <= highest; node++)
		count += usable(node);
	return count;
}

int numa_check(int32_t placement, struct why *why)
{
	char list[128] = "";
	size_t len = 0;
	int node;

	if (placement == -1 || placement == 0 || (placement > 0 && usable(placement - 1)))
		return 0;
	if (placement < -1)
		return because(why, EINVAL, "%d is no NUMA placement: use auto, interleave or a node",
			       (int)placement);
	for (node = 0; node <= highest && len < sizeof(list) - 16; node++)
		if (usable(node))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%d",
						len ? ", " : "", node);
	return because(why, EINVAL, "there is no memory on NUMA node %d here; nodes with memory: %s",
		       (int)placement - 1, list);
}

int numa_parse(const char *text, int32_t *ret)
{
	char *end;
	unsigned long node;

	if (strcmp(text, "auto") == 0) {
		*ret = 0;
		return 0;
	}
	if (strcmp(text, "interleave") == 0) {
		*ret = -1;
		return 0;
	}
	if (*text < '0' || *text > '9')
		return -EINVAL;
	errno = 0;
	node = strtoul(text, &end, 10);
	if (errno || *end || node > 65535)
		return -EINVAL;
	*ret = (int32_t)node + 1;
	return 0;
}

const char *numa_text(int32_t placement, char *buf)
{
	if (placement > 0)
		snprintf(buf, 16, "node %d", (int)placement - 1);
	else
		strcpy(buf, placement ? "interleave" : "auto");
	return buf;
}

/* Without libnuma's masks: where memory is short, making one ends the process. */
int numa_place(void *addr, size_t size, int32_t placement, int node)
{
	unsigned long only[NODES_MAX / WORD_BITS] = { 0 };
	const struct bitmask *all = numa_all_nodes_ptr;

	if (!available)
		return 0;
	if (placement < 0)
		return mbind(addr, size, MPOL_INTERLEAVE, all->maskp, all->size + 1, 0) < 0 ? -errno
											    : 0;
	if (placement > 0)
		node = placement - 1;
	if (!usable(node) || node >= NODES_MAX)
		return 0; /* auto, and nobody said where it runs: where the kernel puts it */
	only[(size_t)node / WORD_BITS] |= 1ul << (size_t)node % WORD_BITS;
	return mbind(addr, size, MPOL_PREFERRED, only, NODES_MAX + 1, 0) < 0 ? -errno : 0;
}

/*
 * Only what is in the page table is found by move_pages. A touch is an exception each, at up to 10 us in
 * a virtual machine; the kernel enters a row of pages at once, since Linux 5.14.
 */
static void enter_pages(void *const *pages, unsigned long n, size_t page, bool row)
{
	unsigned long i;

	if (row && n > 0 && madvise(pages[0], n * page, MADV_POPULATE_READ) == 0)
		return;
	for (i = 0; i < n; i++)
		(void)*(const volatile char *)pages[i];
}

int numa_survey(const void *addr, size_t size, size_t page, uint32_t counts[BOARD_NODES])
{
	size_t total = size / page;
	size_t step = size > SURVEY_BYTES ? BUS_ALIGN_UP(size, SURVEY_BYTES) / SURVEY_BYTES : 1;
	void *pages[SURVEY_BATCH];
	int status[SURVEY_BATCH];
	size_t at = 0;

	memset(counts, 0, BOARD_NODES * sizeof(*counts));
	while (at < total) {
		unsigned long n = 0;
		unsigned long i;

		for (; n < SURVEY_BATCH && at < total; n++, at += step)
			pages[n] = (void *)((uintptr_t)addr + at * page);
		enter_pages(pages, n, page, step == 1);
		if (!available) {
			counts[0] += (uint32_t)n;
			continue;
		}
		if (move_pages(0, n, pages, NULL, status, 0) < 0)
			return -errno;
		for (i = 0; i < n; i++)
			if (status[i] >= 0)
				counts[status[i] < BOARD_NODES ? status[i] : BOARD_NODES - 1]++;
	}
	for (at = 0; step > 1 && at < BOARD_NODES; at++)
		counts[at] = (uint32_t)bus_min_u64((uint64_t)counts[at] * step, total);
	return 0;
}
