/* SPDX-License-Identifier: Apache-2.0 */
/* acl.c - see acl.h */
#include "acl.h"

#include "format/topic_name.h"

bool acl_is_meant(const struct acl_grant *grant, const struct acl_subject *subject)
{
	size_t i;

	switch (grant->who) {
	case ACL_ANYBODY:
		return true;
	case ACL_USER:
		return subject->uid == grant->id;
	case ACL_GROUP:
		if (subject->gid == grant->id)
			return true;
		for (i = 0; i < subject->group_count; i++)
			if (subject->groups[i] == grant->id)
				return true;
		return false;
	}
	return false;
}

static bool rule_grants(const struct acl_rule *rule, const struct acl_subject *subject,
			enum acl_right right)
{
	size_t i;

	for (i = 0; i < rule->grant_count; i++)
		if (rule->grants[i].right == right && acl_is_meant(&rule->grants[i], subject))
			return true;
	return false;
}

bool acl_allows(const struct acl *acl, uint32_t owner_uid, const struct acl_subject *subject,
		enum acl_right right, const char *topic)
{
	size_t i;

	if (subject->uid == 0 || subject->uid == owner_uid)
		return true;
	for (i = 0; i < acl->rule_count; i++)
		if (topic_matches(acl->rules[i].pattern, topic) &&
		    rule_grants(&acl->rules[i], subject, right))
			return true;
	return false;
}

bool acl_allows_somewhere(const struct acl *acl, uint32_t owner_uid,
			  const struct acl_subject *subject, enum acl_right right)
{
	size_t i;

	if (subject->uid == 0 || subject->uid == owner_uid)
		return true;
	for (i = 0; i < acl->rule_count; i++)
		if (rule_grants(&acl->rules[i], subject, right))
			return true;
	return false;
}
