/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idmap.h - from a number (never 0) to a pointer: open addressing, grows by doubling. What ids,
 * uids and pids that a client sends are looked up in; a client never gets to see, or to choose,
 * where they lie.
 */
#ifndef BUSD_IDMAP_H
#define BUSD_IDMAP_H

#include <stddef.h>
#include <stdint.h>

struct idmap {
	struct idmap_slot *slots;
	size_t room, count;
};
struct idmap_slot {
	uint64_t id;
	void *value;
};

void *idmap_get(const struct idmap *map, uint64_t id);
int idmap_put(struct idmap *map, uint64_t id, void *value); /* 0, -ENOMEM; replaces */
void idmap_remove(struct idmap *map, uint64_t id);
/*
 * Walks in no order: start with *at = 0; NULL: no more. Nothing may be put meanwhile, nor
 * removed.
 */
void *idmap_next(const struct idmap *map, size_t *at);
void idmap_free(struct idmap *map);

#endif
