/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shm_map.h - mapping segments, and memory that a forked child does not inherit. What touches mmap
 * on the client's side.
 *
 * All functions return 0 or a negative errno. Mappings are MADV_DONTFORK: a child of this process
 * never sees them.
 */
#ifndef BUS_SHM_MAP_H
#define BUS_SHM_MAP_H

#include "format/ring_layout.h"

struct shm_map {
	void *base;
	size_t size; /* of the address range, for unmapping */
};

/*
 * Maps a segment of `size` bytes from its start. The descriptor is not needed afterwards and stays
 * the caller's.
 */
int shm_map_segment(struct shm_map *ret, int fd, size_t size, bool writable);

/*
 * Maps a ring: writer page, slots, and the payload area twice in a row. The geometry must have been
 * checked.
 */
int shm_map_ring(struct shm_map *ret, int fd, const struct ring_geometry *geo, bool writable);
/* The same; its pages come as they are touched: by who does not wait for that. */
int shm_map_ring_lazily(struct shm_map *ret, int fd, const struct ring_geometry *geo, bool writable);

void shm_unmap(struct shm_map *map);

/*
 * Zeroed memory for an object of the library, on pages of its own that read as zeros in a forked
 * child (MADV_WIPEONFORK): an object that opens with a magic number is thereby known to be somebody
 * else's.
 */
void *shm_private_alloc(size_t size);
void shm_private_free(void *ptr, size_t size);

size_t shm_page_bytes(void);

#endif
