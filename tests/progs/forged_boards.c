/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forged_boards SOCKET - maps what looks like the segments of a busd that listened at SOCKET and is
 * hostile to whoever looks at it: names of ours on files that are empty, too short, full of nonsense
 * or cut under the reader's eyes; and a board with the seals, the magic number and the socket of a
 * real one, on which everything else is a lie that changes all the time. Says "ready", and goes on
 * until it is killed. For integration/stat_without_busd.sh.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format/board_layout.h"
#include "format/control_proto.h"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

#define SLOTS_OFF   4096
#define PAYLOAD_OFF (SLOTS_OFF + 4096)
#define RING_SIZE   (PAYLOAD_OFF + 4096)

struct fake {
	int fd;
	uint8_t *at;
	uint64_t inode;
};

static uint64_t state = 88172645463325252u;

static uint64_t chance(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	return state ^= state << 17;
}

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

/* Of size bytes, mapped as mapped bytes, which may be more. */
static struct fake make(const char *kind, size_t size, size_t mapped)
{
	static unsigned number;
	struct fake f;
	struct stat st;
	char name[64];

	snprintf(name, sizeof(name), SHM_NAME "1.%s.%u", kind, ++number);
	f.fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (f.fd < 0 || ftruncate(f.fd, (off_t)size) < 0 || fstat(f.fd, &st) < 0)
		fail("memfd");
	f.at = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_SHARED, f.fd, 0);
	if (f.at == MAP_FAILED)
		fail("mmap");
	f.inode = st.st_ino;
	return f;
}

static void fill(uint8_t *at, size_t size)
{
	for (size_t i = 0; i + 8 <= size; i += 8) {
		uint64_t word = chance();

		memcpy(at + i, &word, 8);
	}
}

static void seal(const struct fake *f, int seals)
{
	if (fcntl(f->fd, F_ADD_SEALS, seals) < 0)
		fail("seal");
}

static struct board_ring *ring_at(uint8_t *board, unsigned i)
{
	return (struct board_ring *)(void *)(board + BOARD_RINGS_OFF) + i;
}

static struct board_sub *sub_at(uint8_t *board, unsigned i)
{
	return (struct board_sub *)(void *)(board + BOARD_SUBS_OFF) + i;
}

/* An entry that would be right if the file behind it were. */
static void put_ring(uint8_t *board, unsigned i, uint64_t inode)
{
	struct board_ring *e = ring_at(board, i);

	memset(e, 0xff, sizeof(*e)); /* no name ends */
	e->state = BOARD_RING_OPEN;
	e->gen = 2;
	e->ring_id = i + 1;
	e->next_ring = i + 1;
	e->pub_id = i / 2;
	e->first_seq = i % 3 == 0 ? UINT64_MAX - 5 : 0;
	e->slots = 64;
	e->bytes = 4096;
	e->page_kib = 4;
	e->slots_off = SLOTS_OFF;
	e->payload_off = PAYLOAD_OFF;
	e->features = 0;
	e->inode = inode;
}

static void put_sub(uint8_t *board, unsigned i, uint64_t inode, uint32_t entries)
{
	struct board_sub *e = sub_at(board, i);

	memset(e, 0xfe, sizeof(*e));
	e->state = BOARD_SUB_ACTIVE;
	e->gen = 2;
	e->sub_id = i + 1;
	e->entries = entries;
	e->inode = inode;
}

static struct fake forge_board(const char *socket, const char *topic)
{
	struct fake f = make("board", BOARD_SIZE, BOARD_SIZE);
	struct board_head *head = (struct board_head *)(void *)f.at;

	head->magic = BOARD_MAGIC;
	head->version = BOARD_VERSION;
	head->topic_id = UINT64_MAX;
	snprintf(head->topic, sizeof(head->topic), "%s", topic);
	snprintf(head->busd_socket, sizeof(head->busd_socket), "%s", socket);
	head->rings_used = UINT32_MAX;
	head->subs_used = UINT32_MAX;
	head->cal_mult = UINT64_MAX;
	seal(&f, SEALS);
	return f;
}

int main(int argc, char **argv)
{
	struct fake board, cut, cut_board, wild, punched, cursors, nonsense;
	char name[BOARD_TOPIC_MAX];

	if (argc != 2)
		return 2;
	/* by the name only */
	make("board", 0, BOARD_SIZE);
	make("board", 4096, BOARD_SIZE);
	nonsense = make("board", BOARD_SIZE, BOARD_SIZE);
	fill(nonsense.at, BOARD_SIZE);
	nonsense = make("board", BOARD_SIZE, BOARD_SIZE);
	fill(nonsense.at, BOARD_SIZE);
	seal(&nonsense, SEALS);
	cut_board = make("board", BOARD_SIZE, BOARD_SIZE);
	memset(name, 1, sizeof(name) - 1); /* no topic's name */
	name[sizeof(name) - 1] = 0;
	forge_board(argv[1], name);
	/* one that would pass */
	board = forge_board(argv[1], "forged.topic");
	cut = make("ring", RING_SIZE, RING_SIZE);
	fill(cut.at, RING_SIZE);
	put_ring(board.at, 0, cut.inode);
	wild = make("ring", RING_SIZE, RING_SIZE);
	fill(wild.at, RING_SIZE);
	seal(&wild, SEALS | F_SEAL_FUTURE_WRITE);
	put_ring(board.at, 1, wild.inode);
	put_ring(board.at, 2, wild.inode);
	put_ring(board.at, 3, board.inode);
	punched = make("ring", RING_SIZE, RING_SIZE);
	seal(&punched, SEALS | F_SEAL_FUTURE_WRITE); /* and nothing of it allocated */
	put_ring(board.at, 4, punched.inode);
	ring_at(board.at, 2)->slots = 1u << 26;
	ring_at(board.at, 2)->bytes = UINT64_C(1) << 63;
	ring_at(board.at, 2)->payload_off = UINT64_MAX - 4095;
	cursors = make("cursors", 4096, 4096);
	fill(cursors.at, 4096);
	seal(&cursors, SEALS | F_SEAL_FUTURE_WRITE);
	put_sub(board.at, 0, cursors.inode, 60);
	put_sub(board.at, 1, cursors.inode, CURSOR_MAX_ENTRIES);
	put_sub(board.at, 2, cursors.inode, UINT32_MAX);
	put_sub(board.at, 3, cut.inode, 10);
	puts("ready");
	fflush(stdout);
	for (;;) {
		(void)!ftruncate(cut.fd, chance() % 2 ? 0 : RING_SIZE);
		(void)!ftruncate(cut_board.fd, chance() % 2 ? 0 : (off_t)BOARD_SIZE);
		for (int i = 0; i < 50; i++) {
			fill(wild.at + chance() % (RING_SIZE / 64) * 64, 64);
			fill(cursors.at + chance() % 64 * 64, 64);
			/* entries that nobody filled, and their descriptions */
			fill((uint8_t *)ring_at(board.at, 5 + chance() % 1000), 256);
			fill((uint8_t *)sub_at(board.at, 4 + chance() % 1000), 256);
			fill((uint8_t *)ring_at(board.at, 1) + 40, 16);
		}
		usleep(20); /* two processors have others to run as well */
	}
}
