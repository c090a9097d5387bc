/* SPDX-License-Identifier: Apache-2.0 */
/* config_rules.c - `rules:` and `namespaces:` of the configuration file; see config_read.h */
#include "config_read.h"

#include "config_value.h"

#include "format/topic_name.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>

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
			return reading_wrong(reading, at,
					     "there is no group \"%.64s\" on this machine", name + 6);
		grant->id = group ? group->gr_gid : (uint32_t)number;
		return 0;
	}
	grant->who = ACL_USER;
	user = getpwnam(name);
	if (!user && (config_parse_count(name, &number) < 0 || number > UINT32_MAX - 1))
		return reading_wrong(
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
		return reading_wrong(reading, value,
				     "expected a list of users, for instance [alice, group:traders]");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	grown = realloc(rule->grants, (rule->grant_count + count + 1) * sizeof(*grown));
	if (!grown)
		return because(reading->why, ENOMEM, "out of memory");
	rule->grants = grown;
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		const char *name = reading_word(entry);
		struct acl_grant grant = { .right = right };
		int rc = name ? resolve(reading, entry, name, &grant)
			      : reading_wrong(reading, entry, "a user is a name");

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

	return reading_mapping(reading, value, keys, BUS_ARRAY_LEN(keys), into);
}

static int key_rule_topics(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_pattern(reading, value, ((struct acl_rule *)into)->pattern);
}

int config_read_rules(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = { { "topics", key_rule_topics }, { "allow", key_allow } };
	struct acl *acl = &((struct config *)into)->acl;
	yaml_node_item_t *item;
	size_t count;

	if (value->type != YAML_SEQUENCE_NODE)
		return reading_wrong(reading, value,
				     "rules is a list: each item begins with `- topics:`");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	acl->rules = calloc(count + 1, sizeof(*acl->rules));
	if (!acl->rules)
		return because(reading->why, ENOMEM, "out of memory");
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct acl_rule *rule = &acl->rules[acl->rule_count++];
		int rc = reading_mapping(reading, entry, keys, BUS_ARRAY_LEN(keys), rule);

		if (rc == 0 && !rule->pattern[0])
			rc = reading_wrong(reading, entry, "a rule needs topics (a pattern)");
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* ---- namespaces; into a struct config_namespace */

static int key_name(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_namespace *space = into;
	int rc = reading_pattern(reading, value, space->name);

	if (rc == 0 && (strchr(space->name, '.') || topic_is_wild(space->name)))
		return reading_wrong(
			reading, value,
			"a namespace is the first token of topics, without dots and wildcards");
	return rc;
}

/* Becomes rules of its own in config_read_namespaces(): by then the name is known. */
static int key_owner(struct reading *reading, const yaml_node_t *value, void *into)
{
	struct config_namespace *space = into;
	const char *name = reading_word(value);

	if (!name || strcmp(name, "*") == 0)
		return reading_wrong(reading, value,
				     "an owner is a user, or a group written group:NAME");
	space->owned = true;
	return resolve(reading, value, name, &space->owner);
}

static int key_memory(struct reading *reading, const yaml_node_t *value, void *into)
{
	return reading_size(reading, value, 4096, UINT64_MAX,
			    &((struct config_namespace *)into)->limits.memory);
}

static int read_limit(struct reading *reading, const yaml_node_t *value, uint32_t *into)
{
	uint64_t count = 0;
	int rc = reading_count(reading, value, 1, INT32_MAX, &count);

	*into = (uint32_t)count;
	return rc;
}

static int key_topics(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_limit(reading, value, &((struct config_namespace *)into)->limits.topics);
}

static int key_clients(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_limit(reading, value, &((struct config_namespace *)into)->limits.clients);
}

static int key_rings(struct reading *reading, const yaml_node_t *value, void *into)
{
	return read_limit(reading, value, &((struct config_namespace *)into)->limits.rings);
}

/* All rights on one pattern. */
static int grant_all(struct acl *acl, const struct acl_grant *owner, const char *format,
		     const char *name)
{
	static const enum acl_right rights[] = { ACL_PUBLISH, ACL_SUBSCRIBE, ACL_ADMIN };
	struct acl_rule *grown = realloc(acl->rules, (acl->rule_count + 1) * sizeof(*grown));
	struct acl_rule *rule;
	size_t i;

	if (!grown)
		return -ENOMEM;
	acl->rules = grown;
	rule = &acl->rules[acl->rule_count];
	memset(rule, 0, sizeof(*rule));
	rule->grants = calloc(BUS_ARRAY_LEN(rights), sizeof(*rule->grants));
	if (!rule->grants)
		return -ENOMEM;
	snprintf(rule->pattern, sizeof(rule->pattern), format, name);
	for (i = 0; i < BUS_ARRAY_LEN(rights); i++) {
		rule->grants[i] = *owner;
		rule->grants[i].right = rights[i];
	}
	rule->grant_count = BUS_ARRAY_LEN(rights);
	acl->rule_count++;
	return 0;
}

static int check_namespace(struct reading *reading, const yaml_node_t *entry, size_t index)
{
	const struct config *config = reading->config;
	const struct config_namespace *space = &config->namespaces[index];
	size_t i;

	if (!space->name[0])
		return reading_wrong(reading, entry, "a namespace needs a name");
	if (strlen(space->name) + sizeof(".>") > CTL_TOPIC_MAX)
		return reading_wrong(reading, entry, "the name of the namespace is too long");
	for (i = 0; i < index; i++)
		if (strcmp(config->namespaces[i].name, space->name) == 0)
			return reading_wrong(reading, entry, "namespace \"%s\" is there twice",
					     space->name);
	return 0;
}

int config_read_namespaces(struct reading *reading, const yaml_node_t *value, void *into)
{
	static const struct key keys[] = { { "name", key_name },       { "owner", key_owner },
					   { "memory", key_memory },   { "topics", key_topics },
					   { "clients", key_clients }, { "rings", key_rings } };
	struct config *config = into;
	yaml_node_item_t *item;
	size_t count;

	if (value->type != YAML_SEQUENCE_NODE)
		return reading_wrong(reading, value,
				     "namespaces is a list: each item begins with `- name:`");
	count = (size_t)(value->data.sequence.items.top - value->data.sequence.items.start);
	config->namespaces = calloc(count + 1, sizeof(*config->namespaces));
	if (!config->namespaces)
		return because(reading->why, ENOMEM, "out of memory");
	for (item = value->data.sequence.items.start; item < value->data.sequence.items.top; item++) {
		const yaml_node_t *entry = yaml_document_get_node(reading->document, *item);
		struct config_namespace *space = &config->namespaces[config->namespace_count];
		int rc = reading_mapping(reading, entry, keys, BUS_ARRAY_LEN(keys), space);

		if (rc == 0)
			rc = check_namespace(reading, entry, config->namespace_count);
		if (rc < 0)
			return rc;
		config->namespace_count++;
	}
	return 0;
}

/* Only when all is read: `rules:` may stand before or behind. */
int config_read_owners(struct config *config, struct why *why)
{
	size_t i;

	for (i = 0; i < config->namespace_count; i++) {
		const struct config_namespace *space = &config->namespaces[i];

		if (!space->owned)
			continue;
		if (grant_all(&config->acl, &space->owner, "%s", space->name) < 0 ||
		    grant_all(&config->acl, &space->owner, "%s.>", space->name) < 0)
			return because(why, ENOMEM, "out of memory");
	}
	return 0;
}
