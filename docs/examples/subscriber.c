/* SPDX-License-Identifier: Apache-2.0 */
/* subscriber.c - prints what is published on the topic "greetings", until it is stopped. */
#include <bus.h>
#include <err.h>
#include <stdio.h>

int main(void)
{
	struct bus *bus;
	struct bus_sub *sub;
	struct bus_msg m;

	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_sub_open(&sub, bus, "greetings", NULL) < 0)
		errx(1, "%s", bus_why(bus));
	while (bus_sub_wait(sub, -1) > 0) { /* polls for a while, then sleeps */
		while (bus_sub_peek(sub, &m, 1) > 0) {
			/* m.data lies in the publisher's memory: no copy was made. */
			printf("%.*s\n", (int)m.len, (const char *)m.data);
			if (bus_sub_release(sub, 1) < 0)
				warnx("evicted while reading: the line above may be garbage");
		}
		fflush(stdout);
	}
	bus_close(bus);
	return 0;
}
