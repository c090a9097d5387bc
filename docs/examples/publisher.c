/* SPDX-License-Identifier: Apache-2.0 */
/* publisher.c - publishes one message on the topic "greetings": the program at the top of bus.h. */
#include <bus.h>
#include <err.h>
#include <string.h>

int main(void)
{
	struct bus *bus;
	struct bus_pub *pub;
	int r;

	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_pub_open(&pub, bus, "greetings", NULL) < 0)
		errx(1, "%s", bus_why(bus));
	r = bus_pub_send(pub, "hello", 5);
	if (r < 0)
		errx(1, "cannot publish: %s", strerror(-r));
	bus_close(bus); /* closes the publisher too; subscribers read to its end */
	return 0;
}
