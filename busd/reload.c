/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - see reload.h */
#include "reload.h"

#include "log.h"

#include "format/ring_layout.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SPARE_FDS  64    /* for what is not a segment */
#define TOPICS_MAX 16384 /* of one user */

/* The number in a file, or UINT64_MAX ("max", or nothing there). */
static uint64_t read_limit(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long value;
	uint64_t limit = UINT64_MAX;

	if (!file)
		return limit;
	if (fscanf(file, "%llu", &value) == 1)
		limit = value;
	fclose(file);
	return limit;
}

/* The least memory limit of our control group and those above it. */
static uint64_t group_memory(void)
{
	FILE *file = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX], path[PATH_MAX + 64];
	uint64_t least = UINT64_MAX;

	if (!file)
		return least;
	while (fgets(line, sizeof(line), file)) {
		char *group = line + 3;
		char *slash;

		if (strncmp(line, "0::", 3) != 0)
			continue;
		group[strcspn(group, "\n")] = 0;
		do {
			snprintf(path, sizeof(path), "/sys/fs/cgroup%s/memory.max", group);
			least = bus_min_u64(least, read_limit(path));
			slash = strrchr(group, '/');
			if (slash)
				*slash = 0;
		} while (slash);
	}
	fclose(file);
	/* in a container its own group is the root that it sees */
	return bus_min_u64(least, read_limit("/sys/fs/cgroup/memory.max"));
}

static uint64_t machine_memory(void)
{
	long pages = sysconf(_SC_PHYS_PAGES);
	long page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : UINT64_C(1) << 30;
}

void reload_apply(struct busd *busd)
{
	const struct config *config = busd->config;
	struct quota_limits *limits = &busd->quota.limits;
	struct rlimit files;

	limits->memory = config->memory_limit ? config->memory_limit
					      : bus_min_u64(machine_memory(), group_memory()) / 2;
	limits->user_memory = config->user_memory_limit ? config->user_memory_limit
							: limits->memory / 2;
	limits->user_clients = BELL_WORDS;
	limits->user_topics = TOPICS_MAX;
	limits->segments = 1024;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur > 2 * SPARE_FDS)
		limits->segments =
			(uint32_t)bus_min_u64((files.rlim_cur - SPARE_FDS) * 2 / 3, INT_MAX);
	limits->user_segments = limits->segments / 2;
	log_set_level((enum log_level)config->log_level);
}

void reload_config(struct busd *busd)
{
	struct config *fresh;
	struct why why;

	if (!busd->config_path) {
		log_info("there is no configuration file to be read again");
		return;
	}
	fresh = config_new();
	if (!fresh || config_read(fresh, busd->config_path, &why) < 0) {
		log_error("%s; the present configuration goes on",
			  fresh ? why.text : "busd is out of memory");
		config_free(fresh);
		return;
	}
	config_free(busd->config);
	busd->config = fresh;
	reload_apply(busd);
	log_info("configuration read again from %s", busd->config_path);
}
