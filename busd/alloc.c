/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.c - see alloc.h. At most ALLOC_THREADS jobs run at a time, each in a thread of its own
 * that ends with it; others wait in order. An idle busd has one thread.
 */
#include "alloc.h"

#include "log.h"
#include "position.h"
#include "registry.h"
#include "request.h"
#include "server.h"
#include "spill_dir.h"
#include "stream.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct alloc {
	pthread_mutex_t lock;
	struct list finished; /* under the lock */
	struct list waiting;  /* the loop's own */
	unsigned running;
	int event_fd;
};

struct job *job_new(struct client *client, const void *request)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	job->busd = client->busd;
	job->client = client;
	job->req = ((const struct ctl_head *)request)->req;
	job->stream_dir = -1;
	list_init(&job->link);
	list_init(&job->making);
	return job;
}

void job_free(struct job *job)
{
	if (job->stream_dir >= 0)
		close(job->stream_dir);
	list_remove(&job->making);
	free(job->asked);
	position_drop(job->hold);
	segment_unref(job->seg);
	free(job);
}

static void work(struct job *job)
{
	struct spill_settings settings;

	if (job->put_aside) {
		job->rc = spill_dir_put_aside(job->data_dir, job->pattern, job->uuid, &job->why);
		return;
	}
	if (job->on_disk) {
		stream_fill_settings(job, &settings);
		job->stream_dir = spill_dir_create(job->data_dir, &settings, &job->why);
		job->rc = job->stream_dir;
		if (job->rc < 0)
			return;
	}
	job->rc = job->refill ? segment_refill(job->seg, &job->why)
			      : segment_build(job->seg, &job->plan, &job->why);
}

static void *thread_main(void *arg)
{
	struct job *job = arg;
	struct alloc *alloc = job->busd->alloc;
	const uint64_t one = 1;

	work(job);
	pthread_mutex_lock(&alloc->lock);
	list_append(&alloc->finished, &job->link);
	pthread_mutex_unlock(&alloc->lock);
	if (write(alloc->event_fd, &one, sizeof(one)) < 0)
		return NULL; /* its counter cannot be full: at most ALLOC_THREADS are there */
	return NULL;
}

static int start_thread(struct job *job)
{
	pthread_attr_t attr;
	pthread_t thread;
	int rc;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	rc = pthread_create(&thread, &attr, thread_main, job);
	pthread_attr_destroy(&attr);
	return -rc;
}

static void finish(struct job *job)
{
	struct client *client = job->client;

	if (client && client->doomed)
		client = NULL;
	if (job->client)
		job->client->job = NULL;
	/* ordinary pages instead of huge ones are fewer bytes */
	if (job->rc == 0 && job->seg && job->seg->bill.bytes != job->seg->info.size)
		quota_correct(&job->seg->bill, (int64_t)(job->seg->info.size - job->seg->bill.bytes));
	if (job->seg && job->seg->place_error < 0)
		log_warning("placement of a segment was refused (%s): it lies where the kernel put it",
			    strerror(-job->seg->place_error));
	job->done(client, job);
	if (client)
		request_resume(client);
}

static void start(struct busd *busd, struct job *job)
{
	struct alloc *alloc = busd->alloc;

	if (alloc->running >= ALLOC_THREADS) {
		list_append(&alloc->waiting, &job->link);
		return;
	}
	if (start_thread(job) < 0) {
		work(job); /* no thread to be had: everybody waits, but nobody is refused */
		finish(job);
		return;
	}
	alloc->running++;
}

static void submit(struct job *job, uint64_t bytes)
{
	if (bytes <= ALLOC_AT_ONCE && !job->on_disk) {
		work(job);
		finish(job);
		return;
	}
	job->client->job = job;
	start(job->busd, job);
}

static void jobs_finished(struct busd *busd, struct watch *watch, uint32_t events)
{
	struct alloc *alloc = busd->alloc;
	struct list finished;
	struct job *job;
	uint64_t count;

	(void)events;
	if (read(watch->fd, &count, sizeof(count)) < 0)
		return;
	list_init(&finished);
	pthread_mutex_lock(&alloc->lock);
	for_each(job, &alloc->finished, link) {
		list_remove(&job->link);
		list_append(&finished, &job->link);
	}
	pthread_mutex_unlock(&alloc->lock);
	for_each(job, &finished, link) {
		list_remove(&job->link);
		alloc->running--;
		finish(job);
	}
	while (alloc->running < ALLOC_THREADS && !list_empty(&alloc->waiting)) {
		job = list_entry(alloc->waiting.next, struct job, link);
		list_remove(&job->link);
		start(busd, job);
	}
}

/*
 * Is there so much memory now? Shared memory that the host does not have is the OOM killer, not
 * an error.
 */
static int check_available(uint64_t bytes, struct why *why)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;
	char line[128];
	char want[32], left[32];
	bool found = false;

	while (file && !found && fgets(line, sizeof(line), file))
		found = sscanf(line, "MemAvailable: %llu", &kib) == 1;
	if (file)
		fclose(file);
	if (!found || bytes <= kib * 1024)
		return 0;
	return because(why, ENOMEM,
		       "the machine has not enough memory: %s wanted, %s available; ask for less",
		       quota_bytes_text(bytes, want), quota_bytes_text(kib * 1024, left));
}

void alloc_build(struct job *job)
{
	const struct quota_bill bill = { .account = &job->client->user->account,
					 .space = job->space,
					 .bytes = segment_plan_bytes(&job->plan),
					 .files = 1 };
	int rc;

	job->seg = segment_new(busd_new_id(job->busd));
	rc = job->seg ? ring_charge(job->busd, &bill, &job->why)
		      : because(&job->why, ENOMEM, "busd is out of memory");
	if (rc == 0) {
		job->seg->bill = bill;
		if (bill.bytes > ALLOC_AT_ONCE)
			rc = check_available(bill.bytes, &job->why);
	}
	job->rc = rc;
	if (rc < 0)
		job->done(job->client, job);
	else
		submit(job, bill.bytes);
}

void alloc_refill(struct job *job)
{
	job->refill = true;
	submit(job, job->seg->info.size);
}

void alloc_put_aside(struct job *job)
{
	job->put_aside = true;
	job->client->job = job;
	start(job->busd, job);
}

void alloc_orphan(struct job *job)
{
	position_drop(job->hold); /* it has the client */
	job->hold = NULL;
	job->client = NULL;
}

int alloc_open(struct busd *busd)
{
	struct alloc *alloc = calloc(1, sizeof(*alloc));

	if (!alloc)
		return -ENOMEM;
	pthread_mutex_init(&alloc->lock, NULL);
	list_init(&alloc->finished);
	list_init(&alloc->waiting);
	alloc->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (alloc->event_fd < 0) {
		free(alloc);
		return -errno;
	}
	busd->alloc = alloc;
	busd->finished.ready = jobs_finished;
	return server_watch(busd, &busd->finished, alloc->event_fd, EPOLLIN);
}
