/* SPDX-License-Identifier: Apache-2.0 */
/* tool_progress.c - how far long work has come, over one line of a terminal. */
#include <stdio.h>
#include <unistd.h>

#include "tool.h"

#define AFTER_NS 2000000000
#define EACH_NS  500000000

void tool_progress_start(struct tool_progress *p, bool wanted)
{
	p->wanted = wanted && isatty(STDERR_FILENO);
	p->start_ns = tool_clock_ns();
	p->next_ns = p->start_ns + AFTER_NS;
}

void tool_progress_show(struct tool_progress *p, uint64_t messages, uint64_t bytes)
{
	int64_t now;

	if (!p->wanted)
		return;
	now = tool_clock_ns();
	if (now < p->next_ns)
		return;
	p->next_ns = now + EACH_NS;
	fprintf(stderr, "\r%s messages, %s, %s/s \033[K", tool_count((double)messages).s,
		tool_bytes(bytes).s,
		tool_count((double)messages / (double)(now - p->start_ns) * 1e9).s);
}

void tool_progress_clear(const struct tool_progress *p)
{
	if (p->wanted && p->next_ns > p->start_ns + AFTER_NS)
		fprintf(stderr, "\r\033[K");
}
