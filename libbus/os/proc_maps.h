/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proc_maps.h - the shared memory of a busd that has gone, found where the kernel shows it: in the
 * mappings of living processes. Called by api/stat_mapped.c; needs root.
 *
 * A name proves nothing: anybody may give his memfd one of ours, or map a file of a filesystem of
 * his own under such a path. So only what lies on the kernel's own filesystem of memfds counts (by
 * device number, before anything of it is opened), and what it is, is for the caller to find out:
 * what a found segment holds is hostile until then.
 */
#ifndef BUS_PROC_MAPS_H
#define BUS_PROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* A segment in a process: one of each, however often it is mapped there. */
struct proc_segment {
	uint64_t inode;
	uint64_t from, to; /* the range of one of its mappings */
	uint32_t pid;
	bool writable; /* by one of its mappings */
	bool board;    /* by its name */
	bool huge;     /* on the filesystem of huge pages */
	dev_t device;
};

struct proc_segments {
	struct proc_segment *at; /* by inode, then by pid */
	size_t count, room;
	uint32_t processes; /* that have one */
};

/* May this process open what others have mapped? 0, or -errno: -EPERM. */
int proc_may_open(void);

/* All that have our name, of all processes that can be looked at. 0; -errno: /proc; -ENOMEM. */
int proc_find_segments(struct proc_segments *ret);
void proc_segments_free(struct proc_segments *segments);

/* The first with that inode, NULL: none. Those of the same inode follow it. */
const struct proc_segment *proc_segment_of(const struct proc_segments *segments, uint64_t inode);

/* Opens it read-only. A descriptor, or -errno: its process has gone, or has another one there. */
int proc_open_segment(const struct proc_segment *segment);

#endif
