/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.c - defaults, and what follows from them for a topic; the file is read by config_yaml.c.
 * See config.h
 */
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
	config->sandbox = true;
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
	free(config->namespaces);
	free(config->user);
	free(config->socket);
	free(config->data_dir);
	free(config->log);
	free(config);
}

/*
 * What is not said yet is taken from here; what is said here is final, even where it is what zero
 * means as well.
 */
static void fill_up(struct config_topic *so_far, const struct config_topic *from)
{
	struct ctl_topic_settings *settings = &so_far->settings;

	if (!settings->slots)
		settings->slots = from->settings.slots;
	if (!settings->bytes)
		settings->bytes = from->settings.bytes;
	if (!settings->max_bytes)
		settings->max_bytes = from->settings.max_bytes;
	if (!so_far->numa_said)
		settings->numa = from->settings.numa;
	if (!so_far->huge_said)
		settings->flags |= from->settings.flags;
	so_far->numa_said = so_far->numa_said || from->numa_said;
	so_far->huge_said = so_far->huge_said || from->huge_said;
}

static int check(const struct ctl_topic_settings *settings, struct why *why)
{
	const uint32_t known = CTL_TOPIC_HUGE | CTL_TOPIC_HUGE_OR_NOT | CTL_TOPIC_EXCLUSIVE |
			       CTL_TOPIC_STREAM;

	if (settings->flags & ~known)
		return because(why, EINVAL, "unknown topic flags %#x", settings->flags & ~known);
	if (settings->slots < RING_MIN_SLOTS || settings->slots > RING_MAX_SLOTS)
		return because(why, EINVAL, "%u slots: a ring has %u to %u", settings->slots,
			       RING_MIN_SLOTS, RING_MAX_SLOTS);
	if (settings->bytes > RING_MAX_BYTES || settings->max_bytes > RING_MAX_BYTES)
		return because(why, EINVAL, "%llu bytes: a ring has at most %llu",
			       (unsigned long long)bus_max_u64(settings->bytes, settings->max_bytes),
			       (unsigned long long)RING_MAX_BYTES);
	if (settings->max_bytes < settings->bytes)
		return because(why, EINVAL, "max_bytes %llu is less than bytes %llu",
			       (unsigned long long)settings->max_bytes,
			       (unsigned long long)settings->bytes);
	return numa_check(settings->numa, why);
}

/* Powers of two; what is out of range stays so, and is refused. */
static void round_up(struct ctl_topic_settings *settings, const struct config *config)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	if (settings->slots >= RING_MIN_SLOTS && settings->slots <= RING_MAX_SLOTS)
		settings->slots = (uint32_t)bus_ceil_pow2(settings->slots);
	if (settings->bytes <= RING_MAX_BYTES)
		settings->bytes = bus_ceil_pow2(bus_max_u64(settings->bytes, page));
	if (!settings->max_bytes)
		settings->max_bytes = bus_max_u64(settings->bytes, config->max_ring_bytes);
	if (settings->max_bytes <= RING_MAX_BYTES)
		settings->max_bytes = bus_ceil_pow2(settings->max_bytes);
}

int config_settle(const struct config *config, const char *topic,
		  const struct ctl_topic_settings *asked, struct ctl_topic_settings *ret,
		  struct why *why)
{
	struct config_topic settled = { .settings = *asked,
					.numa_said = asked->numa != 0,
					.huge_said = (asked->flags & (CTL_TOPIC_HUGE |
								      CTL_TOPIC_HUGE_OR_NOT)) != 0 };
	struct config_topic last = { .settings = { .slots = RING_DEFAULT_SLOTS,
						   .bytes = RING_DEFAULT_BYTES } };
	size_t i;

	for (i = 0; i < config->topic_count; i++) {
		if (!topic_matches(config->topics[i].pattern, topic))
			continue;
		fill_up(&settled, &config->topics[i]);
		break;
	}
	fill_up(&settled, &config->defaults);
	fill_up(&settled, &last);
	round_up(&settled.settings, config);
	if (check(&settled.settings, why) < 0)
		return -EINVAL;
	settled.settings.flags &= ~CTL_TOPIC_EXCLUSIVE;
	settled.settings.pad = 0;
	*ret = settled.settings;
	return 0;
}
