/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_read.h - what config_yaml.c and config_rules.c read the values of a configuration file
 * with. Each function gives 0, or -errno with a sentence that names the line, what is wrong there
 * and what would be right.
 */
#ifndef BUSD_CONFIG_READ_H
#define BUSD_CONFIG_READ_H

#include "config.h"

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

/* -EINVAL */
int reading_wrong(const struct reading *reading, const yaml_node_t *at, const char *format, ...)
	BUS_PRINTF(3, 4);
/* The text of a scalar; NULL where it is something else, or has a NUL inside. */
const char *reading_word(const yaml_node_t *value);
int reading_mapping(struct reading *reading, const yaml_node_t *map, const struct key *keys,
		    size_t count, void *into);
/* Replaces *into (malloc). what: "the path of a socket" */
int reading_text(struct reading *reading, const yaml_node_t *value, char **into, const char *what);
int reading_size(struct reading *reading, const yaml_node_t *value, uint64_t least, uint64_t most,
		 uint64_t *into);
int reading_count(struct reading *reading, const yaml_node_t *value, uint64_t least, uint64_t most,
		  uint64_t *into);
int reading_duration(struct reading *reading, const yaml_node_t *value, uint64_t *into);
int reading_pattern(struct reading *reading, const yaml_node_t *value, char into[CTL_TOPIC_MAX]);

/* config_rules.c; into a struct config */
int config_read_rules(struct reading *reading, const yaml_node_t *value, void *into);
int config_read_namespaces(struct reading *reading, const yaml_node_t *value, void *into);
/* What owners of namespaces may do, as rules: once the whole file was read. */
int config_read_owners(struct config *config, struct why *why);

#endif
