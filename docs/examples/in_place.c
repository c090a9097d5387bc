/* SPDX-License-Identifier: Apache-2.0 */
/*
 * in_place.c - publishes standard input in messages of up to 64 KiB that are read straight into the
 * ring: between the file and the subscribers' eyes no copy is made.
 *
 *	in_place TOPIC < file
 */
#include <bus.h>
#include <err.h>
#include <string.h>
#include <unistd.h>

#define CHUNK 65536

int main(int argc, char **argv)
{
	struct bus_claim claim;
	struct bus *bus;
	struct bus_pub *pub;
	ssize_t got;
	int r;

	if (argc != 2)
		errx(2, "usage: in_place TOPIC < file");
	if (bus_connect(&bus, NULL) < 0)
		errx(1, "%s", bus_why(NULL));
	if (bus_pub_open(&pub, bus, argv[1], BUS_OPTS(pub, .bytes = 1 << 20)) < 0)
		errx(1, "%s", bus_why(bus));
	for (;;) {
		r = bus_pub_claim(pub, CHUNK,
				  &claim); /* waits where the slowest reader leaves no room */
		if (r < 0)
			errx(1, "no room: %s", strerror(-r));
		got = read(STDIN_FILENO, claim.data, claim.len);
		if (got <= 0)
			break;
		claim.len = (uint32_t)got; /* may be lowered, never raised */
		r = bus_pub_commit(pub, &claim);
		if (r < 0)
			errx(1, "cannot publish: %s", strerror(-r));
	}
	bus_pub_abort(pub, &claim); /* the room is given back, nothing was published */
	if (got < 0)
		err(1, "cannot read");
	bus_close(bus);
	return 0;
}
