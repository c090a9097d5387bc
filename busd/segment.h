/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.h - shared memory: create, place, allocate, seal, hand over. Who owns what is the
 * registry's business.
 *
 * A segment that a client writes (ring, cursors, bells) goes through these steps, in this order,
 * for the order is the security (models of it were checked against an attacker that acts between
 * any two):
 *
 *   segment_build    memfd, 0600, placed, allocated in full, sealed SHRINK | GROW; only then may
 *                    rw_fd leave
 *   (the client maps it, closes it, says READY)
 *   segment_seal     FUTURE_WRITE | SEAL, exactly these seals are there, the size is ours
 *   segment_refill   allocated again: a hole punched before the seal would be SIGBUS for a reader
 *   segment_publish  rw_fd is closed, ro_fd opened: what everybody else gets
 *
 * A segment that busd writes (board, busd's bells, a stream's ring and the cursors with which busd reads
 * its publishers) is sealed SHRINK | GROW | SEAL by segment_build_own() or segment_own_ring() and never
 * leaves but as ro_fd.
 */
#ifndef BUSD_SEGMENT_H
#define BUSD_SEGMENT_H

#include "format/control_proto.h"
#include "quota.h"

struct segment {
	struct ctl_ev_segment info; /* what receivers are told: id, kind, size, geometry, ... */
	uint32_t refs;
	int rw_fd;           /* -1 once published */
	int ro_fd;           /* -1 until published */
	size_t page;         /* size of its pages */
	unsigned made_seals; /* those that it was made with (F_SEAL_EXEC where the kernel has it) */
	bool held;           /* the keeper has it too */
	bool own;            /* a ring, or cursors, that busd writes */
	bool huge_refused;   /* ordinary pages, though huge ones were wanted */
	int place_error; /* the placement was refused (-errno): it lies where the kernel put it */
	void *map;       /* busd's own mapping, map_size bytes from its start */
	size_t map_size;
	struct quota_bill bill; /* who pays */
	uint32_t node_pages[BOARD_NODES];
};

enum segment_pages { SEGMENT_ORDINARY, SEGMENT_HUGE, SEGMENT_HUGE_OR_NOT };

struct segment_plan {
	enum ctl_segment_kind kind;
	size_t size;         /* RING: ignored, follows from the geometry */
	uint32_t ring_slots; /* RING: powers of two */
	uint64_t ring_bytes;
	uint64_t ring_first_seq;
	uint32_t ring_features; /* of RING_FEATURES_KNOWN */
	int32_t numa;           /* placement as in numa_place.h */
	int node;               /* for auto; -1 unknown */
	enum segment_pages pages;
};

#define SEGMENT_HUGE_BYTES ((size_t)2 << 20)

/* Bytes that the plan will take (with huge pages where it may). */
uint64_t segment_plan_bytes(const struct segment_plan *plan);

struct segment *segment_new(uint64_t id); /* one reference, no memory yet; NULL */
/* The keeper's pid, for the names of memfds: busd.PID.KIND.ID, as /proc/PID/maps shows them. */
void segment_name_after(uint32_t busd_pid);
/* Which file it is, for who finds it in /proc/PID/maps; 0: cannot be told. */
uint64_t segment_inode(const struct segment *seg);
int segment_build(struct segment *seg, const struct segment_plan *plan, struct why *why);
int segment_seal(struct segment *seg, struct why *why);
int segment_refill(struct segment *seg, struct why *why);
int segment_publish(struct segment *seg, struct why *why);

/*
 * size bytes, mapped read-write by busd, of which only those that segment_extend() named are
 * allocated.
 */
int segment_build_own(struct segment *seg, enum ctl_segment_kind kind, size_t size, struct why *why);
int segment_extend(struct segment *seg, size_t from, size_t len, struct why *why);
/*
 * Of segment_build(), for a ring that busd writes itself: sealed, mapped read-write with the payload
 * twice, and published; to be held before.
 */
int segment_own_ring(struct segment *seg, struct why *why);

/* It has its number, and somebody is about to depend on it. */
void segment_hold(struct segment *seg);
/* Inherited: the keeper's copy of rw_fd, with all that was known of it. Checks it; maps what busd
 * writes, and published rings and cursors. */
int segment_restore(struct segment *seg, bool published, struct why *why);

/* busd's own look at the first bytes of a published segment. */
int segment_map_readonly(struct segment *seg, size_t size, struct why *why);

static inline struct segment *segment_ref(struct segment *seg)
{
	seg->refs++;
	return seg;
}
/* Closes, unmaps and frees at the last reference; refunds who paid for it. NULL is allowed. */
void segment_unref(struct segment *seg);

#endif
