/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greet.h - how a connection begins: HELLO (who speaks which protocol, the ev socket, the bells)
 * and ATTACH (the bell page is mapped, so it can be sealed).
 */
#ifndef BUSD_GREET_H
#define BUSD_GREET_H

#include "client.h"

/*
 * Is this the beginning of a conversation in our protocol, and in a version that both speak? Looks
 * at nothing but what is the same in all versions. Pure.
 */
int greet_check(const void *bytes, size_t len, struct client_versions *ret, struct why *why);

/* The answer to a HELLO of somebody new. */
struct ctl_hello_reply greet_reply(const struct client *client, const struct ctl_hello *hello);

int greet_hello(struct client *client, const void *msg, struct why *why);
int greet_attach(struct client *client, const void *msg, struct why *why);
int greet_leave(struct client *client, const void *msg, struct why *why);

#endif
