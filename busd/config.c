/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - defaults, and what follows from them for a topic; the file is read by config_yaml.c. See config.h */
#include "config.h"

#include "log.h"
#include "numa_place.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct config *config_new(void)
{
	struct config *config = calloc(1, sizeof(*config));

	if (!config)
		return NULL;
	config->socket_mode = 0600;
	config->socket_group = (gid_t)-1;
	config->log_level = LOG_LEVEL_INFO;
	config->max_ring_bytes = UINT64_C(64) << 20;
	config->keep_rings = 8;
	config->keep_time_ns = UINT64_C(60000000000);
	config->idle_exit_ns = UINT64_C(30000000000);
	config->evict_floor_ns = UINT64_C(10000000);
	return config;
}

void config_free(struct config *config)
{
	size_t i;

	if (!config)
		return;
	for (i = 0; i < config->acl.rule_count; i++)
		free(config->acl.rules[i].grants);
	free(config->acl.rules);
	free(config->topics);
	free(config->socket);
	free(config->data_dir);
	free(config->log);
	free(config);
}

/* What is not said yet is taken from here. */
static void fill_up(struct ctl_topic_settings *settings, const struct config_topic *from)
{
	const uint32_t pages = CTL_TOPIC_HUGE | CTL_TOPIC_HUGE_OR_NOT;

	if (!settings->slots)
		settings->slots = from->settings.slots;
	if (!settings->bytes)
		settings->bytes = from->settings.bytes;
	if (!settings->max_bytes)
		settings->max_bytes = from->settings.max_bytes;
	if (!settings->numa)
		settings->numa = from->settings.numa;
	if (!(settings->flags & pages))
		settings->flags |= from->settings.flags & pages;
}

static int check(const struct ctl_topic_settings *settings, struct why *why)
{
	const uint32_t known = CTL_TOPIC_HUGE | CTL_TOPIC_HUGE_OR_NOT | CTL_TOPIC_EXCLUSIVE;

	if (settings->flags & ~known)
		return fail(why, EINVAL, "unknown topic flags %#x", settings->flags & ~known);
	if (settings->slots < RING_MIN_SLOTS || settings->slots > RING_MAX_SLOTS)
		return fail(why, EINVAL, "%u slots: a ring has %u to %u", settings->slots,
			    RING_MIN_SLOTS, RING_MAX_SLOTS);
	if (settings->bytes > RING_MAX_BYTES || settings->max_bytes > RING_MAX_BYTES)
		return fail(why, EINVAL, "%llu bytes: a ring has at most %llu",
			    (unsigned long long)bus_max_u64(settings->bytes, settings->max_bytes),
			    (unsigned long long)RING_MAX_BYTES);
	if (settings->max_bytes < settings->bytes)
		return fail(why, EINVAL, "max_bytes %llu is less than bytes %llu",
			    (unsigned long long)settings->max_bytes,
			    (unsigned long long)settings->bytes);
	return numa_check(settings->numa, why);
}

int config_settle(const struct config *config, const char *topic,
		  const struct ctl_topic_settings *asked, struct ctl_topic_settings *ret,
		  struct why *why)
{
	struct ctl_topic_settings settled = *asked;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	size_t i;

	for (i = 0; i < config->topic_count; i++) {
		if (!topic_matches(config->topics[i].pattern, topic))
			continue;
		fill_up(&settled, &config->topics[i]);
		break;
	}
	fill_up(&settled, &config->defaults);
	if (!settled.slots)
		settled.slots = RING_DEFAULT_SLOTS;
	if (!settled.bytes)
		settled.bytes = RING_DEFAULT_BYTES;
	if (settled.slots <= RING_MAX_SLOTS)
		settled.slots = (uint32_t)bus_ceil_pow2(settled.slots);
	if (settled.bytes <= RING_MAX_BYTES)
		settled.bytes = bus_ceil_pow2(bus_max_u64(settled.bytes, page));
	if (!settled.max_bytes)
		settled.max_bytes = bus_max_u64(settled.bytes, config->max_ring_bytes);
	if (settled.max_bytes <= RING_MAX_BYTES)
		settled.max_bytes = bus_ceil_pow2(settled.max_bytes);
	settled.pad = 0;
	if (check(&settled, why) < 0)
		return -EINVAL;
	settled.flags &= ~CTL_TOPIC_EXCLUSIVE;
	*ret = settled;
	return 0;
}
