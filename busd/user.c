/* SPDX-License-Identifier: Apache-2.0 */
/* user.c - see user.h */
#include "user.h"

#include "busd.h"
#include "log.h"
#include "record.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

struct user *user_get(struct busd *busd, uint32_t uid)
{
	/* a key of the map is never 0, a uid may be */
	struct user *user = idmap_get(&busd->users, (uint64_t)uid + 1);

	if (user)
		return user;
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->account.total = &busd->quota;
	user->account.uid = uid;
	user->account.owner = uid == 0 || uid == busd->uid;
	if (idmap_put(&busd->users, (uint64_t)uid + 1, user) < 0) {
		free(user);
		return NULL;
	}
	return user;
}

#define LOG_LINES  50
#define LOG_FOR_NS UINT64_C(10000000000)

bool user_may_log(struct user *user)
{
	uint64_t now_ns = bus_monotonic_ns();

	if (now_ns - user->log_from_ns > LOG_FOR_NS) {
		if (user->log_left_out)
			log_warning("%u more warnings about uid %u were left out",
				    user->log_left_out, user->account.uid);
		user->log_from_ns = now_ns;
		user->log_count = user->log_left_out = 0;
	}
	if (user->log_count < LOG_LINES) {
		user->log_count++;
		return true;
	}
	user->log_left_out++;
	return false;
}

static bool has_slots(const struct user *user)
{
	size_t i;

	for (i = 0; i < BUS_ARRAY_LEN(user->slots); i++)
		if (user->slots[i])
			return true;
	return false;
}

static int make_busd_bell(struct busd *busd, struct user *user, struct why *why)
{
	struct segment *seg = segment_new(busd_new_id(busd));
	int rc;

	if (!seg)
		return because(why, ENOMEM, "busd is out of memory");
	rc = segment_build_own(seg, CTL_SEG_BELL, sizeof(struct bell_page), why);
	if (rc == 0)
		rc = segment_extend(seg, 0, sizeof(struct bell_page), why);
	seg->info.uid = user->account.uid;
	if (rc == 0) {
		segment_hold(seg); /* as long as there is a writable descriptor */
		rc = segment_publish(seg, why);
	}
	if (rc < 0) {
		segment_unref(seg);
		return rc;
	}
	user->busd_bell = seg;
	record_user(busd, user);
	return 0;
}

int user_take_slot(struct busd *busd, struct user *user, struct why *why)
{
	size_t i;

	for (i = 0; i < BUS_ARRAY_LEN(user->slots); i++) {
		int bit;

		if (user->slots[i] == UINT64_MAX)
			continue;
		if (!user->busd_bell) {
			int rc = make_busd_bell(busd, user, why);

			if (rc < 0)
				return rc;
		}
		bit = __builtin_ctzll(~user->slots[i]);
		user->slots[i] |= UINT64_C(1) << bit;
		return (int)i * 64 + bit;
	}
	return because(why, EDQUOT,
		       "uid %u has %d connections, the most that one user may have; close some",
		       user->account.uid, BELL_WORDS);
}

void user_release_slot(struct user *user, uint32_t slot)
{
	user->slots[slot / 64] &= ~(UINT64_C(1) << (slot % 64));
	if (!has_slots(user)) {
		segment_unref(user->busd_bell);
		user->busd_bell = NULL;
		record_user(BUS_CONTAINER_OF(user->account.total, struct busd, quota), user);
	}
}

void user_ring_bell(struct user *user, uint32_t slot)
{
	struct bell_page *page = user->busd_bell->map;

	bus_add_seq_cst(&page->word[slot], 1);
	/* shared: the sleeper waits on a read-only mapping in another process */
	syscall(SYS_futex, &page->word[slot], FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}
