/* SPDX-License-Identifier: Apache-2.0 */
/* namespace.c - see namespace.h. Kept sorted by name; who is there is found by halving. */
#include "namespace.h"

#include "client.h"
#include "quota.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SWEEP_LEAST 64

/* The length of the first token. */
static size_t token_len(const char *topic)
{
	return strcspn(topic, ".");
}

bool namespace_has(const char *name, const char *topic)
{
	size_t len = token_len(topic);

	return strlen(name) == len && memcmp(name, topic, len) == 0;
}

static int compare(const char *name, const char *token, size_t len)
{
	int order = strncmp(name, token, len);

	return order ? order : name[len] != 0;
}

/* The first place whose name is not before the token. */
static size_t lower_bound(const struct busd *busd, const char *token, size_t len)
{
	size_t low = 0, high = busd->space_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare(busd->spaces[middle]->name, token, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool is_unused(const struct namespace *space)
{
	return !space->configured && !space->segments && !space->topics && !space->clients &&
	       !space->rings;
}

/*
 * Frees those that nothing is in, once there are twice as many as were left the last time: each
 * that is made pays for a constant share of it.
 */
static void sweep(struct busd *busd)
{
	size_t i, left = 0;

	if (busd->space_count < busd->space_sweep)
		return;
	for (i = 0; i < busd->space_count; i++)
		if (is_unused(busd->spaces[i]))
			free(busd->spaces[i]);
		else
			busd->spaces[left++] = busd->spaces[i];
	busd->space_count = left;
	busd->space_sweep = bus_max_u64(2 * left, SWEEP_LEAST);
}

static struct namespace *make(struct busd *busd, const char *token, size_t len)
{
	struct namespace *space;
	size_t i;

	sweep(busd);
	if (busd->space_count == busd->space_room) {
		size_t room = bus_max_u64(2 * busd->space_room, SWEEP_LEAST);
		struct namespace **larger = realloc(busd->spaces, room * sizeof(*larger));

		if (!larger)
			return NULL;
		busd->spaces = larger;
		busd->space_room = room;
	}
	space = calloc(1, sizeof(*space));
	if (!space)
		return NULL;
	space->id = busd_new_id(busd);
	memcpy(space->name, token, len);
	i = lower_bound(busd, token, len);
	memmove(&busd->spaces[i + 1], &busd->spaces[i],
		(busd->space_count - i) * sizeof(struct namespace *));
	busd->spaces[i] = space;
	busd->space_count++;
	return space;
}

int namespace_find(struct busd *busd, const char *topic, struct namespace **ret, struct why *why)
{
	size_t len = token_len(topic);
	size_t i;

	*ret = NULL;
	if (len == 1 && (topic[0] == '*' || topic[0] == '>'))
		return 0;
	i = lower_bound(busd, topic, len);
	if (i < busd->space_count && compare(busd->spaces[i]->name, topic, len) == 0)
		*ret = busd->spaces[i];
	else
		*ret = make(busd, topic, len);
	return *ret ? 0 : because(why, ENOMEM, "busd is out of memory");
}

const struct namespace *namespace_after(const struct busd *busd, const char *name)
{
	size_t i = lower_bound(busd, name, strlen(name));

	for (; i < busd->space_count; i++)
		if (strcmp(busd->spaces[i]->name, name) > 0 && !is_unused(busd->spaces[i]))
			return busd->spaces[i];
	return NULL;
}

int namespace_configure(struct busd *busd, const struct config *config)
{
	struct namespace *space;
	struct why why;
	size_t i;

	for (i = 0; i < busd->space_count; i++) {
		busd->spaces[i]->configured = false;
		busd->spaces[i]->limits = (struct namespace_limits){ 0 };
	}
	for (i = 0; i < config->namespace_count; i++) {
		if (namespace_find(busd, config->namespaces[i].name, &space, &why) < 0)
			return -ENOMEM;
		space->configured = true;
		space->limits = config->namespaces[i].limits;
	}
	return 0;
}

bool namespace_has_room(const struct namespace *space, uint64_t bytes)
{
	uint64_t limit = space->limits.memory;

	return limit == 0 || (bytes <= limit && space->memory <= limit - bytes);
}

int namespace_charge(struct namespace *space, uint64_t bytes, struct why *why)
{
	char want[32], use[32], most[32];

	if (!namespace_has_room(space, bytes))
		return because(why, EDQUOT,
			       "over the memory limit of namespace \"%s\": %s wanted, %s in use, limit %s; close what is not needed "
			       "or raise memory of the namespace",
			       space->name, quota_bytes_text(bytes, want),
			       quota_bytes_text(space->memory, use),
			       quota_bytes_text(space->limits.memory, most));
	space->memory += bytes;
	space->segments++;
	return 0;
}

void namespace_restore(struct namespace *space, uint64_t bytes)
{
	space->memory += bytes;
	space->segments++;
}

void namespace_correct(struct namespace *space, int64_t bytes)
{
	space->memory += (uint64_t)bytes;
}

void namespace_refund(struct namespace *space, uint64_t bytes)
{
	space->memory -= bytes;
	space->segments--;
}

/* One more of what there are `count` of. */
static int take(const struct namespace *space, uint32_t *count, uint32_t limit, const char *what,
		const char *key, struct why *why)
{
	if (limit && *count >= limit)
		return because(
			why, EDQUOT,
			"namespace \"%s\" has %u %s, limit %u; close what is not needed or raise %s of the namespace",
			space->name, *count, what, limit, key);
	++*count;
	return 0;
}

int namespace_take_topic(struct namespace *space, struct why *why)
{
	return take(space, &space->topics, space->limits.topics, "topics", "topics", why);
}

int namespace_take_ring(struct namespace *space, struct why *why)
{
	return take(space, &space->rings, space->limits.rings, "rings", "rings", why);
}

/* How many things a client has in a namespace stands in its map in place of a pointer. */
int namespace_enter(struct client *client, struct namespace *space, struct why *why)
{
	uintptr_t things;
	int rc = 0;

	if (!space)
		return 0;
	things = (uintptr_t)idmap_get(&client->spaces, space->id);
	if (things == 0)
		rc = take(space, &space->clients, space->limits.clients, "clients", "clients", why);
	if (rc < 0)
		return rc;
	if (idmap_put(&client->spaces, space->id, (void *)(things + 1)) < 0) {
		space->clients -= things == 0;
		return because(why, ENOMEM, "busd is out of memory");
	}
	return 0;
}

void namespace_leave(struct client *client, struct namespace *space)
{
	uintptr_t things;

	if (!space)
		return;
	things = (uintptr_t)idmap_get(&client->spaces, space->id);
	if (things > 1) {
		/* it is there: nothing is allocated */
		(void)!idmap_put(&client->spaces, space->id, (void *)(things - 1));
		return;
	}
	idmap_remove(&client->spaces, space->id);
	space->clients--;
}
