/* SPDX-License-Identifier: Apache-2.0 */
/* busd_rules.c - who may do what, and how much: acl, quota and namespaces, without I/O. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "acl.h"
#include "client.h"
#include "namespace.h"
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

static int charge(struct quota_account *account, uint64_t bytes, struct why *why)
{
	const struct quota_bill bill = { .account = account, .bytes = bytes, .files = 1 };

	return quota_charge(&bill, why);
}

static void memory(void **state)
{
	struct quota total = {
		.limits = { .memory = 1000, .user_memory = 400, .files = 5, .user_files = 3 }
	};
	struct quota_account a = { .total = &total, .uid = 1 }, b = { .total = &total, .uid = 2 };
	struct quota_account owner = { .total = &total, .owner = true };
	const struct quota_bill large = { .account = &owner, .bytes = 500, .files = 1 };
	struct why why;

	(void)state;
	assert_int_equal(charge(&a, 300, &why), 0);
	assert_int_equal(charge(&a, 101, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "of your user"));
	assert_non_null(strstr(why.text, "101 bytes wanted, 300 bytes in use, limit 400 bytes"));
	assert_int_equal(charge(&a, 100, &why), 0);
	assert_int_equal(charge(&a, UINT64_MAX, &why), -EDQUOT);
	assert_int_equal(quota_charge(&large, &why), 0);
	assert_int_equal(charge(&b, 101, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "of busd"));
	assert_int_equal(total.memory, 900);
	quota_refund(&large);
	assert_int_equal(total.memory, 400);
	assert_int_equal(total.files, 2);
	assert_int_equal(charge(&a, 0, &why), 0);
	assert_int_equal(charge(&a, 0, &why), -EDQUOT); /* its third descriptor was the last */
	assert_non_null(strstr(why.text, "holds 3 descriptors"));
	assert_non_null(strstr(why.text, "user_descriptors"));
	assert_int_equal(charge(&owner, 0, &why), 0);
	assert_int_equal(charge(&owner, 0, &why), 0);
	assert_int_equal(charge(&owner, 0, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "LimitNOFILE"));
	assert_int_equal(quota_take_client(&owner, &why), -EDQUOT);
}

static void connections(void **state)
{
	struct quota total = { .limits = { .files = 13,
					   .user_files = 10,
					   .user_clients = 3,
					   .user_handshakes = 2,
					   .user_in_flight = 5,
					   .user_topics = 1 } };
	struct quota_account a = { .total = &total, .uid = 1 }, b = { .total = &total, .uid = 2 };
	struct why why;

	(void)state;
	assert_int_equal(quota_take_client(&a, &why), 0);
	assert_int_equal(quota_take_client(&a, &why), 0);
	assert_int_equal(quota_take_client(&a, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "have not introduced themselves, limit 2"));
	quota_end_handshake(&a);
	assert_int_equal(quota_take_client(&a, &why), 0);
	quota_end_handshake(&a);
	assert_int_equal(quota_take_client(&a, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "3 connections, limit 3"));
	assert_int_equal(total.files, 9);
	assert_int_equal(quota_take_client(&b, &why), 0);
	assert_int_equal(quota_take_client(&b, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "LimitNOFILE"));
	quota_give_back_client(&a, true);
	quota_give_back_client(&a, false);
	assert_int_equal(a.clients, 1);
	assert_int_equal(a.handshakes, 0);
	assert_int_equal(a.files, QUOTA_CLIENT_FILES);
	assert_int_equal(total.files, 2 * QUOTA_CLIENT_FILES);
	assert_int_equal(quota_take_topic(&a, &why), 0);
	assert_int_equal(quota_take_topic(&a, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "user_topics"));
	a.in_flight = 4;
	assert_true(quota_may_fly(&a));
	a.in_flight = 5;
	assert_false(quota_may_fly(&a));
	a.owner = true;
	assert_true(quota_may_fly(&a));
}

/* What is charged to a user is charged to the namespace, and neither where one refuses. */
static void namespaces(void **state)
{
	struct quota total = {
		.limits = { .memory = 1000, .user_memory = 500, .files = 100, .user_files = 100 }
	};
	struct quota_account a = { .total = &total, .uid = 1 };
	struct quota_account root = { .total = &total, .owner = true };
	struct namespace space = { .name = "orders",
				   .limits = { .memory = 300, .topics = 1, .rings = 2 } };
	struct quota_bill bill = { .account = &a, .space = &space, .bytes = 200, .files = 1 };
	struct why why;

	(void)state;
	assert_int_equal(quota_charge(&bill, &why), 0);
	assert_int_equal(quota_charge(&bill, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "namespace \"orders\": 200 bytes wanted, 200 bytes in use, "
					 "limit 300 bytes"));
	assert_int_equal(a.memory, 200);
	assert_int_equal(a.files, 1);
	/* who runs busd is no exception: it is the namespace's limit, not his */
	bill.account = &root;
	assert_int_equal(quota_charge(&bill, &why), -EDQUOT);
	assert_false(namespace_has_room(&space, 101));
	assert_true(namespace_has_room(&space, 100));
	bill.bytes = 100;
	assert_int_equal(quota_charge(&bill, &why), 0);
	quota_correct(&bill, -50);
	assert_int_equal(space.memory, 250);
	assert_int_equal(root.memory, 50);
	quota_refund(&bill);
	assert_int_equal(space.memory, 200);
	assert_int_equal(space.segments, 1);
	assert_int_equal(namespace_take_topic(&space, &why), 0);
	assert_int_equal(namespace_take_topic(&space, &why), -EDQUOT);
	assert_non_null(strstr(why.text, "\"orders\" has 1 topics, limit 1"));
	assert_int_equal(namespace_take_ring(&space, &why), 0);
	assert_int_equal(namespace_take_ring(&space, &why), 0);
	assert_int_equal(namespace_take_ring(&space, &why), -EDQUOT);
	/* without limits nothing is refused */
	space.limits = (struct namespace_limits){ 0 };
	assert_int_equal(namespace_take_ring(&space, &why), 0);
	assert_true(namespace_has_room(&space, UINT64_MAX));
}

/* A thousand first tokens: each is found again, those that nothing is in go, the rest stays. */
static void namespaces_are_found(void **state)
{
	static struct busd busd = { .next_id = 1 };
	struct namespace *space, *again, *one;
	struct client client = { .busd = &busd };
	char topic[32];
	struct why why;

	(void)state;
	assert_true(namespace_has("a", "a"));
	assert_true(namespace_has("a", "a.b"));
	assert_false(namespace_has("a", "ab"));
	assert_false(namespace_has("ab", "a.b"));
	assert_int_equal(namespace_find(&busd, ">", &space, &why), 0);
	assert_null(space);
	assert_int_equal(namespace_find(&busd, "*.x", &space, &why), 0);
	assert_null(space);
	assert_int_equal(namespace_find(&busd, "kept.*", &one, &why), 0);
	one->limits.clients = 1;
	assert_int_equal(namespace_enter(&client, one, &why), 0);
	assert_int_equal(namespace_enter(&client, one, &why), 0);
	assert_int_equal(one->clients, 1);
	for (int i = 0; i < 1000; i++) {
		snprintf(topic, sizeof(topic), "t%d.x", i);
		assert_int_equal(namespace_find(&busd, topic, &space, &why), 0);
		topic[strcspn(topic, ".")] = 0;
		assert_string_equal(space->name, topic);
		assert_int_equal(namespace_find(&busd, topic, &again, &why), 0);
		assert_ptr_equal(space, again);
		assert_int_equal(namespace_find(&busd, "kept", &again, &why), 0);
		assert_ptr_equal(one, again);
	}
	assert_true(busd.space_count < 100);
	namespace_leave(&client, one);
	assert_int_equal(one->clients, 1);
	{
		struct client other = { .busd = &busd };

		assert_int_equal(namespace_enter(&other, one, &why), -EDQUOT);
		assert_non_null(strstr(why.text, "\"kept\" has 1 clients, limit 1"));
		namespace_leave(&client, one);
		assert_int_equal(one->clients, 0);
		assert_int_equal(namespace_enter(&other, one, &why), 0);
		namespace_leave(&other, one);
		idmap_free(&other.spaces);
	}
	idmap_free(&client.spaces);
	while (busd.space_count)
		free(busd.spaces[--busd.space_count]);
	free(busd.spaces);
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
		cmocka_unit_test(connections),
		cmocka_unit_test(namespaces),
		cmocka_unit_test(namespaces_are_found),
		cmocka_unit_test(sizes_for_people),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
