/* SPDX-License-Identifier: Apache-2.0 */
/* busd_rules.c - who may do what, and how much: acl and quota, decisions without I/O. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "acl.h"
#include "quota.h"

#define OWNER 500

static struct acl_grant first_grants[] = {
	{ ACL_PUBLISH, ACL_USER, 1001 },
	{ ACL_SUBSCRIBE, ACL_GROUP, 77 },
	{ ACL_ADMIN, ACL_USER, 1002 },
};
static struct acl_grant second_grants[] = { { ACL_SUBSCRIBE, ACL_ANYBODY, 0 } };
static struct acl_rule rules[] = {
	{ .pattern = "orders.>", .grants = first_grants, .grant_count = 3 },
	{ .pattern = "public.*", .grants = second_grants, .grant_count = 1 },
};
static const struct acl acl = { .rules = rules, .rule_count = 2 };
static const struct acl none = { .rule_count = 0 };

static bool may(const struct acl *list, uint32_t uid, enum acl_right right, const char *topic)
{
	const struct acl_subject subject = { .uid = uid, .gid = uid };

	return acl_allows(list, OWNER, &subject, right, topic);
}

static void rights(void **state)
{
	static const gid_t groups[] = { 5, 77 };
	struct acl_subject member = { .uid = 2000, .gid = 2000, .groups = groups, .group_count = 2 };
	struct acl_subject primary = { .uid = 2001, .gid = 77 };

	(void)state;
	assert_true(may(&none, 0, ACL_ADMIN, "x"));
	assert_true(may(&none, OWNER, ACL_PUBLISH, "x"));
	assert_false(may(&none, 1001, ACL_PUBLISH, "x"));
	assert_true(may(&acl, 1001, ACL_PUBLISH, "orders.eu"));
	assert_false(may(&acl, 1001, ACL_SUBSCRIBE, "orders.eu"));
	assert_false(may(&acl, 1001, ACL_ADMIN, "orders.eu"));
	assert_false(may(&acl, 1001, ACL_PUBLISH, "orders"));
	assert_false(may(&acl, 1001, ACL_PUBLISH, "public.x"));
	assert_false(may(&acl, 1003, ACL_PUBLISH, "orders.eu"));
	assert_true(may(&acl, 1002, ACL_ADMIN, "orders.eu.x"));
	assert_true(may(&acl, 1003, ACL_SUBSCRIBE, "public.x"));
	assert_false(may(&acl, 1003, ACL_SUBSCRIBE, "public.x.y"));
	assert_true(acl_allows(&acl, OWNER, &member, ACL_SUBSCRIBE, "orders.eu"));
	assert_true(acl_allows(&acl, OWNER, &primary, ACL_SUBSCRIBE, "orders.eu"));
	assert_false(acl_allows(&acl, OWNER, &member, ACL_PUBLISH, "orders.eu"));
	member.group_count = 1;
	assert_false(acl_allows(&acl, OWNER, &member, ACL_SUBSCRIBE, "orders.eu"));
	/* a uid is no gid */
	assert_false(may(&acl, 78, ACL_SUBSCRIBE, "orders.eu"));
	assert_true(acl_allows_somewhere(&acl, OWNER, &member, ACL_SUBSCRIBE));
	assert_false(acl_allows_somewhere(&acl, OWNER, &member, ACL_PUBLISH));
	assert_true(acl_allows_somewhere(&none, OWNER, &(struct acl_subject){ .uid = OWNER },
					 ACL_PUBLISH));
}

static void memory(void **state)
{
	struct quota total = { .limits = { .memory = 1000,
					   .user_memory = 400,
					   .segments = 5,
					   .user_segments = 3,
					   .user_clients = 2,
					   .user_topics = 1 } };
	struct quota_account a = { .total = &total, .uid = 1 }, b = { .total = &total, .uid = 2 };
	struct quota_account owner = { .total = &total, .owner = true };
	struct why why;

	(void)state;
	assert_int_equal(quota_charge(&a, 300, &why), 0);
	assert_int_equal(quota_charge(&a, 101, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "of your user"));
	assert_non_null(strstr(why.text, "101 bytes wanted, 300 bytes in use, limit 400 bytes"));
	assert_int_equal(quota_charge(&a, 100, &why), 0);
	assert_int_equal(quota_charge(&a, UINT64_MAX, &why), -EDQUOT);
	assert_int_equal(quota_charge(&owner, 500, &why), 0);
	assert_int_equal(quota_charge(&b, 101, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "of busd"));
	assert_int_equal(total.memory, 900);
	quota_refund(&owner, 500);
	assert_int_equal(total.memory, 400);
	assert_int_equal(total.segments, 2);
	assert_int_equal(quota_charge(&a, 0, &why), 0);
	assert_int_equal(quota_charge(&a, 0, &why), -EDQUOT); /* its third segment was the last */
	assert_non_null(strstr(why.text, "3 segments"));
	assert_int_equal(quota_charge(&owner, 0, &why), 0);
	assert_int_equal(quota_charge(&owner, 0, &why), 0);
	assert_int_equal(quota_charge(&owner, 0, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "LimitNOFILE"));
	assert_int_equal(quota_take_client(&a, &why), 0);
	assert_int_equal(quota_take_client(&a, &why), 0);
	assert_int_equal(quota_take_client(&a, &why), -EDQUOT);
	assert_int_equal(quota_take_client(&b, &why), 0);
	assert_int_equal(quota_take_topic(&a, &why), 0);
	assert_int_equal(quota_take_topic(&a, &why), -EDQUOT);
}

static void sizes_for_people(void **state)
{
	char buf[32];

	(void)state;
	assert_string_equal(quota_bytes_text(0, buf), "0 bytes");
	assert_string_equal(quota_bytes_text(10239, buf), "10239 bytes");
	assert_string_equal(quota_bytes_text(10240, buf), "10.0 KiB");
	assert_string_equal(quota_bytes_text(1 << 20, buf), "1.0 MiB");
	assert_string_equal(quota_bytes_text(UINT64_C(64) << 20, buf), "64.0 MiB");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rights),
		cmocka_unit_test(memory),
		cmocka_unit_test(sizes_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
