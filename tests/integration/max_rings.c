/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Proves: a subscription whose max_rings are in use is told so, once, by bus_sub_peek(); the
 * publisher that it missed is read as soon as another one has gone.
 */
#include <errno.h>

#include "lib/bus_rig.h"

static void expect(struct bus_sub *sub, char want)
{
	struct bus_msg m;

	rig_next(sub, &m);
	EQUAL(*(const char *)m.data, want);
	OK(bus_sub_release(sub, 1));
}

static void publishers_come_later(struct bus *bus)
{
	struct bus_pub *first, *second;
	struct bus_sub *sub;
	struct bus_msg m;

	OK(bus_sub_open(&sub, bus, "few", BUS_OPTS(sub, .max_rings = 1)));
	OK(bus_pub_open(&first, bus, "few", NULL));
	OK(bus_pub_open(&second, bus, "few", NULL));
	OK(bus_pub_send(first, "a", 1));
	OK(bus_pub_send(second, "b", 1));
	EQUAL(bus_sub_peek(sub, &m, 1), -ENOBUFS);
	expect(sub, 'a');
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	bus_pub_close(first);
	for (int tries = 0; OK(bus_sub_wait(sub, 0)) == 0 && tries < 100; tries++) {
		struct bus_sub_info info;

		OK(bus_pub_send(second, "c", 1)); /* "b" was sent before it could be attached */
		rig_sleep_ms(5);
		OK(bus_sub_info(sub, &info));
		CHECK(info.rings <= 1);
	}
	expect(sub, 'c');
	bus_sub_close(sub);
	bus_pub_close(second);
}

static void publishers_were_there(struct bus *bus)
{
	struct bus_pub *pub[3];
	struct bus_sub *sub;
	struct bus_msg m;

	for (int i = 0; i < 3; i++)
		OK(bus_pub_open(&pub[i], bus, "many", NULL));
	OK(bus_sub_open(&sub, bus, "many", BUS_OPTS(sub, .max_rings = 2)));
	EQUAL(bus_sub_peek(sub, &m, 1), -ENOBUFS);
	EQUAL(bus_sub_peek(sub, &m, 1), 0);
	bus_sub_close(sub);
	for (int i = 0; i < 3; i++)
		bus_pub_close(pub[i]);
}

int main(void)
{
	struct bus *bus;

	rig_busd_start(NULL);
	bus = rig_connect("both");
	publishers_come_later(bus);
	publishers_were_there(bus);
	bus_close(bus);
	return rig_done();
}
