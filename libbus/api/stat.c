/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stat.c - bus_stat.h over a connection: asks busd for the segments, keeps them mapped while they
 * are looked at, asks busd about itself and its clients. What the memory means is worked out
 * elsewhere (stat_internal.h).
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/bus_internal.h"
#include "api/stat_internal.h"
#include "format/topic_name.h"
#include "os/proc_maps.h"

/*
 * busd sends a few descriptors at a time and goes on when they were read. What is known to be
 * missing is waited for so long; after something new came, more may be on its way for as long as
 * QUIET_NS.
 */
#define OPEN_PATIENCE_NS    UINT64_C(500000000)
#define REFRESH_PATIENCE_NS UINT64_C(20000000)
#define QUIET_NS            UINT64_C(5000000)

struct bus_stat {
	struct bus *bus; /* NULL: without busd, by what processes map */
	struct stat_mapped mapped;
	pid_t opener; /* without busd: a forked child does not have the mappings */
	char socket[sizeof(((struct bus_stat_mapped *)0)->socket)];
	struct stat_view view;
	struct bus__segment **held; /* what the view points into; each has a reference of ours */
	size_t held_count;
	uint64_t newest; /* id of the youngest segment seen */
	uint32_t gen;    /* of the busd that was asked */
	struct bus_stat_topic *topics;
	int topic_count;
	struct stat_peeked peeked;
	char *text; /* of bus_stat_metrics() */
	char pattern[BUS_TOPIC_MAX + 1];
};

static bool is_childs(const struct bus *bus)
{
	return bus->magic != BUS__MAGIC;
}

static bool is_in_child(const struct bus_stat *stat)
{
	return stat->bus ? is_childs(stat->bus) : stat->opener != getpid();
}

/* Views: one for each busd that left something, or the one of the connection. */
static size_t view_count(const struct bus_stat *stat)
{
	return stat->bus ? 1 : stat->mapped.left_count;
}

static const struct stat_view *view_at(const struct bus_stat *stat, size_t i)
{
	return stat->bus ? &stat->view : &stat->mapped.left[i].view;
}

/* ---- the view ---- */

static void let_go(struct bus_stat *stat)
{
	bus__stat_view_free(&stat->view);
	pthread_mutex_lock(&stat->bus->lock);
	for (size_t i = 0; i < stat->held_count; i++)
		bus__segment_put(stat->bus, stat->held[i]);
	pthread_mutex_unlock(&stat->bus->lock);
	free(stat->held);
	stat->held = NULL;
	stat->held_count = 0;
}

static bool is_wanted(const struct bus_stat *stat, const struct bus__segment *seg)
{
	const struct stat_board board = { .base = seg->base };
	char name[BUS_TOPIC_MAX + 1];

	if (seg->gone || seg->base == NULL)
		return false;
	if (seg->kind == CTL_SEG_RING || seg->kind == CTL_SEG_CURSOR)
		return true;
	return seg->kind == CTL_SEG_BOARD && bus__stat_board_name(&board, name) == 0 &&
	       topic_matches(stat->pattern, name);
}

static int count_segment(struct bus__segment *seg, void *arg)
{
	struct bus_stat *stat = arg;

	stat->held_count += is_wanted(stat, seg);
	return 0;
}

static int hold_segment(struct bus__segment *seg, void *arg)
{
	struct bus_stat *stat = arg;
	struct stat_view *view = &stat->view;

	if (!is_wanted(stat, seg))
		return 0;
	stat->held[stat->held_count++] = bus__segment_get(stat->bus, bus__gen(stat->bus), seg->id);
	stat->newest = bus_max_u64(stat->newest, seg->id);
	if (seg->kind == CTL_SEG_BOARD) {
		view->boards[view->board_count++] =
			(struct stat_board){ .topic_id = seg->topic_id, .base = seg->base };
	} else if (seg->kind == CTL_SEG_CURSOR) {
		view->cursors[view->cursors_count++] = (struct stat_cursors){
			.sub_id = seg->owner_id, .base = seg->base, .entries = seg->entries
		};
	} else {
		struct stat_ring *ring = &view->rings[view->ring_count++];

		ring->ring_id = seg->owner_id;
		ring->topic_id = seg->topic_id;
		ring->first_seq = seg->geometry.first_seq;
		ring->stream = (seg->geometry.features & RING_FEATURE_STREAM) != 0;
		ring->size = seg->size;
		ring_view_init(&ring->view, seg->base, &seg->geometry);
	}
	return 0;
}

static int hold_all(struct bus_stat *stat)
{
	size_t n;

	stat->held_count = 0;
	bus__segments_each(stat->bus, count_segment, stat);
	n = stat->held_count + 1; /* never an empty allocation */
	stat->held_count = 0;
	stat->held = malloc(n * sizeof(*stat->held));
	stat->view.boards = malloc(n * sizeof(*stat->view.boards));
	stat->view.rings = malloc(n * sizeof(*stat->view.rings));
	stat->view.cursors = malloc(n * sizeof(*stat->view.cursors));
	if (!stat->held || !stat->view.boards || !stat->view.rings || !stat->view.cursors)
		return -ENOMEM;
	bus__segments_each(stat->bus, hold_segment, stat);
	return 0;
}

static int take_view(struct bus_stat *stat)
{
	int err;

	let_go(stat);
	pthread_mutex_lock(&stat->bus->lock);
	err = hold_all(stat);
	pthread_mutex_unlock(&stat->bus->lock);
	if (err == 0)
		err = bus__stat_view_index(&stat->view);
	if (err < 0)
		let_go(stat);
	return err;
}

/* How many rings and readers stand on the boards of the view whose memory is not in it. */
static size_t missing(const struct stat_view *view)
{
	struct board_ring ring;
	struct board_sub sub;
	size_t n = 0;

	for (size_t i = 0; i < view->board_count; i++) {
		const struct stat_board *board = &view->boards[i];
		uint32_t rings = bus__stat_board_rings(board), subs = bus__stat_board_subs(board);

		for (uint32_t k = 0; k < rings; k++)
			n += bus__stat_board_ring(board, k, &ring) == 0 &&
			     !bus__stat_view_ring(view, ring.ring_id);
		for (uint32_t k = 0; k < subs; k++)
			n += bus__stat_board_sub(board, k, &sub) == 0 &&
			     !bus__stat_view_cursors(view, sub.sub_id);
	}
	return n;
}

static int observe(struct bus_stat *stat, struct ctl_ok *ok)
{
	struct ctl_observe req = { .head = BUS__HEAD(CTL_OBSERVE, ctl_observe) };

	stat->gen = bus__settle(stat->bus);
	stat->newest = 0;
	strcpy(req.pattern, stat->pattern);
	return bus__request_of(stat->bus, stat->gen, &req, ok, sizeof(*ok), NULL, NULL);
}

/* Another busd knows no observer. Where it does not let us, its topics are not seen. */
static void observe_again(struct bus_stat *stat)
{
	struct ctl_ok ok;
	char why[CTL_WHY_MAX];

	bus__look(stat->bus, false);
	if (stat->gen == bus__gen(stat->bus))
		return;
	bus__why_save(why);
	if (observe(stat, &ok) < 0)
		bus__why_restore(why);
}

/*
 * Receives what busd has for us and takes the view; then waits for what the boards promise, and for
 * `expected` segments, as long as something comes within patience_ns. That busd has gone is no
 * error: the memory is still there to be read.
 */
static int receive_view(struct bus_stat *stat, uint64_t expected, uint64_t patience_ns)
{
	uint64_t last_news = bus_monotonic_ns();
	bool news = false;

	observe_again(stat);
	for (;;) {
		struct pollfd fd = { .fd = stat->bus->ev, .events = POLLIN };
		uint64_t newest = stat->newest, quiet;
		bool there = bus__pump(stat->bus) == 0, complete;
		int err = take_view(stat);

		if (err < 0)
			return bus__fail(err, "cannot look at the bus: out of memory");
		if (stat->newest != newest) {
			news = true;
			last_news = bus_monotonic_ns();
		}
		complete = stat->held_count >= expected && missing(&stat->view) == 0;
		quiet = bus_monotonic_ns() - last_news;
		if (!there || (complete && (!news || quiet >= QUIET_NS)) || quiet >= patience_ns)
			/* what does not come has gone meanwhile, or is not for our eyes */
			return 0;
		if (poll(&fd, 1, 2) < 0 && errno != EINTR)
			return bus__fail(-errno, "cannot wait for busd: %s", strerror(errno));
	}
}

/*
 * busd drops all patterns of a connection at once, so the last observer of the connection tells it.
 */
static int change_observers(struct bus *bus, int by)
{
	int now;

	pthread_mutex_lock(&bus->lock);
	bus->observers += by;
	now = bus->observers;
	pthread_mutex_unlock(&bus->lock);
	return now;
}

static void unobserve(struct bus *bus)
{
	struct ctl_head req = { .type = CTL_UNOBSERVE, .version = CTL_VERSION, .len = sizeof(req) };
	struct ctl_ok ok;

	if (change_observers(bus, -1) == 0) /* where busd has gone there is nothing to undo */
		bus__request(bus, &req, &ok, sizeof(ok), NULL, NULL);
}

/* ---- topics ---- */

static void forget_topics(struct bus_stat *stat)
{
	for (int i = 0; i < stat->topic_count; i++)
		bus__stat_topic_free(&stat->topics[i]);
	free(stat->topics);
	stat->topics = NULL;
	stat->topic_count = 0;
}

static int by_name(const void *a, const void *b)
{
	const struct bus_stat_topic *x = a, *y = b;
	int order = strcmp(x->name, y->name);

	if (order != 0) /* of one name, without busd: the youngest busd's first */
		return order;
	return x->busd_started_ns > y->busd_started_ns ? -1 : x->busd_started_ns < y->busd_started_ns;
}

static int new_stat(struct bus_stat **ret, const char *pattern)
{
	const char *reason = topic_pattern_check(pattern ? pattern : ">");
	struct bus_stat *stat;

	if (reason)
		return bus__fail(-EINVAL, "topic pattern \"%.*s\" %s", BUS_TOPIC_MAX, pattern,
				 reason);
	stat = calloc(1, sizeof(*stat));
	if (!stat)
		return bus__fail(-ENOMEM, "cannot look at the bus: out of memory");
	strcpy(stat->pattern, pattern ? pattern : ">");
	*ret = stat;
	return 0;
}

int bus_stat_open(struct bus_stat **ret, struct bus *bus, const char *pattern)
{
	struct bus_stat *stat = NULL;
	struct ctl_ok ok;
	int err;

	if (is_childs(bus))
		return bus__fail(-ECHILD, "the connection belongs to the parent process");
	err = new_stat(&stat, pattern);
	if (err < 0)
		return err;
	stat->bus = bus;
	change_observers(bus, 1);
	err = observe(stat, &ok);
	if (err < 0) {
		change_observers(bus, -1);
		free(stat);
		return err;
	}
	err = receive_view(stat, ok.value, OPEN_PATIENCE_NS);
	if (err < 0) {
		bus_stat_close(stat);
		return err;
	}
	*ret = stat;
	return 0;
}

/* What was mapped before goes first: it must not keep itself alive. */
static int look_anew(struct bus_stat *stat)
{
	int err;

	bus__stat_mapped_free(&stat->mapped);
	err = bus__stat_mapped_take(&stat->mapped, stat->socket, stat->pattern);
	return err < 0 ? bus__fail(err, "cannot look for mapped segments in /proc: %s",
				   strerror(-err))
		       : 0;
}

static int renew(struct bus_stat *stat)
{
	if (is_in_child(stat))
		return bus__fail(-ECHILD, "the observer belongs to the parent process");
	return stat->bus ? receive_view(stat, 0, REFRESH_PATIENCE_NS) : look_anew(stat);
}

int bus_stat_open_mapped(struct bus_stat **ret, const char *socket, const char *pattern)
{
	struct bus_stat *stat = NULL;
	int err = new_stat(&stat, pattern);

	if (err < 0)
		return err;
	stat->opener = getpid();
	err = bus__find_socket(socket, stat->socket, sizeof(stat->socket));
	if (err == 0 && proc_may_open() < 0)
		err = bus__fail(-EPERM,
				"what living processes still map of it is for root to see (the kernel wants "
				"CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE of uid %u); look as root",
				(unsigned)geteuid());
	if (err == 0)
		err = look_anew(stat);
	if (err == 0 && stat->mapped.left_count == 0)
		err = bus__fail(-ENOENT,
				"no living process has mapped anything of a busd that listened at %s",
				stat->socket);
	if (err < 0) {
		bus_stat_close(stat);
		return err;
	}
	*ret = stat;
	return 0;
}

int bus_stat_mapped(const struct bus_stat *stat, struct bus_stat_mapped *ret)
{
	const struct stat_mapped *mapped = &stat->mapped;

	if (stat->bus)
		return bus__fail(-EINVAL, "this observer was opened with a busd");
	*ret = (struct bus_stat_mapped){ .processes = mapped->processes,
					 .busds = (uint32_t)mapped->left_count,
					 .ignored = mapped->ignored };
	memcpy(ret->socket, stat->socket, sizeof(ret->socket));
	if (mapped->left_count == 0)
		return 0;
	ret->pid = mapped->left[0].pid;
	ret->uid = mapped->left[0].uid;
	ret->started_ns = mapped->left[0].started_ns;
	ret->alive = mapped->left[0].alive;
	return 0;
}

static int take_topics(struct bus_stat *stat, size_t at)
{
	const struct stat_view *view = view_at(stat, at);
	int err;

	for (size_t i = 0; i < view->board_count; i++) {
		struct bus_stat_topic *topic = &stat->topics[stat->topic_count];

		err = bus__stat_topic(view, &view->boards[i], topic);
		if (err == -ENOMEM)
			return err;
		if (err == 0 && !stat->bus) {
			topic->busd_started_ns = stat->mapped.left[at].started_ns;
			topic->busd_pid = stat->mapped.left[at].pid;
			topic->busd_uid = stat->mapped.left[at].uid;
		}
		stat->topic_count += err == 0;
	}
	return 0;
}

int bus_stat_refresh(struct bus_stat *stat, const struct bus_stat_topic **topics, uint64_t *now_ns)
{
	size_t boards = 0;
	int err = renew(stat);

	if (err < 0)
		return err;
	forget_topics(stat);
	for (size_t i = 0; i < view_count(stat); i++)
		boards += view_at(stat, i)->board_count;
	stat->topics = calloc(boards + 1, sizeof(*stat->topics));
	if (!stat->topics)
		return bus__fail(-ENOMEM, "cannot look at the bus: out of memory");
	*now_ns = bus_realtime_ns();
	for (size_t i = 0; i < view_count(stat); i++)
		if (take_topics(stat, i) < 0)
			return bus__fail(-ENOMEM, "cannot look at the bus: out of memory");
	qsort(stat->topics, (size_t)stat->topic_count, sizeof(*stat->topics), by_name);
	*topics = stat->topics;
	return stat->topic_count;
}

/* The youngest busd's. */
static const struct stat_board *find_board(const struct bus_stat *stat, const char *topic,
					   const struct stat_view **view)
{
	char name[BUS_TOPIC_MAX + 1];

	for (size_t at = 0; at < view_count(stat); at++) {
		*view = view_at(stat, at);
		for (size_t i = 0; i < (*view)->board_count; i++)
			if (bus__stat_board_name(&(*view)->boards[i], name) == 0 &&
			    strcmp(name, topic) == 0)
				return &(*view)->boards[i];
	}
	return NULL;
}

int bus_stat_peek(struct bus_stat *stat, const char *topic, int n, const struct bus_msg **msgs)
{
	const struct stat_view *view;
	const struct stat_board *board;
	int err;

	if (n < 1)
		return bus__fail(-EINVAL, "cannot peek at %d messages: at least 1", n);
	/* The snapshot points into this view no more than by numbers: it stays valid. */
	err = renew(stat);
	if (err < 0)
		return err;
	board = find_board(stat, topic, &view);
	if (!board)
		return bus__fail(-ENOENT, "there is no topic \"%.*s\", or no right to see it",
				 BUS_TOPIC_MAX, topic);
	bus__stat_peeked_free(&stat->peeked);
	err = bus__stat_peek(view, board, n, &stat->peeked);
	if (err < 0)
		return bus__fail(err, "cannot copy messages of \"%s\": %s", topic, strerror(-err));
	*msgs = stat->peeked.msgs;
	return stat->peeked.count;
}

int bus_stat_metrics(struct bus_stat *stat, const char **text, size_t *len)
{
	const struct bus_stat_topic *topics = NULL;
	struct bus_stat_namespace *spaces = NULL;
	struct stat_absent *absent = NULL;
	struct bus_stat_daemon daemon;
	int err = 0, space_count = 0, absent_count = 0, n;
	uint64_t now_ns;

	n = bus_stat_refresh(stat, &topics, &now_ns);
	if (n < 0)
		return n;
	if (stat->bus)
		err = bus_stat_daemon(stat->bus, &daemon);
	if (err >= 0 && stat->bus)
		err = space_count = bus__stat_namespaces(stat->bus, &spaces);
	if (err >= 0 && stat->bus)
		err = absent_count = bus__stat_absent(stat->bus, topics, n, &absent);
	if (err < 0) {
		free(spaces);
		return err;
	}
	free(stat->text);
	stat->text = NULL;
	err = bus__stat_openmetrics(stat->bus ? &daemon : NULL, topics, n, spaces, space_count,
				    absent, absent_count, &stat->text, len);
	free(absent);
	free(spaces);
	if (err < 0)
		return bus__fail(err, "cannot write metrics: out of memory");
	*text = stat->text;
	return 0;
}

void bus_stat_close(struct bus_stat *stat)
{
	if (!stat || is_in_child(stat))
		return; /* a child's copy: its parent's mappings are not there */
	if (stat->bus) {
		unobserve(stat->bus);
		let_go(stat);
	}
	bus__stat_mapped_free(&stat->mapped);
	forget_topics(stat);
	bus__stat_peeked_free(&stat->peeked);
	free(stat->text);
	free(stat);
}
