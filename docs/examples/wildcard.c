/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wildcard.c - watches all topics that match a pattern, those too that appear later, and never
 * holds a publisher back: what it is too slow for is lost, and counted. Messages are copied out, so
 * each one that is shown is whole.
 *
 *	wildcard PATTERN [COUNT]		wildcard 'sensors.*.temperature'
 */
#include <bus.h>
#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void show(const struct bus_msg *m)
{
	const void *unit;
	uint32_t unit_len;

	if (m->lost > 0)
		printf("(%llu lost) ", (unsigned long long)m->lost);
	printf("%s %llu from %s: %.*s", m->topic, (unsigned long long)m->seq, m->from->name,
	       (int)m->len, (const char *)m->data);
	if (bus_msg_header(m, "unit", &unit, &unit_len) == 1)
		printf(" %.*s", (int)unit_len, (const char *)unit);
	printf("\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0, seen = 0;
	static char buf[65536];
	struct bus *bus;
	struct bus_sub *sub;
	struct bus_msg m;

	if (argc != 2 && argc != 3)
		errx(2, "usage: wildcard PATTERN [COUNT]");
	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_sub_open(&sub, bus, argv[1], BUS_OPTS(sub, .policy = BUS_LOSSY)) < 0)
		errx(1, "%s", bus_why(bus));
	while (bus_sub_wait(sub, -1) > 0) {
		int r = bus_sub_recv(sub, buf, sizeof(buf), &m);

		if (r == -EMSGSIZE)
			errx(1, "a message of %u bytes on %s is too long here", m.len, m.topic);
		if (r < 0)
			warnx("%s",
			      strerror(-r)); /* bus_sub_peek() in bus.h says what; going on is right */
		if (r <= 0)
			continue;
		show(&m);
		if (++seen == count)
			break;
	}
	bus_close(bus);
	return 0;
}
