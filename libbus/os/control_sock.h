/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control_sock.h - one packet at a time over a UNIX SEQPACKET socket, with descriptors. Knows
 * framing, nothing of what the messages mean.
 */
#ifndef BUS_CONTROL_SOCK_H
#define BUS_CONTROL_SOCK_H

#include "format/control_size.h"

struct control_packet {
	size_t len;
	int fd_count;
	/*
	 * the kernel could not deliver all descriptors (MSG_CTRUNC): this process has no room for
	 * them
	 */
	bool fds_lost;
	int fds[CTL_MAX_FDS]; /* the receiver's to close */
	union {
		struct ctl_head head;
		uint8_t bytes[CTL_MAX];
	} BUS_ALIGNED(8);
};

/* Connects to a path. A descriptor, or -errno. */
int control_connect(const char *path);

/*
 * Sends one message; msg opens with a ctl_head whose len is right. Never blocks: -EAGAIN where the
 * peer does not read.
 */
int control_send(int fd, const void *msg, const int *fds, int fd_count);

/*
 * Receives one packet without blocking. 1: *packet is filled, and its head is consistent with its
 * length; 0: nothing there; -EPIPE: the other side has gone and everything it sent has been read;
 * -EPROTO: not a message.
 */
int control_recv(int fd, struct control_packet *packet);

/*
 * Waits until fd or `other` (-1: none) is readable or gone, at most until the CLOCK_MONOTONIC
 * deadline (UINT64_MAX: for ever). 0, -ETIMEDOUT.
 */
int control_wait(int fd, int other, uint64_t deadline_ns);

void control_close_fds(struct control_packet *packet);

/* Protocol versions for a sentence: `3`, or `3 to 5`. */
#define CONTROL_VERSIONS_TEXT 16
const char *control_versions(uint16_t min, uint16_t max, char text[CONTROL_VERSIONS_TEXT]);

#endif
