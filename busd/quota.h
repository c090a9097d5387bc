/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.h - who may have how much: pure decisions over counters, no I/O. An account belongs to
 * one uid; all accounts of one busd share a total.
 */
#ifndef BUSD_QUOTA_H
#define BUSD_QUOTA_H

#include "why.h"

struct quota_limits {
	uint64_t memory, user_memory;     /* bytes of shared memory: of all, of one user */
	uint32_t segments, user_segments; /* each costs busd a descriptor or two */
	uint32_t user_clients;
	uint32_t user_topics;
};

struct quota {
	struct quota_limits limits;
	uint64_t memory;
	uint32_t segments;
};

struct quota_account {
	struct quota *total;
	uint32_t uid;
	bool owner; /* root, or the user that busd runs as: only the total counts */
	uint64_t memory;
	uint32_t segments, clients, topics;
};

/* 0 and the bytes of one segment are taken, or -EDQUOT with a sentence that names limit and use. */
int quota_charge(struct quota_account *account, uint64_t bytes, struct why *why);
/* A segment turned out smaller than charged, or grew by a page or so: counted, not refused. */
void quota_correct(struct quota_account *account, int64_t bytes);
void quota_refund(struct quota_account *account, uint64_t bytes);

int quota_take_client(struct quota_account *account, struct why *why);
int quota_take_topic(struct quota_account *account, struct why *why);

/* "12.0 MiB"; buf of 32 bytes. */
const char *quota_bytes_text(uint64_t bytes, char *buf);

#endif
