/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling.h - how long a wait polls before it sleeps.
 *
 * Polling is worth it where what is waited for comes soon. Where it does not, it takes a processor from those who would
 * make it come. So, unless the caller named a time, who has waited longer than polling lasts twice in a row polls in one
 * wait of 16 only, until one is short again, asleep or not. (Linux adapts the polling of virtual machines' halts by the
 * same measure: Documentation/virt/kvm/halt-polling.rst.) The one of 16 is for two that answer each other: asleep both,
 * each would be too slow for the other for ever.
 */
#ifndef BUS_API_POLLING_H
#define BUS_API_POLLING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"

#define POLLING_NS       20000u /* where the caller named none */
#define POLLING_FOR_EVER UINT64_MAX
#define POLLING_VAIN     2
#define POLLING_TRIES    16

#define POLLING_NAP_MOST_NS  400000u
#define POLLING_NAP_LEAST_NS 20000u
#define POLLING_NAP_MESSAGES 256

struct polling {
	uint64_t ns; /* FOR_EVER: never sleeps; 0: at once */
	bool adapts;
	uint32_t vain;   /* waits in a row that it did not shorten */
	uint64_t nap_ns; /* polling_learn_nap(): of the next wait; 0: none */
};

/* opt: spin_ns as in bus_sub_opts and bus_pub_opts */
static inline struct polling polling_of(int64_t opt)
{
	return (struct polling){ .ns = opt == 0    ? POLLING_NS
				       : opt == -1 ? POLLING_FOR_EVER
				       : opt == 1  ? 0
						   : (uint64_t)opt,
				 .adapts = opt == 0 };
}

/* Until when a wait that began then polls. */
static inline uint64_t polling_until(const struct polling *p, uint64_t began, uint64_t deadline)
{
	if (p->vain >= POLLING_VAIN && p->vain % POLLING_TRIES != 0)
		return began;
	return p->ns == POLLING_FOR_EVER ? deadline : bus_min_u64(deadline, began + p->ns);
}

/* A wait is over; now: 0 where it did not sleep. */
static inline void polling_learn(struct polling *p, uint64_t began, uint64_t now)
{
	if (p->adapts)
		p->vain = now > began + p->ns ? p->vain + 1 : 0;
}

/*
 * Where more readers are awake than processors, one that is woken by the first message takes the processor from who
 * would write the next ones, and they do little else than give way to each other. It shows: a quarter of the ring had come
 * when a reader got up, and its waits are long. Such a reader sleeps for half the time in which the ring would be full,
 * without telling anybody: it is not woken by a message, and then finds half a ring.
 * (64 bytes to 4 subscribers on 2 processors: 7.0 to 12.9 million messages a second, to 16: 2.0 to 3.7.)
 *
 * came: messages that stood in the ring of `slots` when a wait of waited_ns was over; 0: none.
 */
static inline void polling_learn_nap(struct polling *p, uint64_t waited_ns, uint64_t came,
				     uint64_t slots)
{
	p->nap_ns = 0;
	if (!p->adapts || p->vain < POLLING_VAIN || came < POLLING_NAP_MESSAGES ||
	    came < slots / 4 || came > slots)
		return;
	p->nap_ns = bus_min_u64(waited_ns * (slots / 2) / came, POLLING_NAP_MOST_NS);
	if (p->nap_ns < POLLING_NAP_LEAST_NS)
		p->nap_ns = 0;
}

#endif
