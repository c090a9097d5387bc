/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat_check.c - see stat_check.h
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "stat_check.h"
#include "tool.h"

/* "W,C" or "C": cuts text at the comma, returns the second half or NULL. */
static char *split(char *text)
{
	char *comma = strchr(text, ',');

	if (comma)
		*comma++ = '\0';
	return comma;
}

static char *copy_of(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		tool_fail(TOOL_FAILED, "out of memory");
	return copy;
}

void stat_limit_messages(struct stat_limits *limits, const char *text)
{
	char *copy = copy_of(text), *second = split(copy);

	limits->warn_messages = second ? tool_number("--lag-messages", copy, 0, INT64_MAX)
				       : STAT_NO_LIMIT;
	limits->crit_messages = tool_number("--lag-messages", second ? second : copy, 0, INT64_MAX);
	if (second && limits->warn_messages > limits->crit_messages)
		tool_fail_usage("--lag-messages: %s warns only beyond what is critical", text);
	free(copy);
}

void stat_limit_seconds(struct stat_limits *limits, const char *text)
{
	char *copy = copy_of(text), *second = split(copy);

	limits->warn_ns = second ? (uint64_t)tool_duration("--lag-seconds", copy) : STAT_NO_LIMIT;
	limits->crit_ns = (uint64_t)tool_duration("--lag-seconds", second ? second : copy);
	if (second && limits->warn_ns > limits->crit_ns)
		tool_fail_usage("--lag-seconds: %s warns only beyond what is critical", text);
	free(copy);
}

static int verdict_on(const struct bus_stat_sub *s, const struct stat_limits *l)
{
	if (s->lag_messages > l->crit_messages || s->lag_ns > l->crit_ns)
		return STAT_CRITICAL;
	if (s->lag_messages > l->warn_messages || s->lag_ns > l->warn_ns)
		return STAT_WARNING;
	return STAT_OK;
}

/* What came of the look at all subscribers. */
struct findings {
	int verdict;
	const struct stat_sub *worst; /* of those with the worst verdict, who lags most */
	uint64_t max_messages, max_ns, lost;
	int subs, blocked;
};

static void look_at(struct findings *f, const struct stat_sub *sub, const struct stat_limits *limits)
{
	const struct bus_stat_sub *s = &sub->now;
	int verdict = verdict_on(s, limits);

	f->subs++;
	f->lost += s->lost;
	if (s->lag_messages > f->max_messages)
		f->max_messages = s->lag_messages;
	if (s->lag_ns > f->max_ns)
		f->max_ns = s->lag_ns;
	if (s->lag_messages == 0 || verdict < f->verdict)
		return;
	if (!f->worst || verdict > f->verdict || s->lag_ns > f->worst->now.lag_ns)
		f->worst = sub;
	f->verdict = verdict;
}

static void put_limit(const char *name, uint64_t limit, bool seconds)
{
	fputs(name, stdout);
	if (limit == STAT_NO_LIMIT)
		return;
	if (seconds)
		printf("%.9g", (double)limit / 1e9);
	else
		printf("%" PRIu64, limit);
}

static void put_performance(const struct findings *f, const struct stat_limits *l)
{
	printf(" | lag_messages=%" PRIu64, f->max_messages);
	put_limit(";", l->warn_messages, false);
	put_limit(";", l->crit_messages, false);
	printf(";0 lag_seconds=%.9fs", (double)f->max_ns / 1e9);
	put_limit(";", l->warn_ns, true);
	put_limit(";", l->crit_ns, true);
	printf(";0 lost=%" PRIu64 "c blocked=%d;;;0 subscribers=%d;;;0\n", f->lost, f->blocked,
	       f->subs);
}

/* Names come from processes; a bar would begin the performance data. */
static const char *clean(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%s", from);
	for (char *p = to; *p; p++)
		if (*p < 0x20 || *p > 0x7e || *p == '|')
			*p = '?';
	return to;
}

int stat_check(const struct stat_take *take, const struct stat_limits *limits, const char *trouble)
{
	static const char *const words[] = { "OK", "WARNING", "CRITICAL" };
	struct findings f = { .verdict = STAT_OK };
	char topic[BUS_TOPIC_MAX + 1], name[BUS_NAME_MAX + 1], text[512];

	for (int i = 0; i < take->topic_count; i++) {
		f.blocked += take->topics[i].blocked_pubs;
		for (int k = 0; k < take->topics[i].sub_count; k++)
			look_at(&f, &take->topics[i].subs[k], limits);
	}
	if (trouble)
		f.verdict = STAT_CRITICAL;
	printf("BUS %s - ", words[f.verdict]);
	if (trouble)
		printf("%s; ", clean(text, sizeof(text), trouble));
	if (f.worst)
		printf("%s: %s[%u] is %" PRIu64 " messages, %s behind",
		       clean(topic, sizeof(topic), f.worst->topic),
		       clean(name, sizeof(name), f.worst->now.name), f.worst->now.pid,
		       f.worst->now.lag_messages, tool_seconds(f.worst->now.lag_ns).s);
	else
		printf("%d topic%s, %d subscriber%s, no lag", take->topic_count,
		       take->topic_count == 1 ? "" : "s", f.subs, f.subs == 1 ? "" : "s");
	if (f.blocked)
		printf(", %d publisher%s blocked", f.blocked, f.blocked == 1 ? "" : "s");
	put_performance(&f, limits);
	return f.verdict;
}

int stat_check_unknown(const char *why)
{
	char text[512];

	printf("BUS UNKNOWN - %s\n", clean(text, sizeof(text), why));
	return STAT_NOT_KNOWN;
}
