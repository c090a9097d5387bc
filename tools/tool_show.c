/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tool_show.c - bytes, counts, durations and times as people read them.
 */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tool_own.h"

/* Three or four digits: 999, 99.9, 9.99; a whole number is shown as one. */
static void show_scaled(struct tool_text *t, double value, const char *unit)
{
	double whole = (double)(int64_t)value;
	int digits = value >= 100 || value == whole ? 0 : value >= 10 ? 1 : 2;

	snprintf(t->s, sizeof(t->s), "%.*f%s", digits, value, unit);
}

struct tool_text tool_bytes(uint64_t bytes)
{
	static const char *const units[] = { " B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB" };
	struct tool_text t;
	double value = (double)bytes;
	int u = 0;

	while (value >= 1024 && u < 6) {
		value /= 1024;
		u++;
	}
	show_scaled(&t, value, units[u]);
	return t;
}

struct tool_text tool_count(double count)
{
	static const char *const units[] = { "", "k", "M", "G", "T", "P" };
	struct tool_text t;
	int u = 0;

	while (count >= 999.5 && u < 5) {
		count /= 1000;
		u++;
	}
	show_scaled(&t, count, units[u]);
	return t;
}

struct tool_text tool_seconds(uint64_t ns)
{
	struct tool_text t;
	uint64_t s = ns / 1000000000;

	if (ns < 1000)
		snprintf(t.s, sizeof(t.s), "%u ns", (unsigned int)ns);
	else if (ns < 1000000)
		show_scaled(&t, (double)ns / 1e3, " us");
	else if (ns < 1000000000)
		show_scaled(&t, (double)ns / 1e6, " ms");
	else if (s < 120)
		show_scaled(&t, (double)ns / 1e9, " s");
	else if (s < 7200)
		snprintf(t.s, sizeof(t.s), "%um%02us", (unsigned int)(s / 60),
			 (unsigned int)(s % 60));
	else if (s < 172800)
		snprintf(t.s, sizeof(t.s), "%uh%02um", (unsigned int)(s / 3600),
			 (unsigned int)(s / 60 % 60));
	else
		snprintf(t.s, sizeof(t.s), "%ud%02uh", (unsigned int)(s / 86400),
			 (unsigned int)(s / 3600 % 24));
	return t;
}

static char *put_digits(char *to, uint32_t value, int digits)
{
	for (int i = digits - 1; i >= 0; i--, value /= 10)
		to[i] = (char)('0' + value % 10);
	return to + digits;
}

struct tool_text tool_time(uint64_t unix_ns)
{
	/* gmtime_r() costs more than a message: it is asked once a second. */
	static _Thread_local time_t known = -1;
	static _Thread_local char day[24];
	struct tool_text t;
	time_t s = (time_t)(unix_ns / 1000000000);
	char *p = t.s;

	if (s != known) {
		struct tm tm;

		gmtime_r(&s, &tm);
		strftime(day, sizeof(day), "%Y-%m-%dT%H:%M:%S", &tm);
		known = s;
	}
	for (const char *d = day; *d; d++)
		*p++ = *d;
	*p++ = '.';
	p = put_digits(p, (uint32_t)(unix_ns % 1000000000), 9);
	*p++ = 'Z';
	*p = '\0';
	return t;
}

struct tool_text tool_user(uint32_t uid)
{
	struct tool_text t;
	struct passwd entry, *found = NULL;
	char strings[4096];

	if (getpwuid_r(uid, &entry, strings, sizeof(strings), &found) == 0 && found)
		snprintf(t.s, sizeof(t.s), "%s", found->pw_name);
	else
		snprintf(t.s, sizeof(t.s), "%u", uid);
	return t;
}

bool tool_colour(void)
{
	const char *no = getenv("NO_COLOR");

	return isatty(STDOUT_FILENO) && !(no && *no);
}

struct tool_text tool_sync(uint32_t sync, uint64_t interval_ns)
{
	static const char *const names[] = { "default", "none", "interval", "batch", "memory" };
	struct tool_text text;

	if (sync == BUS_SYNC_INTERVAL)
		snprintf(text.s, sizeof(text.s), "interval:%ju", (uintmax_t)(interval_ns / 1000000));
	else
		snprintf(text.s, sizeof(text.s), "%s", sync <= BUS_SYNC_MEMORY ? names[sync] : "?");
	return text;
}

const char *tool_log_state(uint32_t state)
{
	static const char *const names[] = { "none",    "opening", "running",
					     "failing", "full",    "stopped" };

	return state <= BUS_LOG_STOPPED ? names[state] : "?";
}
