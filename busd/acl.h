/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acl.h - who may do what on which topic: a pure decision. Without rules: root and the user that
 * busd runs as may do everything, others nothing. A rule adds rights, it never takes any away.
 */
#ifndef BUSD_ACL_H
#define BUSD_ACL_H

#include "format/control_proto.h"

#include <sys/types.h>

enum acl_right { ACL_PUBLISH = 1, ACL_SUBSCRIBE = 2, ACL_ADMIN = 4 };

enum acl_who { ACL_USER, ACL_GROUP, ACL_ANYBODY };

struct acl_grant {
	enum acl_right right;
	enum acl_who who;
	uint32_t id; /* uid or gid */
};

struct acl_rule {
	char pattern[CTL_TOPIC_MAX];
	struct acl_grant *grants;
	size_t grant_count;
};

struct acl {
	struct acl_rule *rules;
	size_t rule_count;
};

/* Who asks, as the kernel attests it. */
struct acl_subject {
	uint32_t uid, gid;
	const gid_t *groups;
	size_t group_count;
};

/* Is it for him? The grant's right is not looked at. */
bool acl_is_meant(const struct acl_grant *grant, const struct acl_subject *subject);
/* owner_uid: the user that busd runs as. */
bool acl_allows(const struct acl *acl, uint32_t owner_uid, const struct acl_subject *subject,
		enum acl_right right, const char *topic);
/* Is there any topic at all? */
bool acl_allows_somewhere(const struct acl *acl, uint32_t owner_uid,
			  const struct acl_subject *subject, enum acl_right right);

#endif
