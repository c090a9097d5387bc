/* SPDX-License-Identifier: Apache-2.0 */
/*
 * numa_place.h - on which NUMA node memory lies: asking for it, and looking where it really is.
 * The only user of libnuma; works where there is none (one node, 0). Its code is numa.c; a header
 * of that name would hide <numa.h>.
 *
 * A placement is written as in bus.h: 0 auto, n + 1 node n, -1 interleaved. May be called from an
 * allocation thread after numa_start().
 */
#ifndef BUSD_NUMA_PLACE_H
#define BUSD_NUMA_PLACE_H

#include "format/board_layout.h"
#include "why.h"

/* Once, at start. */
void numa_start(void);
unsigned numa_node_count(void);
/* 0, or -EINVAL with a sentence that names the nodes there are. */
int numa_check(int32_t placement, struct why *why);
/* "auto", "interleave" or a number; 0 or -EINVAL. Says nothing about whether the node exists. */
int numa_parse(const char *text, int32_t *ret);
/* For people: "auto", "interleave", "node 1". buf of 16 bytes. */
const char *numa_text(int32_t placement, char *buf);

/*
 * Asks that pages of this mapping, none of them touched yet, come from where the placement says;
 * node: for auto, -1 unknown. Always a preference: a node that is full would otherwise mean the
 * OOM killer. 0 or -errno.
 */
int numa_place(void *addr, size_t size, int32_t placement, int node);

/*
 * Counts where the pages of a mapping are, by asking the kernel: all of them up to 64 MiB, beyond
 * that every k-th, scaled. Touches (reads) each page that it asks for. 0 or -errno.
 */
int numa_survey(const void *addr, size_t size, size_t page, uint32_t counts[BOARD_NODES]);

#endif
