/* SPDX-License-Identifier: Apache-2.0 */
/*
 * busd_config.c - the configuration file: values, errors with their line, and what holds for a
 * topic in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "config_value.h"
#include "numa_place.h"

static struct config *config;
static struct why why;

static int read_text(const char *text)
{
	char path[] = "/tmp/busd-config.XXXXXX";
	int fd = mkstemp(path);
	int rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	config_free(config);
	config = config_new();
	assert_non_null(config);
	why.text[0] = 0;
	rc = config_read(config, path, &why);
	unlink(path);
	return rc;
}

static void is_wrong(const char *text, const char *words)
{
	assert_int_equal(read_text(text), -EINVAL);
	if (strstr(why.text, words) == NULL)
		fail_msg("no \"%s\" in: %s", words, why.text);
}

static int teardown(void **state)
{
	(void)state;
	config_free(config);
	config = NULL;
	return 0;
}

static void values(void **state)
{
	uint64_t n;
	uint32_t mode;
	bool yes;

	(void)state;
	assert_int_equal(config_parse_size("4096", &n), 0);
	assert_int_equal(n, 4096);
	assert_int_equal(config_parse_size("64K", &n), 0);
	assert_int_equal(n, 65536);
	assert_int_equal(config_parse_size("2 GiB", &n), 0);
	assert_int_equal(n, UINT64_C(2) << 30);
	assert_int_equal(config_parse_size("17179869184G", &n), -ERANGE);
	assert_int_equal(config_parse_size("99999999999999999999", &n), -ERANGE);
	assert_int_equal(config_parse_size("-1", &n), -EINVAL);
	assert_int_equal(config_parse_size("", &n), -EINVAL);
	assert_int_equal(config_parse_size("4k", &n), -EINVAL);
	assert_int_equal(config_parse_size("K", &n), -EINVAL);
	assert_int_equal(config_parse_duration("500ms", &n), 0);
	assert_int_equal(n, 500000000);
	assert_int_equal(config_parse_duration("2m", &n), 0);
	assert_int_equal(n, UINT64_C(120000000000));
	assert_int_equal(config_parse_duration("0", &n), 0);
	assert_int_equal(n, 0);
	assert_int_equal(config_parse_duration("10", &n), -EINVAL);
	assert_int_equal(config_parse_count("7x", &n), -EINVAL);
	assert_int_equal(config_parse_octal("0660", &mode), 0);
	assert_int_equal(mode, 0660);
	assert_int_equal(config_parse_octal("0880", &mode), -EINVAL);
	assert_int_equal(config_parse_octal("1777", &mode), -EINVAL);
	assert_int_equal(config_parse_bool("on", &yes), 0);
	assert_true(yes);
	assert_int_equal(config_parse_bool("no", &yes), 0);
	assert_false(yes);
	assert_int_equal(config_parse_bool("1", &yes), -EINVAL);
}

static void what_was_meant(void **state)
{
	static const char *const known[] = { "slots", "bytes", "socket", "socket_mode", NULL };

	(void)state;
	assert_string_equal(config_nearest("slot", known), "slots");
	assert_string_equal(config_nearest("sltos", known), "slots");
	assert_string_equal(config_nearest("byte", known), "bytes");
	assert_string_equal(config_nearest("socket-mode", known), "socket_mode");
	assert_null(config_nearest("colour", known));
	assert_null(config_nearest("", known));
	assert_null(config_nearest("an exceedingly long word that nobody could have meant", known));
}

static void a_whole_file(void **state)
{
	(void)state;
	assert_int_equal(
		read_text(
			"socket: /tmp/x.sock\nsocket_mode: 0666\nlog: /tmp/log\nlog_level: debug\n"
			"memory_limit: 1G\nuser_memory_limit: 100M\nmax_ring_bytes: 16M\nkeep_rings: 2\n"
			"keep_time: 5s\nidle_exit: 1m\nevict_floor: 50ms\ndata_dir: /var/lib/busd\n"
			"defaults: {slots: 100, bytes: 1M, numa: interleave, huge: try}\n"
			"topics:\n- {pattern: a.*, slots: 32}\n- pattern: \">\"\n  bytes: 8K\n"
			"rules:\n- topics: a.>\n  allow:\n    publish: [root, 4242]\n    subscribe: [\"*\", \"group:0\"]\n"
			"user: daemon\nsandbox: false\nuser_connections: 20\nuser_handshakes: 5\n"
			"user_descriptors: 300\nuser_topics: 7\n"
			"namespaces:\n- {name: a, owner: 4243, memory: 3M, topics: 4, clients: 5, rings: 6}\n"
			"- {name: b, owner: \"group:0\"}\n- name: c\n"),
		0);
	assert_string_equal(config->socket, "/tmp/x.sock");
	assert_int_equal(config->socket_mode, 0666);
	assert_int_equal(config->log_level, 3);
	assert_int_equal(config->memory_limit, 1 << 30);
	assert_int_equal(config->user_memory_limit, 100 << 20);
	assert_int_equal(config->keep_rings, 2);
	assert_int_equal(config->keep_time_ns, UINT64_C(5000000000));
	assert_int_equal(config->idle_exit_ns, UINT64_C(60000000000));
	assert_int_equal(config->evict_floor_ns, 50000000);
	assert_int_equal(config->defaults.settings.numa, -1);
	assert_int_equal(config->defaults.settings.flags, CTL_TOPIC_HUGE_OR_NOT);
	assert_int_equal(config->topic_count, 2);
	/* the last four follow from the owners of a and b */
	assert_int_equal(config->acl.rule_count, 5);
	assert_string_equal(config->acl.rules[1].pattern, "a");
	assert_string_equal(config->acl.rules[2].pattern, "a.>");
	assert_int_equal(config->acl.rules[2].grant_count, 3);
	assert_int_equal(config->acl.rules[2].grants[0].who, ACL_USER);
	assert_int_equal(config->acl.rules[2].grants[0].id, 4243);
	assert_int_equal(config->acl.rules[2].grants[2].right, ACL_ADMIN);
	assert_int_equal(config->acl.rules[3].grants[0].who, ACL_GROUP);
	assert_int_equal(config->namespace_count, 3);
	assert_int_equal(config->namespaces[0].limits.memory, 3 << 20);
	assert_int_equal(config->namespaces[0].limits.topics, 4);
	assert_int_equal(config->namespaces[0].limits.clients, 5);
	assert_int_equal(config->namespaces[0].limits.rings, 6);
	assert_false(config->namespaces[2].owned);
	assert_string_equal(config->user, "daemon");
	assert_int_equal(config->user_uid, 1);
	assert_false(config->sandbox);
	assert_int_equal(config->user_connections, 20);
	assert_int_equal(config->user_handshakes, 5);
	assert_int_equal(config->user_descriptors, 300);
	assert_int_equal(config->user_topics, 7);
	assert_int_equal(config->acl.rules[0].grant_count, 4);
	assert_int_equal(config->acl.rules[0].grants[0].id, 0);
	assert_int_equal(config->acl.rules[0].grants[1].id, 4242);
	assert_int_equal(config->acl.rules[0].grants[2].who, ACL_ANYBODY);
	assert_int_equal(config->acl.rules[0].grants[3].who, ACL_GROUP);
	assert_int_equal(read_text(""), 0);
	assert_int_equal(read_text("# nothing\n"), 0);
	assert_int_equal(config->socket_mode, 0600);
	assert_int_equal(config->keep_rings, 8);
	assert_true(config->sandbox);
	assert_null(config->user);
}

static void each_error_has_its_line(void **state)
{
	(void)state;
	is_wrong("log_level: info\n\nslto: 5\n", ":3: unknown key \"slto\"");
	is_wrong("defaults:\n  slot: 5\n", ":2: unknown key \"slot\", did you mean \"slots\"?");
	is_wrong("defaults:\n  slots: 5\n", ":2: 5 is out of range: 16 to");
	is_wrong("defaults:\n  slots: many\n", ":2: \"many\" is no number");
	is_wrong("defaults: [1]\n", ":1: expected");
	is_wrong("defaults:\n  bytes: 1M\n  max_bytes: 64K\n", "max_bytes is less than bytes");
	is_wrong("memory_limit: [1, 2]\n", ":1: \"\" is no size");
	is_wrong("idle_exit: 5\n", "no duration");
	is_wrong("log: relative/path\n", "absolute path");
	is_wrong("log_level: loud\n", "no level");
	is_wrong("socket_mode: rw\n", "no mode");
	is_wrong("socket_group: no-such-group-here\n", "there is no group");
	is_wrong("keep_rings: 3\nkeep_rings: 4\n", ":2: key \"keep_rings\" is there twice");
	is_wrong("topics:\n- slots: 64\n", ":2: a topic needs a pattern");
	is_wrong("topics:\n- pattern: a..b\n", ":2: topic pattern has an empty token");
	is_wrong("topics: {pattern: a}\n", "topics is a list");
	is_wrong("rules:\n- allow: {publish: [root]}\n", ":2: a rule needs topics");
	is_wrong("rules:\n- topics: a\n  allow: {publish: root}\n", ":3: expected a list of users");
	is_wrong("rules:\n- topics: a\n  allow: {read: [root]}\n", ":3: unknown key \"read\"");
	is_wrong("rules:\n- topics: a\n  allow: {admin: [no-such-user-here]}\n",
		 ":3: there is no user");
	is_wrong("namespaces:\n- owner: root\n", ":2: a namespace needs a name");
	is_wrong("namespaces:\n- name: a.b\n", ":2: a namespace is the first token");
	is_wrong("namespaces:\n- name: \">\"\n", ":2: a namespace is the first token");
	is_wrong("namespaces:\n- name: a\n- name: a\n", ":3: namespace \"a\" is there twice");
	is_wrong("namespaces:\n- {name: a, owner: \"*\"}\n", ":2: an owner is a user");
	is_wrong("namespaces:\n- {name: a, owner: no-such-user-here}\n", ":2: there is no user");
	is_wrong("namespaces:\n- {name: a, rings: 0}\n", ":2: 0 is out of range");
	is_wrong("namespaces: {name: a}\n", "namespaces is a list");
	is_wrong("user: no-such-user-here\n", ":1: there is no user");
	is_wrong("sandbox: perhaps\n", "sandbox is true or false");
	is_wrong("user_connections: 0\n", ":1: 0 is out of range");
	is_wrong("user_connections: 5000\n", ":1: 5000 is out of range: 1 to 1024");
	is_wrong("defaults:\n  numa: 4711\n", ":2: there is no memory on NUMA node 4711 here");
	is_wrong("defaults:\n  numa: near\n", "no placement");
	is_wrong("defaults:\n  huge: very\n", "huge is true, false or try");
	is_wrong("a: [b\n", ":2: ");
	is_wrong("- a\n- b\n", "expected");
	is_wrong("&a [*a]\n", "expected");
	is_wrong("\"a\\0b\": 1\n", "");
}

static void settled(void **state)
{
	struct ctl_topic_settings asked = { 0 }, got;

	(void)state;
	assert_int_equal(
		read_text("max_ring_bytes: 32M\ndefaults: {slots: 100, huge: true, numa: interleave}\n"
			  "topics:\n- {pattern: a.*, bytes: 100K}\n- {pattern: a.b, slots: 17}\n"
			  "- {pattern: plain, huge: false, numa: auto, max_bytes: 3M}\n"),
		0);
	assert_int_equal(config_settle(config, "a.b", &asked, &got, &why), 0);
	assert_int_equal(got.slots,
			 128); /* the first pattern that matches is the only one; then the defaults */
	assert_int_equal(got.bytes, 128 << 10);
	assert_int_equal(got.max_bytes, 32 << 20);
	assert_int_equal(got.flags, CTL_TOPIC_HUGE);
	assert_int_equal(got.numa, -1);
	assert_int_equal(config_settle(config, "plain", &asked, &got, &why), 0);
	assert_int_equal(got.flags, 0);
	assert_int_equal(got.numa, 0);
	assert_int_equal(got.max_bytes, 4 << 20);
	assert_int_equal(got.bytes, RING_DEFAULT_BYTES);
	asked.slots = 1000;
	asked.bytes = UINT64_C(64) << 20;
	asked.flags = CTL_TOPIC_HUGE_OR_NOT | CTL_TOPIC_EXCLUSIVE;
	asked.numa = 1;
	assert_int_equal(config_settle(config, "a.b", &asked, &got, &why), 0);
	assert_int_equal(got.slots, 1024);
	assert_int_equal(got.bytes, 64 << 20);
	assert_int_equal(got.max_bytes, 64 << 20); /* never less than what there is to begin with */
	assert_int_equal(got.flags, CTL_TOPIC_HUGE_OR_NOT);
	assert_int_equal(got.numa, 1);
	asked.slots = 15;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	asked.slots = UINT32_MAX;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	asked.slots = 16;
	asked.bytes = UINT64_MAX;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	asked.bytes = 8192;
	asked.max_bytes = 4096;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	asked.max_bytes = 0;
	asked.numa = 5000;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	assert_non_null(strstr(why.text, "nodes with memory: 0"));
	asked.numa = -2;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
	asked.numa = 0;
	asked.flags = 0x100;
	assert_int_equal(config_settle(config, "x", &asked, &got, &why), -EINVAL);
}

static void placements(void **state)
{
	int32_t numa = 7;
	char buf[16];

	(void)state;
	assert_int_equal(numa_parse("auto", &numa), 0);
	assert_int_equal(numa, 0);
	assert_int_equal(numa_parse("interleave", &numa), 0);
	assert_int_equal(numa, -1);
	assert_int_equal(numa_parse("0", &numa), 0);
	assert_int_equal(numa, 1);
	assert_int_equal(numa_parse("3", &numa), 0);
	assert_int_equal(numa, 4);
	assert_int_equal(numa_parse("", &numa), -EINVAL);
	assert_int_equal(numa_parse("-1", &numa), -EINVAL);
	assert_int_equal(numa_parse("1x", &numa), -EINVAL);
	assert_int_equal(numa_parse("99999999999", &numa), -EINVAL);
	assert_string_equal(numa_text(4, buf), "node 3");
	assert_string_equal(numa_text(0, buf), "auto");
	assert_string_equal(numa_text(-1, buf), "interleave");
	assert_int_equal(numa_check(1, &why), 0);
	assert_true(numa_node_count() >= 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(what_was_meant),
		cmocka_unit_test_teardown(a_whole_file, teardown),
		cmocka_unit_test_teardown(each_error_has_its_line, teardown),
		cmocka_unit_test_teardown(settled, teardown),
		cmocka_unit_test(placements),
	};

	numa_start();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
