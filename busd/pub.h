/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pub.h - what publishers ask: open, ready, grow, close, evict. Each is a request of request.c's
 * table: 0 (answered, or will be) or -errno with a sentence.
 */
#ifndef BUSD_PUB_H
#define BUSD_PUB_H

#include "client.h"

int pub_open(struct client *client, const void *msg, struct why *why);
int pub_ready(struct client *client, const void *msg, struct why *why);
int pub_grow(struct client *client, const void *msg, struct why *why);
int pub_close(struct client *client, const void *msg, struct why *why);
int pub_evict(struct client *client, const void *msg, struct why *why);

/* CTL_EVC_LYING: the cursor of this subscription at its ring cannot be. */
void pub_reader_lies(struct client *client, uint64_t ring_id, uint64_t sub_id);

/* This client's publisher of that id, or NULL with a sentence. */
struct pub *pub_of(struct client *client, uint64_t pub_id, struct why *why);

#endif
