/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quota.h - who may have how much: pure decisions over counters, no I/O. An account belongs to
 * one uid; all accounts of one busd share a total. What lies on a topic is charged to the topic's
 * namespace as well (namespace.h).
 */
#ifndef BUSD_QUOTA_H
#define BUSD_QUOTA_H

#include "why.h"

struct namespace;

/* What a connection costs: two sockets, a descriptor of the process (its bell page is billed). */
#define QUOTA_CLIENT_FILES 3

struct quota_limits {
	uint64_t memory, user_memory; /* bytes of shared memory: of all, of one user */
	uint32_t files, user_files;   /* descriptors of busd */
	uint32_t user_clients;
	uint32_t user_handshakes; /* connections that have not introduced themselves yet */
	uint32_t user_in_flight;  /* descriptors sent and not read yet */
	uint32_t user_topics;
};

struct quota {
	struct quota_limits limits;
	uint64_t memory;
	uint32_t files;
};

struct quota_account {
	struct quota *total;
	uint32_t uid;
	bool owner; /* root, or the user that busd runs as: of memory and files only the total counts */
	uint64_t memory;
	uint32_t files, clients, handshakes, in_flight, topics;
};

/* What a segment was charged for; stands in the segment, so that it can be given back. */
struct quota_bill {
	struct quota_account *account; /* NULL: nobody pays */
	struct namespace *space;       /* NULL: it lies in none */
	uint64_t bytes;
	uint32_t files;
};

/* 0 and it is taken, or -EDQUOT with a sentence that names limit and use. */
int quota_charge(const struct quota_bill *bill, struct why *why);
/* A segment turned out smaller than charged, or grew by a page or so: counted, not refused. */
void quota_correct(struct quota_bill *bill, int64_t bytes);
/* A former worker charged it: counted, not refused. */
void quota_restore(const struct quota_bill *bill);
void quota_refund(const struct quota_bill *bill);

/* A connection: one that has yet to introduce itself, until quota_end_handshake(). */
int quota_take_client(struct quota_account *account, struct why *why);
/* It came back to a new worker: counted, not refused. */
void quota_adopt_client(struct quota_account *account);
void quota_end_handshake(struct quota_account *account);
void quota_give_back_client(struct quota_account *account, bool in_handshake);
/* May one more descriptor be sent to this user before those sent were read? */
bool quota_may_fly(const struct quota_account *account);
int quota_take_topic(struct quota_account *account, struct why *why);

/* "12.0 MiB"; buf of 32 bytes. */
const char *quota_bytes_text(uint64_t bytes, char *buf);

#endif
