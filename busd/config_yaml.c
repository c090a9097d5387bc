/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_yaml.c - reads the configuration file (config.h). libyaml makes the tree; each key is
 * looked up in a table that says what its value must be, so that an error can name the line, what
 * is wrong with it and what would be right.
 */
#include "config_read.h"

#include "config_value.h"
#include "log.h"
#include "numa_place.h"

#include "format/topic_name.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

/* ---- settings of topics: in `defaults:` and in each of `topics:`; into a struct config_topic */

static int key_slots(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	uint64_t slots = 0;
	int rc = reading_count(reading, value, RING_MIN_SLOTS, RING_MAX_SLOTS, &slots);

	topic->settings.slots = (uint32_t)slots;
	return rc;
}

static int key_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			    &((struct config_topic *)into)->settings.bytes);
}

static int key_max_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			    &((struct config_topic *)into)->settings.max_bytes);
}

static int key_numa(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	const char *text = reading_word(value);
	struct why why;

	topic->numa_said = true;
	if (!text || numa_parse(text, &topic->settings.numa) < 0)
		return reading_wrong(
			reading, value,
			"\"%.64s\" is no placement; write auto, interleave or the number of a NUMA node",
			text ? text : "");
	if (numa_check(topic->settings.numa, &why) < 0)
		return reading_wrong(reading, value, "%s", why.text);
	return 0;
}

static int key_huge(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	const char *text = reading_word(value);
	bool huge = false;

	topic->huge_said = true;
	if (text && strcmp(text, "try") == 0) {
		topic->settings.flags = CTL_TOPIC_HUGE_OR_NOT;
		return 0;
	}
	if (!text || config_parse_bool(text, &huge) < 0)
		return reading_wrong(reading, value, "\"%.64s\": huge is true, false or try",
				     text ? text : "");
	topic->settings.flags = huge ? CTL_TOPIC_HUGE : 0;
	return 0;
}

static int key_pattern(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_pattern(reading, value, ((struct config_topic *)into)->pattern);
}

static int check_sizes(const struct reading *reading, const yaml_node_t *at,
		       const struct config_topic *topic)
{
	if (topic->settings.bytes && topic->settings.max_bytes &&
	    topic->settings.max_bytes < topic->settings.bytes)
		return reading_wrong(reading, at, "max_bytes is less than bytes");
	return 0;
}

static int key_defaults(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = { { "slots", key_slots },
					   { "bytes", key_bytes },
					   { "max_bytes", key_max_bytes },
					   { "numa", key_numa },
					   { "huge", key_huge } };
	struct config *config = into;
	int rc = reading_mapping(reading, value, keys, BUS_ARRAY_LEN(keys), &config->defaults);

	return rc < 0 ? rc : check_sizes(reading, value, &config->defaults);
}

static int key_topics(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = {
		{ "pattern", key_pattern },     { "slots", key_slots }, { "bytes", key_bytes },
		{ "max_bytes", key_max_bytes }, { "numa", key_numa },   { "huge", key_huge }
	};
	struct config *config = into;
	yaml_node_item_t *item;
	size_t count;

	if (value->type != YAML_SEQUENCE_NODE)
		return reading_wrong(reading, value,
				     "topics is a list: each item begins with `- pattern:`");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	config->topics = calloc(count + 1, sizeof(*config->topics));
	if (!config->topics)
		return because(reading->why, ENOMEM, "out of memory");
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct config_topic *topic = &config->topics[config->topic_count];
		int rc = reading_mapping(reading, entry, keys, BUS_ARRAY_LEN(keys), topic);

		if (rc == 0 && !topic->pattern[0])
			rc = reading_wrong(reading, entry, "a topic needs a pattern");
		if (rc == 0)
			rc = check_sizes(reading, entry, topic);
		if (rc < 0)
			return rc;
		config->topic_count++;
	}
	return 0;
}

/* ---- the file; into a struct config */

static int key_socket(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_text(reading, value, &((struct config *)into)->socket, "the path of a socket");
}

static int key_socket_mode(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = reading_word(value);

	if (!text || config_parse_octal(text, &((struct config *)into)->socket_mode) < 0)
		return reading_wrong(reading, value, "\"%.64s\" is no mode; write for instance 0660",
				     text ? text : "");
	return 0;
}

static int key_socket_group(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = reading_word(value);
	const struct group *group = text ? getgrnam(text) : NULL;

	if (!group)
		return reading_wrong(reading, value, "there is no group \"%.64s\" on this machine",
				     text ? text : "");
	((struct config *)into)->socket_group = group->gr_gid;
	return 0;
}

static int key_data_dir(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_text(reading, value, &((struct config *)into)->data_dir,
			    "the path of a directory");
}

static int key_log(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config *config = into;
	int rc = reading_text(reading, value, &config->log, "stderr, syslog or the path of a file");

	if (rc == 0 && strcmp(config->log, "stderr") != 0 && strcmp(config->log, "syslog") != 0 &&
	    config->log[0] != '/')
		return reading_wrong(reading, value, "log is stderr, syslog or an absolute path");
	return rc;
}

static int key_log_level(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = reading_word(value);
	int level = text ? log_level_parse(text) : -1;

	if (level < 0)
		return reading_wrong(reading, value,
				     "\"%.64s\" is no level; write error, warning, info or debug",
				     text ? text : "");
	((struct config *)into)->log_level = level;
	return 0;
}

static int key_memory_limit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, UINT64_C(1) << 20, UINT64_MAX,
			    &((struct config *)into)->memory_limit);
}

static int key_user_memory_limit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, UINT64_C(1) << 20, UINT64_MAX,
			    &((struct config *)into)->user_memory_limit);
}

static int key_max_ring_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			    &((struct config *)into)->max_ring_bytes);
}

static int key_keep_rings(struct reading *reading, const yaml_node_t *value, void *into)
{
	uint64_t count = 0;
	int rc = reading_count(reading, value, 0, BOARD_RINGS / 2, &count);

	((struct config *)into)->keep_rings = (uint32_t)count;
	return rc;
}

static int key_keep_time(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_duration(reading, value, &((struct config *)into)->keep_time_ns);
}

static int key_idle_exit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_duration(reading, value, &((struct config *)into)->idle_exit_ns);
}

static int key_evict_floor(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_duration(reading, value, &((struct config *)into)->evict_floor_ns);
}

static int read_user_limit(struct reading *reading, const yaml_node_t *value, uint64_t most,
			   uint32_t *into)
{
	uint64_t count = 0;
	int rc = reading_count(reading, value, 1, most, &count);

	*into = (uint32_t)count;
	return rc;
}

static int key_user_connections(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_user_limit(reading, value, BELL_WORDS,
			       &((struct config *)into)->user_connections);
}

static int key_user_handshakes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_user_limit(reading, value, BELL_WORDS, &((struct config *)into)->user_handshakes);
}

static int key_user_descriptors(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_user_limit(reading, value, INT32_MAX, &((struct config *)into)->user_descriptors);
}

static int key_user_topics(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_user_limit(reading, value, INT32_MAX, &((struct config *)into)->user_topics);
}

static int key_user(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config *config = into;
	const char *name = reading_word(value);
	const struct passwd *user = name ? getpwnam(name) : NULL;
	uint64_t number;

	if (!user && name && config_parse_count(name, &number) == 0 && number < UINT32_MAX)
		user = getpwuid((uid_t)number);
	if (!user)
		return reading_wrong(reading, value, "there is no user \"%.64s\" on this machine",
				     name ? name : "");
	config->user_uid = user->pw_uid;
	config->user_gid = user->pw_gid;
	return reading_text(reading, value, &config->user, "the name of a user");
}

static int key_sandbox(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = reading_word(value);

	if (!text || config_parse_bool(text, &((struct config *)into)->sandbox) < 0)
		return reading_wrong(reading, value, "\"%.64s\": sandbox is true or false",
				     text ? text : "");
	return 0;
}

static int read_document(struct reading *reading)
{
	static const struct key keys[] = {
		{ "socket", key_socket },
		{ "socket_mode", key_socket_mode },
		{ "socket_group", key_socket_group },
		{ "data_dir", key_data_dir },
		{ "log", key_log },
		{ "log_level", key_log_level },
		{ "memory_limit", key_memory_limit },
		{ "user_memory_limit", key_user_memory_limit },
		{ "max_ring_bytes", key_max_ring_bytes },
		{ "keep_rings", key_keep_rings },
		{ "keep_time", key_keep_time },
		{ "idle_exit", key_idle_exit },
		{ "evict_floor", key_evict_floor },
		{ "user_connections", key_user_connections },
		{ "user_handshakes", key_user_handshakes },
		{ "user_descriptors", key_user_descriptors },
		{ "user_topics", key_user_topics },
		{ "user", key_user },
		{ "sandbox", key_sandbox },
		{ "namespaces", config_read_namespaces },
		{ "defaults", key_defaults },
		{ "topics", key_topics },
		{ "rules", config_read_rules },
	};
	const yaml_node_t *root = yaml_document_get_root_node(reading->document);

	if (!root || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0))
		return 0; /* an empty file: all defaults */
	return reading_mapping(reading, root, keys, BUS_ARRAY_LEN(keys), reading->config);
}

int config_read(struct config *config, const char *path, struct why *why)
{
	struct reading reading = { .config = config, .path = path, .why = why };
	yaml_document_t document;
	yaml_parser_t parser;
	FILE *file = fopen(path, "re");
	int rc;

	if (!file)
		return because(why, errno, "cannot read %s: %s", path, strerror(errno));
	if (!yaml_parser_initialize(&parser)) {
		fclose(file);
		return because(why, ENOMEM, "out of memory");
	}
	yaml_parser_set_input_file(&parser, file);
	if (yaml_parser_load(&parser, &document)) {
		reading.document = &document;
		rc = read_document(&reading);
		if (rc == 0)
			rc = config_read_owners(config, why);
		yaml_document_delete(&document);
	} else {
		rc = because(why, EINVAL, "%s:%zu: %s", path, parser.problem_mark.line + 1,
			     parser.problem ? parser.problem : "this is no YAML");
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return rc;
}
