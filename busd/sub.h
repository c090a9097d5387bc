/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sub.h - what subscriptions ask: open, join, rejoin, close, done with a ring. Requests of
 * request.c's table: 0 (answered, or will be) or -errno with a sentence.
 */
#ifndef BUSD_SUB_H
#define BUSD_SUB_H

#include "client.h"

int sub_open(struct client *client, const void *msg, struct why *why);
int sub_join(struct client *client, const void *msg, struct why *why);
int sub_rejoin(struct client *client, const void *msg, struct why *why);
int sub_close(struct client *client, const void *msg, struct why *why);
void sub_ring_done(struct client *client, uint64_t sub_id, uint64_t ring_id);

#endif
