/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_yaml.c - reads the configuration file (config.h). libyaml makes the tree; each key is
 * looked up in a table that says what its value must be, so that an error can name the line, what
 * is wrong with it and what would be right.
 */
#include "config.h"

#include "config_value.h"
#include "log.h"
#include "numa_place.h"

#include "format/topic_name.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reading {
	struct config *config;
	const char *path;
	yaml_document_t *document;
	struct why *why;
};

/* A key of a mapping: what to do with its value. into: what this mapping describes. */
struct key {
	const char *name;
	int (*read)(struct reading *reading, const yaml_node_t *value, void *into);
};

static int wrong(const struct reading *reading, const yaml_node_t *at, const char *format, ...)
	BUS_PRINTF(3, 4);
static int wrong(const struct reading *reading, const yaml_node_t *at, const char *format, ...)
{
	char text[CTL_WHY_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	return because(reading->why, EINVAL, "%s:%zu: %.400s", reading->path,
		       at->start_mark.line + 1, text);
}

/* The text of a scalar; NULL where it is something else, or has a NUL inside. */
static const char *text_of(const yaml_node_t *value)
{
	const char *text = (const char *)value->data.scalar.value;

	if (value->type != YAML_SCALAR_NODE || strlen(text) != value->data.scalar.length)
		return NULL;
	return text;
}

static int read_mapping(struct reading *reading, const yaml_node_t *map, const struct key *keys,
			size_t count, void *into)
{
	const char *names[32] = { NULL };
	bool seen[32] = { false };
	yaml_node_pair_t *pair;
	size_t i;

	assert(count < BUS_ARRAY_LEN(names));
	if (map->type != YAML_MAPPING_NODE)
		return wrong(reading, map, "expected `key: value` lines here");
	for (i = 0; i < count; i++)
		names[i] = keys[i].name;
	for (pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
		const yaml_node_t *name = yaml_document_get_node(reading->document, pair->key);
		const char *text = text_of(name);
		const char *near;
		int rc;

		if (!text)
			return wrong(reading, name, "a key must be a word");
		for (i = 0; i < count && strcmp(text, names[i]) != 0; i++)
			;
		if (i == count) {
			near = config_nearest(text, names);
			return near ? wrong(reading, name,
					    "unknown key \"%.64s\", did you mean \"%s\"?", text, near)
				    : wrong(reading, name, "unknown key \"%.64s\"", text);
		}
		if (seen[i])
			return wrong(reading, name, "key \"%s\" is there twice", text);
		seen[i] = true;
		rc = keys[i].read(reading, yaml_document_get_node(reading->document, pair->value),
				  into);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int read_text(struct reading *reading, const yaml_node_t *value, char **into, const char *what)
{
	const char *text = text_of(value);

	if (!text || !*text)
		return wrong(reading, value, "expected %s", what);
	free(*into);
	*into = strdup(text);
	return *into ? 0 : because(reading->why, ENOMEM, "out of memory");
}

static int read_size(struct reading *reading, const yaml_node_t *value, uint64_t least,
		     uint64_t most, uint64_t *into)
{
	const char *text = text_of(value);

	if (!text || config_parse_size(text, into) < 0)
		return wrong(reading, value,
			     "\"%.64s\" is no size; write for instance 4096, 64K, 256M or 1G",
			     text ? text : "");
	if (*into < least || *into > most)
		return wrong(reading, value, "%s is out of range: %llu to %llu", text,
			     (unsigned long long)least, (unsigned long long)most);
	return 0;
}

static int read_count(struct reading *reading, const yaml_node_t *value, uint64_t least,
		      uint64_t most, uint64_t *into)
{
	const char *text = text_of(value);

	if (!text || config_parse_count(text, into) < 0)
		return wrong(reading, value, "\"%.64s\" is no number", text ? text : "");
	if (*into < least || *into > most)
		return wrong(reading, value, "%s is out of range: %llu to %llu", text,
			     (unsigned long long)least, (unsigned long long)most);
	return 0;
}

static int read_duration(struct reading *reading, const yaml_node_t *value, uint64_t *into)
{
	const char *text = text_of(value);

	if (!text || config_parse_duration(text, into) < 0)
		return wrong(reading, value,
			     "\"%.64s\" is no duration; write for instance 500ms, 10s or 5m",
			     text ? text : "");
	if (*into > UINT64_MAX / 4)
		return wrong(reading, value, "%s is too long", text);
	return 0;
}

/* ---- settings of topics: in `defaults:` and in each of `topics:`; into a struct config_topic */

static int key_slots(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	uint64_t slots = 0;
	int rc = read_count(reading, value, RING_MIN_SLOTS, RING_MAX_SLOTS, &slots);

	topic->settings.slots = (uint32_t)slots;
	return rc;
}

static int key_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			 &((struct config_topic *)into)->settings.bytes);
}

static int key_max_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			 &((struct config_topic *)into)->settings.max_bytes);
}

static int key_numa(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	const char *text = text_of(value);
	struct why why;

	topic->numa_said = true;
	if (!text || numa_parse(text, &topic->settings.numa) < 0)
		return wrong(
			reading, value,
			"\"%.64s\" is no placement; write auto, interleave or the number of a NUMA node",
			text ? text : "");
	if (numa_check(topic->settings.numa, &why) < 0)
		return wrong(reading, value, "%s", why.text);
	return 0;
}

static int key_huge(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_topic *topic = into;
	const char *text = text_of(value);
	bool huge = false;

	topic->huge_said = true;
	if (text && strcmp(text, "try") == 0) {
		topic->settings.flags = CTL_TOPIC_HUGE_OR_NOT;
		return 0;
	}
	if (!text || config_parse_bool(text, &huge) < 0)
		return wrong(reading, value, "\"%.64s\": huge is true, false or try",
			     text ? text : "");
	topic->settings.flags = huge ? CTL_TOPIC_HUGE : 0;
	return 0;
}

static int read_pattern(struct reading *reading, const yaml_node_t *value, char *into)
{
	const char *text = text_of(value);
	const char *fault = text ? topic_pattern_check(text) : "is no text";

	if (fault)
		return wrong(reading, value, "topic pattern %s", fault);
	snprintf(into, CTL_TOPIC_MAX, "%s", text);
	return 0;
}

static int key_pattern(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_pattern(reading, value, ((struct config_topic *)into)->pattern);
}

static int check_sizes(const struct reading *reading, const yaml_node_t *at,
		       const struct config_topic *topic)
{
	if (topic->settings.bytes && topic->settings.max_bytes &&
	    topic->settings.max_bytes < topic->settings.bytes)
		return wrong(reading, at, "max_bytes is less than bytes");
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
	int rc = read_mapping(reading, value, keys, BUS_ARRAY_LEN(keys), &config->defaults);

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
		return wrong(reading, value, "topics is a list: each item begins with `- pattern:`");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	config->topics = calloc(count + 1, sizeof(*config->topics));
	if (!config->topics)
		return because(reading->why, ENOMEM, "out of memory");
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct config_topic *topic = &config->topics[config->topic_count];
		int rc = read_mapping(reading, entry, keys, BUS_ARRAY_LEN(keys), topic);

		if (rc == 0 && !topic->pattern[0])
			rc = wrong(reading, entry, "a topic needs a pattern");
		if (rc == 0)
			rc = check_sizes(reading, entry, topic);
		if (rc < 0)
			return rc;
		config->topic_count++;
	}
	return 0;
}

/* ---- rules; into a struct acl_rule */

static int resolve(struct reading *reading, const yaml_node_t *at, const char *name,
		   struct acl_grant *grant)
{
	const struct passwd *user;
	const struct group *group;
	uint64_t number;

	if (strcmp(name, "*") == 0) {
		grant->who = ACL_ANYBODY;
		return 0;
	}
	if (strncmp(name, "group:", 6) == 0) {
		grant->who = ACL_GROUP;
		group = getgrnam(name + 6);
		if (!group && (config_parse_count(name + 6, &number) < 0 || number > UINT32_MAX - 1))
			return wrong(reading, at, "there is no group \"%.64s\" on this machine",
				     name + 6);
		grant->id = group ? group->gr_gid : (uint32_t)number;
		return 0;
	}
	grant->who = ACL_USER;
	user = getpwnam(name);
	if (!user && (config_parse_count(name, &number) < 0 || number > UINT32_MAX - 1))
		return wrong(
			reading, at,
			"there is no user \"%.64s\" on this machine (a group is written group:NAME, everybody \"*\")",
			name);
	grant->id = user ? user->pw_uid : (uint32_t)number;
	return 0;
}

static int read_grants(struct reading *reading, const yaml_node_t *value, enum acl_right right,
		       struct acl_rule *rule)
{
	yaml_node_item_t *item;
	struct acl_grant *grown;
	size_t count;

	if (value->type != YAML_SEQUENCE_NODE)
		return wrong(reading, value,
			     "expected a list of users, for instance [alice, group:traders]");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	grown = realloc(rule->grants, (rule->grant_count + count + 1) * sizeof(*grown));
	if (!grown)
		return because(reading->why, ENOMEM, "out of memory");
	rule->grants = grown;
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		const char *name = text_of(entry);
		struct acl_grant grant = { .right = right };
		int rc = name ? resolve(reading, entry, name, &grant)
			      : wrong(reading, entry, "a user is a name");

		if (rc < 0)
			return rc;
		rule->grants[rule->grant_count++] = grant;
	}
	return 0;
}

static int key_publish(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_grants(reading, value, ACL_PUBLISH, into);
}

static int key_subscribe(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_grants(reading, value, ACL_SUBSCRIBE, into);
}

static int key_admin(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_grants(reading, value, ACL_ADMIN, into);
}

static int key_allow(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = { { "publish", key_publish },
					   { "subscribe", key_subscribe },
					   { "admin", key_admin } };

	return read_mapping(reading, value, keys, BUS_ARRAY_LEN(keys), into);
}

static int key_rule_topics(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_pattern(reading, value, ((struct acl_rule *)into)->pattern);
}

static int key_rules(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = { { "topics", key_rule_topics }, { "allow", key_allow } };
	struct acl *acl = &((struct config *)into)->acl;
	yaml_node_item_t *item;
	size_t count;

	if (value->type != YAML_SEQUENCE_NODE)
		return wrong(reading, value, "rules is a list: each item begins with `- topics:`");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	acl->rules = calloc(count + 1, sizeof(*acl->rules));
	if (!acl->rules)
		return because(reading->why, ENOMEM, "out of memory");
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct acl_rule *rule = &acl->rules[acl->rule_count++];
		int rc = read_mapping(reading, entry, keys, BUS_ARRAY_LEN(keys), rule);

		if (rc == 0 && !rule->pattern[0])
			rc = wrong(reading, entry, "a rule needs topics (a pattern)");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- the file; into a struct config */

static int key_socket(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_text(reading, value, &((struct config *)into)->socket, "the path of a socket");
}

static int key_socket_mode(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = text_of(value);

	if (!text || config_parse_octal(text, &((struct config *)into)->socket_mode) < 0)
		return wrong(reading, value, "\"%.64s\" is no mode; write for instance 0660",
			     text ? text : "");
	return 0;
}

static int key_socket_group(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = text_of(value);
	const struct group *group = text ? getgrnam(text) : NULL;

	if (!group)
		return wrong(reading, value, "there is no group \"%.64s\" on this machine",
			     text ? text : "");
	((struct config *)into)->socket_group = group->gr_gid;
	return 0;
}

static int key_data_dir(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_text(reading, value, &((struct config *)into)->data_dir,
			 "the path of a directory");
}

static int key_log(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config *config = into;
	int rc = read_text(reading, value, &config->log, "stderr, syslog or the path of a file");

	if (rc == 0 && strcmp(config->log, "stderr") != 0 && strcmp(config->log, "syslog") != 0 &&
	    config->log[0] != '/')
		return wrong(reading, value, "log is stderr, syslog or an absolute path");
	return rc;
}

static int key_log_level(struct reading *reading, const yaml_node_t *value, void *into)
{
	const char *text = text_of(value);
	int level = text ? log_level_parse(text) : -1;

	if (level < 0)
		return wrong(reading, value,
			     "\"%.64s\" is no level; write error, warning, info or debug",
			     text ? text : "");
	((struct config *)into)->log_level = level;
	return 0;
}

static int key_memory_limit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_size(reading, value, UINT64_C(1) << 20, UINT64_MAX,
			 &((struct config *)into)->memory_limit);
}

static int key_user_memory_limit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_size(reading, value, UINT64_C(1) << 20, UINT64_MAX,
			 &((struct config *)into)->user_memory_limit);
}

static int key_max_ring_bytes(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_size(reading, value, RING_MIN_BYTES, RING_MAX_BYTES,
			 &((struct config *)into)->max_ring_bytes);
}

static int key_keep_rings(struct reading *reading, const yaml_node_t *value, void *into)
{
	uint64_t count = 0;
	int rc = read_count(reading, value, 0, BOARD_RINGS / 2, &count);

	((struct config *)into)->keep_rings = (uint32_t)count;
	return rc;
}

static int key_keep_time(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_duration(reading, value, &((struct config *)into)->keep_time_ns);
}

static int key_idle_exit(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_duration(reading, value, &((struct config *)into)->idle_exit_ns);
}

static int key_evict_floor(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_duration(reading, value, &((struct config *)into)->evict_floor_ns);
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
		{ "defaults", key_defaults },
		{ "topics", key_topics },
		{ "rules", key_rules },
	};
	const yaml_node_t *root = yaml_document_get_root_node(reading->document);

	if (!root || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0))
		return 0; /* an empty file: all defaults */
	return read_mapping(reading, root, keys, BUS_ARRAY_LEN(keys), reading->config);
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
		yaml_document_delete(&document);
	} else {
		rc = because(why, EINVAL, "%s:%zu: %s", path, parser.problem_mark.line + 1,
			     parser.problem ? parser.problem : "this is no YAML");
	}
	yaml_parser_delete(&parser);
	fclose(file);
	return rc;
}
