/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proto_rig.h - a busd of the test's own, and clients that speak its protocol byte by byte, without
 * libbus: they can say what libbus never would. Failures are return values; knows nothing of
 * cmocka.
 */
#ifndef TESTS_PROTO_RIG_H
#define TESTS_PROTO_RIG_H

#include "format/control_proto.h"

#include <stdio.h>
#include <sys/types.h>

struct proto_busd {
	pid_t pid;
	char dir[64];
	char path[96]; /* of the socket */
	char log[96];
};

/* Starts $BUS_BUILD/busd in a directory of its own and waits until it listens. config: text of a file, NULL none; files: limit
 * of open files, 0 as it is. 0 or -errno. */
int proto_busd_start(struct proto_busd *busd, const char *config, unsigned files);
/* SIGTERM; removes the directory. The exit code, or -errno. */
int proto_busd_stop(struct proto_busd *busd);
/* The pid of its worker now; busd->pid is the keeper. 0: there is none. */
pid_t proto_busd_worker(const struct proto_busd *busd);
/* Does its log have a line with this text? */
bool proto_busd_logged(const struct proto_busd *busd, const char *text);

struct proto_msg {
	ssize_t len;
	int fd_count;
	int fds[CTL_MAX_FDS];
	union {
		struct ctl_head head;
		struct ctl_error error;
		struct ctl_hello_reply hello;
		struct ctl_ok ok;
		struct ctl_pub_reply pub;
		struct ctl_pub_ready_reply ready;
		struct ctl_evict_reply evict;
		struct ctl_sub_reply sub;
		struct ctl_topic_next_reply topic;
		struct ctl_client_next_reply client;
		struct ctl_info_reply info;
		struct ctl_ev_segment segment;
		struct ctl_ev_segment_gone segment_gone;
		struct ctl_ev_member member;
		struct ctl_ev_ring ring;
		struct ctl_ev_ring_gone ring_gone;
		uint8_t bytes[2048];
	};
};

int proto_dial(const char *path); /* a connected socket, or -errno */
int proto_send(int fd, const void *bytes, size_t len);
/* 1: a message; 0: none within timeout_ms; -1: the other side has gone and all was read. */
int proto_take(int fd, struct proto_msg *msg, int timeout_ms);
void proto_close_fds(struct proto_msg *msg);

struct proto_client {
	int ctl, ev;
	uint32_t req;
	struct ctl_hello_reply hello;
	int bell_fd; /* own bell page, writable, until attached */
	char why[CTL_WHY_MAX];
	struct bell_page *busd_bell;
};

/* Connects, HELLO; ATTACH if attach. 0 or the negative errno that busd answered. */
int proto_greet(struct proto_client *client, const char *path, const char *name, bool attach);
int proto_attach(struct proto_client *client);
void proto_leave(struct proto_client *client);

#define PROTO_HEAD(type_, size_) \
	{ \
		.type = (type_), .version = CTL_VERSION, .len = (uint32_t)(size_) \
	}
/* Sends a request (its req is filled in) and takes the answer. 0, or the negative errno of an error answer with its
 * sentence in client->why; -EPIPE: busd hung up; -ETIMEDOUT. */
int proto_ask(struct proto_client *client, void *request, struct proto_msg *answer);

/* A publisher: opened and, unless only_open, ready. */
struct proto_pub {
	struct ctl_pub_reply reply;
	struct ring_writer_page *page; /* writable */
	int fd;                        /* writable; -1 once ready */
	uint64_t number;
};
int proto_pub_open(struct proto_client *client, const char *topic, uint64_t bytes, bool only_open,
		   struct proto_pub *ret);
int proto_pub_ready(struct proto_client *client, struct proto_pub *pub);
int proto_pub_close(struct proto_client *client, struct proto_pub *pub);
void proto_pub_publish(struct proto_pub *pub, uint64_t count); /* moves head, no more */

/* A subscription: opened and, unless only_open, joined. */
struct proto_sub {
	struct ctl_sub_reply reply;
	struct cursor_segment *cursors;
	int fd;
};
int proto_sub_open(struct proto_client *client, const char *pattern, uint32_t flags, uint32_t start,
		   bool only_open, struct proto_sub *ret);
int proto_sub_join(struct proto_client *client, struct proto_sub *sub);
int proto_sub_close(struct proto_client *client, struct proto_sub *sub);

/*
 * The next event of this type on ev; others are passed over and their descriptors closed. As
 * proto_take().
 */
int proto_event(struct proto_client *client, uint16_t type, struct proto_msg *msg, int timeout_ms);

#endif
