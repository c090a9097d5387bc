/* SPDX-License-Identifier: Apache-2.0 */
/* memory.c - see memory.h. May run in an allocation thread. */
#include "memory.h"

#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEPT_BYTES (UINT64_C(4) << 20) /* for busd itself, and what the estimate misses */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t under_way; /* under the lock */

/* The same four numbers under the names of both versions of control groups. */
struct group_files {
	const char *mount;
	const char *limit, *usage;
	const char *reclaimable[2]; /* keys in memory.stat: file pages, which give way */
};

static const struct group_files version_1 = { "/sys/fs/cgroup/memory",
					      "memory.limit_in_bytes",
					      "memory.usage_in_bytes",
					      { "total_inactive_file", "total_active_file" } };
static const struct group_files version_2 = {
	"/sys/fs/cgroup", "memory.max", "memory.current", { "inactive_file", "active_file" }
};

static FILE *open_file(const struct group_files *files, const char *group, const char *name)
{
	char path[2 * PATH_MAX];

	snprintf(path, sizeof(path), "%s%s/%s", files->mount, group, name);
	return fopen(path, "re");
}

/* The number in a file, or UINT64_MAX ("max", or nothing there). */
static uint64_t read_number(const struct group_files *files, const char *group, const char *name)
{
	FILE *file = open_file(files, group, name);
	unsigned long long value;
	uint64_t number = UINT64_MAX;

	if (!file)
		return number;
	if (fscanf(file, "%llu", &value) == 1)
		number = value;
	fclose(file);
	return number;
}

/* The sum of two values of lines `key value`, of a file with any unit behind them. */
static uint64_t read_two(FILE *file, const char *first, const char *second)
{
	unsigned long long value;
	uint64_t sum = 0;
	char key[64];
	char line[256];

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %llu", key, &value) == 2 &&
		    (strcmp(key, first) == 0 || strcmp(key, second) == 0))
			sum += value;
	fclose(file);
	return sum;
}

static void look_at_group(const struct group_files *files, const char *group, struct memory_room *room)
{
	uint64_t limit = read_number(files, group, files->limit);
	uint64_t used, left;

	if (limit >= (uint64_t)INT64_MAX / 2) /* none; version 1 says so by a number */
		return;
	used = read_number(files, group, files->usage);
	left = limit + read_two(open_file(files, group, "memory.stat"), files->reclaimable[0],
				files->reclaimable[1]);
	left = used == UINT64_MAX ? left : left - bus_min_u64(left, used);
	left = bus_min_u64(left, limit);
	room->ceiling = bus_min_u64(room->ceiling, limit);
	if (left < room->free) {
		room->free = left;
		room->by_group = true;
	}
}

/* A group and those above it. */
static void look_at_groups(const struct group_files *files, char *group, struct memory_room *room)
{
	char *slash;

	do {
		look_at_group(files, group, room);
		slash = strrchr(group, '/');
		if (slash)
			*slash = 0;
	} while (slash);
	/* in a container its own group is the root that it sees */
	look_at_group(files, "", room);
}

/* Is one of the controllers in "cpu,memory" the memory's? */
static bool has_memory(char *controllers)
{
	char *rest = controllers;
	char *one;

	while ((one = strsep(&rest, ",")))
		if (strcmp(one, "memory") == 0)
			return true;
	return false;
}

/* Lines are ID:CONTROLLERS:GROUP; version 2 has the ID 0 and no controllers. */
static void look_at_own_groups(struct memory_room *room)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX];

	if (!file)
		return;
	while (fgets(line, sizeof(line), file)) {
		char *rest = line;
		const char *id = strsep(&rest, ":");
		char *controllers = strsep(&rest, ":");

		if (!rest)
			continue;
		rest[strcspn(rest, "\n")] = 0;
		if (strcmp(id, "0") == 0 && !*controllers)
			look_at_groups(&version_2, rest, room);
		else if (has_memory(controllers))
			look_at_groups(&version_1, rest, room);
	}
	fclose(file);
}

void memory_look(struct memory_room *ret)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);
	uint64_t machine = pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page
						 : UINT64_C(1) << 30;
	uint64_t kib = read_two(fopen("/proc/meminfo", "re"), "MemAvailable:", "SwapFree:");

	*ret = (struct memory_room){ .ceiling = machine, .free = kib ? kib * 1024 : UINT64_MAX };
	look_at_own_groups(ret);
}

bool memory_begin(uint64_t size, struct memory_room *ret)
{
	bool there;

	pthread_mutex_lock(&lock);
	memory_look(ret);
	ret->free -= bus_min_u64(ret->free, under_way);
	there = ret->free >= KEPT_BYTES + size + size / 64;
	if (there)
		under_way += size;
	pthread_mutex_unlock(&lock);
	return there;
}

void memory_end(uint64_t size)
{
	pthread_mutex_lock(&lock);
	under_way -= size;
	pthread_mutex_unlock(&lock);
}
