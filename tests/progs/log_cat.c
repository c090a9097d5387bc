/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log_cat.c - prints the payload of each message in a log's directory and a newline, and on stderr what is
 * missing: log_cat DIR. For scripts that compare a log with what was published.
 */
#include <inttypes.h>
#include <stdio.h>

#include "bus_log.h"

static void tell_gaps(struct bus_log *log)
{
	struct bus_log_gap gap;
	uint32_t at = 0;

	while (bus_log_gap_next(log, &at, &gap) > 0)
		fprintf(stderr, "%" PRIu64 " to %" PRIu64 ": %s\n", gap.from, gap.to,
			bus_log_fault_text(gap.why));
}

int main(int argc, char **argv)
{
	struct bus_msg msgs[BUS_LOG_BATCH];
	struct bus_log *log;
	int n = argc == 2 ? bus_log_open(&log, argv[1], NULL) : -1;

	if (n < 0) {
		fprintf(stderr, "log_cat: %s\n", argc == 2 ? bus_why(NULL) : "usage: log_cat DIR");
		return 1;
	}
	while ((n = bus_log_next(log, msgs, BUS_LOG_BATCH)) > 0) {
		tell_gaps(log);
		for (int i = 0; i < n; i++) {
			fwrite(msgs[i].data, 1, msgs[i].len, stdout);
			putchar('\n');
		}
	}
	tell_gaps(log);
	bus_log_close(log);
	if (n < 0)
		fprintf(stderr, "log_cat: %s\n", bus_why(NULL));
	return n < 0 || fflush(stdout) != 0;
}
