/* SPDX-License-Identifier: Apache-2.0 */
/* quota.c - see quota.h */
#include "quota.h"

#include "namespace.h"

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

static int check_memory(const struct quota_bill *bill, struct why *why)
{
	const struct quota_account *account = bill->account;
	const struct quota *total = account->total;
	const struct quota_limits *limits = &total->limits;

	if (bill->bytes > limits->memory || total->memory > limits->memory - bill->bytes)
		return over_memory(bill->bytes, total->memory, limits->memory, "of busd",
				   "memory_limit", why);
	if (!account->owner && (bill->bytes > limits->user_memory ||
				account->memory > limits->user_memory - bill->bytes))
		return over_memory(bill->bytes, account->memory, limits->user_memory,
				   "of your user", "user_memory_limit", why);
	return 0;
}

static int check_files(const struct quota_account *account, uint32_t files, struct why *why)
{
	const struct quota *total = account->total;
	const struct quota_limits *limits = &total->limits;

	if (total->files + files > limits->files)
		return because(why, EDQUOT,
			       "busd has no descriptor left for it (%u in use, limit %u); close what is not needed, or raise its "
			       "LimitNOFILE",
			       total->files, limits->files);
	if (!account->owner && account->files + files > limits->user_files)
		return because(why, EDQUOT,
			       "your user (uid %u) holds %u descriptors of busd (connections, rings, subscriptions), limit %u; close "
			       "what is not needed or raise user_descriptors",
			       account->uid, account->files, limits->user_files);
	return 0;
}

void quota_restore(const struct quota_bill *bill)
{
	struct quota_account *account = bill->account;

	account->total->memory += bill->bytes;
	account->total->files += bill->files;
	account->memory += bill->bytes;
	account->files += bill->files;
	if (bill->space)
		namespace_restore(bill->space, bill->bytes);
}

int quota_charge(const struct quota_bill *bill, struct why *why)
{
	struct quota_account *account = bill->account;
	int rc = check_memory(bill, why);

	if (rc == 0)
		rc = check_files(account, bill->files, why);
	if (rc == 0 && bill->space)
		rc = namespace_charge(bill->space, bill->bytes, why);
	if (rc < 0)
		return rc;
	account->total->memory += bill->bytes;
	account->total->files += bill->files;
	account->memory += bill->bytes;
	account->files += bill->files;
	return 0;
}

void quota_correct(struct quota_bill *bill, int64_t bytes)
{
	bill->bytes += (uint64_t)bytes;
	bill->account->total->memory += (uint64_t)bytes;
	bill->account->memory += (uint64_t)bytes;
	if (bill->space)
		namespace_correct(bill->space, bytes);
}

void quota_refund(const struct quota_bill *bill)
{
	struct quota_account *account = bill->account;

	account->total->memory -= bill->bytes;
	account->total->files -= bill->files;
	account->memory -= bill->bytes;
	account->files -= bill->files;
	if (bill->space)
		namespace_refund(bill->space, bill->bytes);
}

int quota_take_client(struct quota_account *account, struct why *why)
{
	const struct quota_limits *limits = &account->total->limits;
	int rc;

	if (account->clients >= limits->user_clients)
		return because(
			why, EDQUOT,
			"your user (uid %u) has %u connections, limit %u; close some or raise user_connections",
			account->uid, account->clients, limits->user_clients);
	if (!account->owner && account->handshakes >= limits->user_handshakes)
		return because(why, EDQUOT,
			       "your user (uid %u) has %u connections that have not introduced themselves, limit %u; try again in "
			       "a moment or raise user_handshakes",
			       account->uid, account->handshakes, limits->user_handshakes);
	rc = check_files(account, QUOTA_CLIENT_FILES, why);
	if (rc < 0)
		return rc;
	account->clients++;
	account->handshakes++;
	account->files += QUOTA_CLIENT_FILES;
	account->total->files += QUOTA_CLIENT_FILES;
	return 0;
}

void quota_adopt_client(struct quota_account *account)
{
	account->clients++;
	account->files += QUOTA_CLIENT_FILES;
	account->total->files += QUOTA_CLIENT_FILES;
}

void quota_end_handshake(struct quota_account *account)
{
	account->handshakes--;
}

void quota_give_back_client(struct quota_account *account, bool in_handshake)
{
	account->clients--;
	account->handshakes -= in_handshake;
	account->files -= QUOTA_CLIENT_FILES;
	account->total->files -= QUOTA_CLIENT_FILES;
}

bool quota_may_fly(const struct quota_account *account)
{
	uint32_t limit = account->total->limits.user_in_flight;

	return account->in_flight < (account->owner ? 4 * limit : limit);
}

int quota_take_topic(struct quota_account *account, struct why *why)
{
	uint32_t limit = account->total->limits.user_topics;

	if (account->topics >= limit)
		return because(
			why, EDQUOT,
			"your user (uid %u) has made %u topics, limit %u; remove some or raise user_topics",
			account->uid, account->topics, limit);
	account->topics++;
	return 0;
}
