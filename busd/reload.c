/* SPDX-License-Identifier: Apache-2.0 */
/* reload.c - see reload.h */
#include "reload.h"

#include "log.h"
#include "memory.h"

#include "format/ring_layout.h"

#include <limits.h>
#include <sys/resource.h>

#define SPARE_FDS  64    /* for what is not a segment */
#define TOPICS_MAX 16384 /* of one user */

void reload_apply(struct busd *busd)
{
	const struct config *config = busd->config;
	struct quota_limits *limits = &busd->quota.limits;
	struct memory_room room;
	struct rlimit files;

	memory_look(&room);
	limits->memory = config->memory_limit ? config->memory_limit : room.ceiling / 2;
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
