/* SPDX-License-Identifier: Apache-2.0 */
/* config_read.c - values of a configuration file; see config_read.h */
#include "config_read.h"

#include "config_value.h"

#include "format/topic_name.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int reading_wrong(const struct reading *reading, const yaml_node_t *at, const char *format, ...)
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
const char *reading_word(const yaml_node_t *value)
{
	const char *text = (const char *)value->data.scalar.value;

	if (value->type != YAML_SCALAR_NODE || strlen(text) != value->data.scalar.length)
		return NULL;
	return text;
}

int reading_mapping(struct reading *reading, const yaml_node_t *map, const struct key *keys,
		    size_t count, void *into)
{
	const char *names[32] = { NULL };
	bool seen[32] = { false };
	yaml_node_pair_t *pair;
	size_t i;

	assert(count < BUS_ARRAY_LEN(names));
	if (map->type != YAML_MAPPING_NODE)
		return reading_wrong(reading, map, "expected `key: value` lines here");
	for (i = 0; i < count; i++)
		names[i] = keys[i].name;
	for (pair = map->data.mapping.pairs.start; pair < map->data.mapping.pairs.top; pair++) {
		const yaml_node_t *name = yaml_document_get_node(reading->document, pair->key);
		const char *text = reading_word(name);
		const char *near;
		int rc;

		if (!text)
			return reading_wrong(reading, name, "a key must be a word");
		for (i = 0; i < count && strcmp(text, names[i]) != 0; i++)
			;
		if (i == count) {
			near = config_nearest(text, names);
			return near ? reading_wrong(reading, name,
						    "unknown key \"%.64s\", did you mean \"%s\"?",
						    text, near)
				    : reading_wrong(reading, name, "unknown key \"%.64s\"", text);
		}
		if (seen[i])
			return reading_wrong(reading, name, "key \"%s\" is there twice", text);
		seen[i] = true;
		rc = keys[i].read(reading, yaml_document_get_node(reading->document, pair->value),
				  into);
		if (rc < 0)
			return rc;
	}
	return 0;
}

int reading_text(struct reading *reading, const yaml_node_t *value, char **into, const char *what)
{
	const char *text = reading_word(value);

	if (!text || !*text)
		return reading_wrong(reading, value, "expected %s", what);
	free(*into);
	*into = strdup(text);
	return *into ? 0 : because(reading->why, ENOMEM, "out of memory");
}

int reading_size(struct reading *reading, const yaml_node_t *value, uint64_t least, uint64_t most,
		 uint64_t *into)
{
	const char *text = reading_word(value);

	if (!text || config_parse_size(text, into) < 0)
		return reading_wrong(reading, value,
				     "\"%.64s\" is no size; write for instance 4096, 64K, 256M or 1G",
				     text ? text : "");
	if (*into < least || *into > most)
		return reading_wrong(reading, value, "%s is out of range: %llu to %llu", text,
				     (unsigned long long)least, (unsigned long long)most);
	return 0;
}

int reading_count(struct reading *reading, const yaml_node_t *value, uint64_t least, uint64_t most,
		  uint64_t *into)
{
	const char *text = reading_word(value);

	if (!text || config_parse_count(text, into) < 0)
		return reading_wrong(reading, value, "\"%.64s\" is no number", text ? text : "");
	if (*into < least || *into > most)
		return reading_wrong(reading, value, "%s is out of range: %llu to %llu", text,
				     (unsigned long long)least, (unsigned long long)most);
	return 0;
}

int reading_duration(struct reading *reading, const yaml_node_t *value, uint64_t *into)
{
	const char *text = reading_word(value);

	if (!text || config_parse_duration(text, into) < 0)
		return reading_wrong(reading, value,
				     "\"%.64s\" is no duration; write for instance 500ms, 10s or 5m",
				     text ? text : "");
	if (*into > UINT64_MAX / 4)
		return reading_wrong(reading, value, "%s is too long", text);
	return 0;
}

int reading_pattern(struct reading *reading, const yaml_node_t *value, char into[CTL_TOPIC_MAX])
{
	const char *text = reading_word(value);
	const char *fault = text ? topic_pattern_check(text) : "is no text";

	if (fault)
		return reading_wrong(reading, value, "topic pattern %s", fault);
	snprintf(into, CTL_TOPIC_MAX, "%s", text);
	return 0;
}
