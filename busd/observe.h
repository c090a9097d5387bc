/* SPDX-License-Identifier: Apache-2.0 */
/*
 * observe.h - tools that look on: they are given, read-only, the boards, rings and cursors of
 * what matches, now and as it appears. They gate nothing and stand on no board.
 */
#ifndef BUSD_OBSERVE_H
#define BUSD_OBSERVE_H

#include "registry.h"

int observe_start(struct client *client, const void *msg, struct why *why);
int observe_stop(struct client *client, const void *msg, struct why *why);

/* All that a client that came back observes. */
void observe_resume(struct client *client);
/* Something appeared. */
void observe_board(struct topic *topic);
void observe_ring(struct ring *ring);
void observe_cursors(struct sub *sub);
void observe_membership(struct member *member);
/* Rights changed: everybody is shown what he may see now, and nothing else. */
void observe_again(struct busd *busd);
/* ... or went. */
void observe_gone(struct busd *busd, struct segment *seg);

#endif
