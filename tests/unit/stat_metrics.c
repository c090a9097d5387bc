/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exposition: what a scraper's parser insists on, values in their units, labels that cannot
 * clash or break out.
 */
#include <errno.h>
#include <regex.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "api/stat_internal.h"
#include "format/metric_table.h"

#define LINES_MAX 400

struct lines {
	char *text;
	char *line[LINES_MAX];
	int count;
};

static const struct bus_stat_daemon daemon_ = { .pid = 1,
						.nodes = 2,
						.started_ns = UINT64_C(1700000000500000000),
						.memory_bytes = 4096,
						.memory_limit = 1 << 30,
						.topics = 2,
						.clients = 3,
						.rings = 2,
						.version = "0.1.0" };

static struct bus_stat_pub pubs[3];
static struct bus_stat_sub subs[3];
static struct bus_stat_topic topics[2];

static int set_up(void **state)
{
	(void)state;
	pubs[0] = (struct bus_stat_pub){ .id = 11,
					 .pid = 100,
					 .name = "feed",
					 .messages = 8,
					 .used_ratio = 0.25,
					 .blocked_ns = UINT64_C(1500000000),
					 .blocked_now = 1,
					 .blocked_by = 21,
					 .refused = 3,
					 .wakes = 4,
					 .evictions = 5,
					 .page_kib = 4,
					 .node_pages = { 2, 3 } };
	pubs[1] = (struct bus_stat_pub){
		.id = 12, .pid = 100, .name = "feed", .page_kib = 4, .node_pages = { 1 }
	};
	pubs[2] = (struct bus_stat_pub){
		.id = 13, .pid = 101, .name = "a\"b\\c\nd\x1b\xff", .messages = 1, .closed = 1
	};
	subs[0] = (struct bus_stat_sub){ .id = 21,
					 .pid = 200,
					 .name = "slow",
					 .lag_messages = 7,
					 .lag_ns = 2000000001,
					 .delivered = 40,
					 .lost = 6,
					 .holds = 1,
					 .asleep = 1,
					 .evictions = 2 };
	subs[1] = (struct bus_stat_sub){
		.id = 22, .pid = 200, .name = "slow", .lossy = 1, .lost = 9, .delivered = 2
	};
	subs[2] = (struct bus_stat_sub){ .id = 23, .pid = 202, .name = "quick" };
	topics[0] = (struct bus_stat_topic){ .name = "orders",
					     .id = 1,
					     .messages = 1008,
					     .bytes = 5000,
					     .memory_bytes = 8192,
					     .publisher_count = 3,
					     .subscriber_count = 2,
					     .publishers = pubs,
					     .subscribers = subs };
	topics[0].log = (struct bus_stat_log){ .state = BUS_LOG_RUNNING,
					       .durable_seq = 77,
					       .syncs = 12,
					       .sync_ns = UINT64_C(2500000001) };
	topics[0].log.sync_us[0] = 1;  /* below the first bound */
	topics[0].log.sync_us[6] = 2;  /* 64 to 127 us */
	topics[0].log.sync_us[10] = 4; /* 1.024 to 2.047 ms */
	topics[0].log.sync_us[25] = 5; /* beyond the last */
	topics[1] = (struct bus_stat_topic){
		.name = "prices", .id = 2, .subscriber_count = 1, .subscribers = subs + 2
	};
	return 0;
}

static void expose(struct lines *l, int topic_count)
{
	size_t len = 0;
	char *at, *line;

	l->count = 0;
	assert_int_equal(bus__stat_openmetrics(&daemon_, topics, topic_count, NULL, 0, NULL, 0,
					       &l->text, &len),
			 0);
	assert_int_equal(len, strlen(l->text));
	assert_int_equal(l->text[len - 1], '\n');
	at = l->text;
	while ((line = strsep(&at, "\n")) && at) {
		assert_true(l->count < LINES_MAX);
		l->line[l->count++] = line;
	}
}

static bool has(const struct lines *l, const char *want)
{
	for (int i = 0; i < l->count; i++)
		if (strcmp(l->line[i], want) == 0)
			return true;
	return false;
}

#define assert_line(l, want) \
	do { \
		if (!has(l, want)) \
			fail_msg("there is no line \"%s\"", want); \
	} while (0)

static void test_values(void **state)
{
	struct lines l;

	(void)state;
	expose(&l, 2);
	assert_line(&l, "bus_build_info{version=\"0.1.0\"} 1");
	assert_line(&l, "bus_start_time_seconds 1700000000.500000000");
	assert_line(&l, "bus_clients 3");
	assert_line(&l, "bus_memory_limit_bytes 1073741824");
	assert_line(&l, "bus_numa_memory_bytes{node=\"0\"} 12288");
	assert_line(&l, "bus_numa_memory_bytes{node=\"1\"} 12288");
	assert_line(&l, "bus_topic_messages_total{topic=\"orders\",direction=\"in\"} 1008");
	assert_line(&l, "bus_topic_messages_total{topic=\"orders\",direction=\"out\"} 42");
	assert_line(&l, "bus_topic_messages_total{topic=\"prices\",direction=\"in\"} 0");
	assert_line(&l, "bus_topic_bytes_total{topic=\"orders\",direction=\"in\"} 5000");
	assert_line(&l, "bus_topic_publishers{topic=\"orders\"} 2");
	assert_line(&l, "bus_topic_subscribers{topic=\"prices\"} 1");
	assert_line(&l, "bus_topic_memory_bytes{topic=\"orders\"} 8192");
	assert_line(&l, "bus_messages_lost_total{topic=\"orders\",subscriber=\"slow#21\",pid=\"200\","
			"reason=\"evicted\"} 6");
	assert_line(&l, "bus_messages_lost_total{topic=\"orders\",subscriber=\"slow#22\",pid=\"200\","
			"reason=\"overwritten\"} 9");
	free(l.text);
}

static void test_values_of_peers(void **state)
{
	struct lines l;

	(void)state;
	expose(&l, 2);
#define FEED "{topic=\"orders\",publisher=\"feed#11\",pid=\"100\"}"
#define SLOW "{topic=\"orders\",subscriber=\"slow#21\",pid=\"200\"}"
	assert_line(&l, "bus_topic_last_seq" FEED " 7");
	assert_line(&l, "bus_ring_used_ratio" FEED " 0.250000");
	assert_line(&l, "bus_publish_blocked_seconds_total" FEED " 1.500000000");
	assert_line(&l, "bus_publish_blocked" FEED " 1");
	assert_line(&l, "bus_publish_refused_total" FEED " 3");
	assert_line(&l, "bus_publish_wakes_total" FEED " 4");
	assert_line(&l, "bus_publish_evictions_total" FEED " 5");
	assert_line(&l, "bus_subscriber_lag_messages" SLOW " 7");
	assert_line(&l, "bus_subscriber_lag_seconds" SLOW " 2.000000001");
	assert_line(&l, "bus_subscriber_delivered_total" SLOW " 40");
	assert_line(&l, "bus_subscriber_evictions_total" SLOW " 2");
	assert_line(&l, "bus_subscriber_holds" SLOW " 1");
	assert_line(&l, "bus_subscriber_asleep" SLOW " 1");
	/* one of its kind keeps its name */
	assert_line(
		&l,
		"bus_subscriber_lag_messages{topic=\"prices\",subscriber=\"quick\",pid=\"202\"} 0");
	/* nothing was published: there is no newest message */
	for (int i = 0; i < l.count; i++)
		assert_null(strstr(l.line[i],
				   "bus_topic_last_seq{topic=\"orders\",publisher=\"feed#12\""));
	free(l.text);
}

static void test_histogram(void **state)
{
	struct lines l;

	(void)state;
	expose(&l, 2);
#define SYNCS "bus_spill_fsync_seconds"
	assert_line(&l, "# TYPE " SYNCS " histogram");
	assert_line(&l, SYNCS "_bucket{topic=\"orders\",le=\"0.000128\"} 3");
	assert_line(&l, SYNCS "_bucket{topic=\"orders\",le=\"0.001024\"} 3");
	assert_line(&l, SYNCS "_bucket{topic=\"orders\",le=\"0.002048\"} 7");
	assert_line(&l, SYNCS "_bucket{topic=\"orders\",le=\"33.554432\"} 7");
	assert_line(&l, SYNCS "_bucket{topic=\"orders\",le=\"+Inf\"} 12");
	assert_line(&l, SYNCS "_sum{topic=\"orders\"} 2.500000001");
	assert_line(&l, SYNCS "_count{topic=\"orders\"} 12");
	/* a topic that is not on disk has none */
	for (int i = 0; i < l.count; i++)
		assert_true(!strstr(l.line[i], SYNCS) || !strstr(l.line[i], "prices"));
	free(l.text);
}

/* A process may call itself anything. */
static void test_names_stay_inside(void **state)
{
	struct lines l;

	(void)state;
	expose(&l, 1);
	assert_line(
		&l,
		"bus_topic_last_seq{topic=\"orders\",publisher=\"a\\\"b\\\\c\\nd??\",pid=\"101\"} 0");
	free(l.text);
}

/*
 * Every line is metadata or a sample; a family's metadata come first and its samples directly
 * after; no series comes twice; a counter's samples end in _total; a unit ends the name.
 */
static void test_shape(void **state)
{
	char family[128] = "", type[32] = "", rest[256];
	regex_t sample;
	struct lines l;
	int families = 0;

	(void)state;
	assert_int_equal(
		regcomp(&sample,
			"^[a-z_]+(\\{[a-z]+=\"([^\"\\\\]|\\\\.)*\"(,[a-z]+=\"([^\"\\\\]|\\\\.)*\")*\\})? "
			"[0-9]+(\\.[0-9]+)?$",
			REG_EXTENDED | REG_NOSUB),
		0);
	expose(&l, 2);
	assert_string_equal(l.line[l.count - 1], "# EOF");
	for (int i = 0; i < l.count - 1; i++) {
		const char *line = l.line[i];
		char name[160];

		if (sscanf(line, "# TYPE %127s %31s", family, type) == 2) {
			families++;
			continue;
		}
		if (sscanf(line, "# UNIT %159s %255s", name, rest) == 2) {
			assert_string_equal(name, family);
			assert_string_equal(name + strlen(name) - strlen(rest), rest);
			continue;
		}
		if (sscanf(line, "# HELP %159s %255s", name, rest) == 2) {
			assert_string_equal(name, family);
			continue;
		}
		if (regexec(&sample, line, 0, NULL, 0) != 0)
			fail_msg("not a sample: %s", line);
		snprintf(name, sizeof(name), "%s%s", family,
			 strcmp(type, "counter") == 0     ? "_total"
			 : strcmp(type, "info") == 0      ? "_info"
			 : strcmp(type, "histogram") != 0 ? ""
			 : strstr(line, "_bucket{")       ? "_bucket"
			 : strstr(line, "_sum{")          ? "_sum"
							  : "_count");
		assert_int_equal(strcspn(line, "{ "), strlen(name));
		assert_memory_equal(line, name, strlen(name));
		for (int k = 0; k < i; k++)
			if (strncmp(l.line[k], line, (size_t)(strrchr(line, ' ') - line) + 1) == 0)
				fail_msg("twice: %s", line);
	}
	assert_int_equal(families, METRIC_COUNT);
	regfree(&sample);
	free(l.text);
}

static void test_nothing_there(void **state)
{
	struct lines l;

	(void)state;
	expose(&l, 0);
	assert_line(&l, "# TYPE bus_topic_messages counter");
	assert_line(&l, "# EOF");
	free(l.text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_values, set_up),
		cmocka_unit_test_setup(test_values_of_peers, set_up),
		cmocka_unit_test_setup(test_histogram, set_up),
		cmocka_unit_test_setup(test_names_stay_inside, set_up),
		cmocka_unit_test_setup(test_shape, set_up),
		cmocka_unit_test_setup(test_nothing_there, set_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
