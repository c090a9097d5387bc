/* SPDX-License-Identifier: Apache-2.0 */
/*
 * attack_rig.h - a busd with four users, two of whom are innocent: one publishes numbered messages on
 * pit.good, one subscribes to pit.> and checks each of them. Attacks are made by a third user, in a
 * process for each; after every one the innocents must have gone on, with nothing lost and nothing
 * wrong. Needs root. Not for programs that use cmocka.
 *
 *	attack_open(extra configuration);
 *	attack("what is tried", function);       0: refused or contained; else the line that was not
 *	return attack_close();
 */
#ifndef TESTS_ATTACK_RIG_H
#define TESTS_ATTACK_RIG_H

#include "lib/proto_rig.h"

#define GOOD_PUBLISHER  64101 /* publishes on pit.good, as 64102 may too */
#define GOOD_SUBSCRIBER 64102
#define EVIL            64103 /* may do everything below pit. and own. */
#define STRANGER        64104 /* may do nothing */
#define PIT             "pit.good"

/* What the innocents see, in memory that all processes share. */
struct attack_view {
	_Atomic uint64_t sent, got; /* good messages */
	_Atomic uint64_t wrong;     /* a gap, a loss, other bytes, another sender, an error */
	_Atomic uint64_t dirt;      /* messages of other publishers, read to their last byte */
	_Atomic uint64_t dirty_ids; /* of them, not attested to be of EVIL */
	_Atomic uint64_t refused;   /* peeks that found no message (-EBADMSG, ...) */
	_Atomic uint64_t evictions; /* of the good subscriber, */
	_Atomic uint64_t bearable; /* so many of which an attacker may bring about, from his own ring */
	_Atomic uint64_t longest_ns;            /* between two good messages read */
	_Atomic uint64_t publisher, subscriber; /* their pids */
	char said[256];                         /* the first thing that was wrong */
};
extern struct attack_view *attack_view;
extern struct proto_busd attack_busd;

/* 0, or 77: not possible here, which was said */
int attack_open(const char *config);
/* As this user, in a process of its own, with no groups. */
void attack_as(uid_t uid, const char *what, int (*attempt)(void));
void attack(const char *what, int (*attempt)(void));
/* The same by a function that runs as root in the test itself (to look at busd afterwards). */
void attack_check(const char *what, int (*check)(void));
/* 0: all held */
int attack_close(void);

/* In an attempt: the first thing that does not hold ends it, by its line. */
#define HOLDS(cond) \
	do { \
		if (!(cond)) { \
			attack_note(__FILE__, __LINE__, #cond); \
			return __LINE__; \
		} \
	} while (0)
void attack_note(const char *file, int line, const char *what);

/* The good publisher's ring as a subscriber's SUB_OPEN announces it, and all descriptors on the way. */
struct attack_loot {
	struct proto_msg segments[32]; /* with their descriptors */
	unsigned segment_count;
	struct ctl_ev_ring ring;
};
/* Subscribes to the topic and takes what busd sends. 0 or -errno */
int attack_subscribe(struct proto_client *client, struct proto_sub *sub, struct attack_loot *loot);
/*
 * The whole of it: a reader of the good publisher's ring, beginning now; *page is that ring's writer page.
 * As an attempt.
 */
int attack_join_the_good(struct proto_client *client, struct proto_sub *sub,
			 struct attack_loot *loot, const struct ring_writer_page **page);
void attack_drop_loot(struct attack_loot *loot);

/* Open descriptors of busd (all of its processes). */
unsigned attack_busd_files(void);
/* What root's INFO says now. */
int attack_info(struct ctl_info_reply *ret);

#endif
