/* SPDX-License-Identifier: Apache-2.0 */
/* quota.c - see quota.h */
#include "quota.h"

#include <errno.h>

const char *quota_bytes_text(uint64_t bytes, char *buf)
{
	if (bytes < 10240)
		snprintf(buf, 32, "%llu bytes", (unsigned long long)bytes);
	else if (bytes < UINT64_C(1) << 20)
		snprintf(buf, 32, "%.1f KiB", (double)bytes / 1024);
	else
		snprintf(buf, 32, "%.1f MiB", (double)bytes / (1 << 20));
	return buf;
}

static int over_memory(uint64_t bytes, uint64_t used, uint64_t limit, const char *whose,
		       const char *key, struct why *why)
{
	char want[32], use[32], most[32];

	return because(
		why, EDQUOT,
		"over the memory limit %s: %s wanted, %s in use, limit %s; close what is not needed or raise %s",
		whose, quota_bytes_text(bytes, want), quota_bytes_text(used, use),
		quota_bytes_text(limit, most), key);
}

int quota_charge(struct quota_account *account, uint64_t bytes, struct why *why)
{
	struct quota *total = account->total;
	const struct quota_limits *limits = &total->limits;

	if (bytes > limits->memory || total->memory > limits->memory - bytes)
		return over_memory(bytes, total->memory, limits->memory, "of busd", "memory_limit",
				   why);
	if (!account->owner &&
	    (bytes > limits->user_memory || account->memory > limits->user_memory - bytes))
		return over_memory(bytes, account->memory, limits->user_memory, "of your user",
				   "user_memory_limit", why);
	if (total->segments >= limits->segments)
		return because(
			why, EDQUOT,
			"busd has %u segments, as many as its open files allow; raise LimitNOFILE",
			total->segments);
	if (!account->owner && account->segments >= limits->user_segments)
		return because(why, EDQUOT,
			       "your user (uid %u) has %u segments, the most that one user may have",
			       account->uid, account->segments);
	total->memory += bytes;
	total->segments++;
	account->memory += bytes;
	account->segments++;
	return 0;
}

void quota_correct(struct quota_account *account, int64_t bytes)
{
	account->total->memory += (uint64_t)bytes;
	account->memory += (uint64_t)bytes;
}

void quota_refund(struct quota_account *account, uint64_t bytes)
{
	account->total->memory -= bytes;
	account->total->segments--;
	account->memory -= bytes;
	account->segments--;
}

int quota_take_client(struct quota_account *account, struct why *why)
{
	uint32_t limit = account->total->limits.user_clients;

	if (account->clients >= limit)
		return because(why, EDQUOT,
			       "uid %u has %u connections, the most that one user may have; close some",
			       account->uid, account->clients);
	account->clients++;
	return 0;
}

int quota_take_topic(struct quota_account *account, struct why *why)
{
	uint32_t limit = account->total->limits.user_topics;

	if (account->topics >= limit)
		return because(
			why, EDQUOT,
			"uid %u has made %u topics, the most that one user may have; remove some",
			account->uid, account->topics);
	account->topics++;
	return 0;
}
