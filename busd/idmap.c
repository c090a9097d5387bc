/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idmap.c - see idmap.h. Linear probing; a removal closes the gap, so there are no tombstones to
 * collect.
 */
#include "idmap.h"

#include <errno.h>
#include <stdlib.h>

static size_t home(uint64_t id, size_t room)
{
	return (size_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32) & (room - 1);
}

static struct idmap_slot *find(const struct idmap *map, uint64_t id)
{
	size_t i;

	if (map->room == 0 || id == 0)
		return NULL;
	for (i = home(id, map->room); map->slots[i].id; i = (i + 1) & (map->room - 1))
		if (map->slots[i].id == id)
			return &map->slots[i];
	return NULL;
}

void *idmap_get(const struct idmap *map, uint64_t id)
{
	const struct idmap_slot *slot = find(map, id);

	return slot ? slot->value : NULL;
}

static void put_new(struct idmap *map, uint64_t id, void *value)
{
	size_t i = home(id, map->room);

	while (map->slots[i].id)
		i = (i + 1) & (map->room - 1);
	map->slots[i].id = id;
	map->slots[i].value = value;
	map->count++;
}

int idmap_put(struct idmap *map, uint64_t id, void *value)
{
	struct idmap_slot *slot = find(map, id);

	if (slot) {
		slot->value = value;
		return 0;
	}
	if ((map->count + 1) * 2 > map->room) {
		struct idmap larger = { .room = map->room ? map->room * 2 : 16 };
		size_t i;

		larger.slots = calloc(larger.room, sizeof(*larger.slots));
		if (!larger.slots)
			return -ENOMEM;
		for (i = 0; i < map->room; i++)
			if (map->slots[i].id)
				put_new(&larger, map->slots[i].id, map->slots[i].value);
		free(map->slots);
		*map = larger;
	}
	put_new(map, id, value);
	return 0;
}

void idmap_remove(struct idmap *map, uint64_t id)
{
	struct idmap_slot *slot = find(map, id);
	size_t gap, i;

	if (!slot)
		return;
	map->count--;
	gap = (size_t)(slot - map->slots);
	for (i = (gap + 1) & (map->room - 1); map->slots[i].id; i = (i + 1) & (map->room - 1)) {
		size_t want = home(map->slots[i].id, map->room);

		/* may it move back into the gap: is its home not between the gap and itself? */
		if (((i - want) & (map->room - 1)) >= ((i - gap) & (map->room - 1))) {
			map->slots[gap] = map->slots[i];
			gap = i;
		}
	}
	map->slots[gap].id = 0;
}

void *idmap_next(const struct idmap *map, size_t *at)
{
	while (*at < map->room) {
		const struct idmap_slot *slot = &map->slots[(*at)++];

		if (slot->id)
			return slot->value;
	}
	return NULL;
}

void idmap_free(struct idmap *map)
{
	free(map->slots);
	*map = (struct idmap){ 0 };
}
