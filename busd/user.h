/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.h - what all clients of one uid share: the account, the words in bell pages, busd's own
 * bell page for them.
 */
#ifndef BUSD_USER_H
#define BUSD_USER_H

#include "format/ring_layout.h"
#include "quota.h"

struct busd;
struct segment;

struct user {
	struct quota_account account; /* account.uid */
	struct segment *busd_bell;    /* NULL while it has no client */
	uint64_t slots[BELL_WORDS / 64];
	uint64_t log_from_ns; /* user_may_log() */
	uint32_t log_count, log_left_out;
	uint64_t place; /* in the journal */
};

/*
 * Found or made; users are kept, since what they left behind may still be charged to them. NULL:
 * no memory.
 */
struct user *user_get(struct busd *busd, uint32_t uid);

/*
 * May one more warning about this user be written? One who does wrong all the time must not fill
 * the disk: how many were left out is said later.
 */
bool user_may_log(struct user *user);

/*
 * The lowest free word, and busd's bell page where it is the first. The slot, or -EDQUOT,
 * -ENOMEM, ...
 */
int user_take_slot(struct busd *busd, struct user *user, struct why *why);
void user_release_slot(struct user *user, uint32_t slot);

/*
 * Rings busd's bell for the client in this slot: increment, then wake. The message it is about
 * must be under way.
 */
void user_ring_bell(struct user *user, uint32_t slot);

#endif
