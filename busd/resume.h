/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resume.h - clients of a former worker come back. Each is told all that concerns it once more, and
 * goes on where it was.
 *
 * For a moment after the start (RESUME_NS at most) requests of others wait: a change of who gates
 * is not answered before the publishers whom it concerns have heard of it, and those who publish
 * all the time come back within milliseconds. A publisher that sleeps for hours is not waited for:
 * when it wakes it finds the epoch moved, comes back, and learns what there is before it goes on.
 */
#ifndef BUSD_RESUME_H
#define BUSD_RESUME_H

#include "registry.h"

#define RESUME_NS UINT64_C(200000000)

/* true: this newcomer was a client of a former worker, and is that client again. */
bool resume_client(struct client *newcomer, const struct ctl_hello *hello);
/* After a restart with clients. */
void resume_begin(struct busd *busd);
/* Is a publisher of this topic still to come back, and waited for? */
bool resume_waits(const struct topic *topic);
/* Somebody came back or went: what waited for it goes on. */
void resume_settle(struct busd *busd);
/* TIMER_RECOVER: whoever is not back yet is not waited for. */
void resume_end(struct busd *busd);

#endif
