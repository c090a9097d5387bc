/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies and judgements that several scenarios share; see world.h. */
#include "world.h"

void publisher_send_all(struct publisher *p)
{
	while (p->ring.n < plan.messages && !p->shut) {
		publisher_point(p, 1);
		if (plan.send_batch)
			publisher_send_batch(p, plan.send_batch);
		else
			publisher_send(p);
	}
	publisher_point(p, 9);
}

void body_publish(int me)
{
	struct publisher *p = publisher_of(me);

	publisher_begin(p, me, me);
	for (int s = 0; s < plan.subs; s++)
		publisher_knows(p, s, 0);
	publisher_send_all(p);
}

static bool read_all(const struct subscriber *s)
{
	for (int r = 0; r < plan.pubs; r++)
		if (s->rd[r].cur < plan.messages)
			return false;
	return true;
}

void body_subscribe(int me)
{
	struct subscriber *s = subscriber_of(me);

	subscriber_begin(s, me);
	for (int r = 0; r < plan.pubs; r++)
		subscriber_knows(s, r);
	while (!read_all(s)) {
		subscriber_point(s, 1);
		if (!subscriber_take(s))
			subscriber_wait(s);
	}
	subscriber_flush(s);
	subscriber_point(s, 2);
}

void body_busd(int me)
{
	struct busd *b = busd_of(me);

	busd_begin(b, me);
	for (int r = 0; r < plan.pubs; r++) {
		b->owner[r] = (uint8_t)r;
		b->reads[r] = (uint8_t)((1u << plan.subs) - 1);
	}
	busd_serve(b);
}

void begin_known(const struct world_plan *p, bool mortal_pubs, bool mortal_subs)
{
	world_setup(p);
	for (int i = 0; i < plan.pubs; i++)
		explore_party(i == 0 ? "pub0" : "pub1", body_publish, mortal_pubs);
	for (int i = 0; i < plan.subs; i++) {
		explore_party(i == 0 ? "sub0" : "sub1", body_subscribe, mortal_subs);
		for (int r = 0; r < plan.pubs; r++)
			world_reads(i, r);
	}
	if (plan.busd)
		explore_party("busd", body_busd, false);
}

const char *all_returned(void)
{
	for (int p = 0; p < plan.pubs + plan.subs + (plan.busd && plan.ends); p++) {
		if (explore_asleep(p))
			return "lost wake-up: a party sleeps, nobody will wake it, and it is not done";
		if (!explore_ended(p))
			return "a party waits for ever";
	}
	return NULL;
}

const char *nothing_lost(void)
{
	const char *why = all_returned();

	for (int i = 0; i < plan.subs && !why; i++) {
		const struct subscriber *s = subscriber_of(world_sub(i));

		for (int r = 0; r < plan.pubs && !why && !explore_killed(world_sub(i)); r++) {
			if (s->rd[r].delivered + s->rd[r].lost + s->first[r] != s->rd[r].cur &&
			    !s->parked)
				why = "delivered and lost do not add up";
			else if (s->rd[r].lost && s->reliable)
				why = "a reliable subscriber lost a message";
		}
	}
	if (!why && ghost->oracle.reported)
		why = "an honest reader was taken for a liar";
	return why;
}
