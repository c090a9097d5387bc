/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus.c - connecting and closing.
 */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/bus_internal.h"
#include "api/opts.h"
#include "format/topic_name.h"

int bus__node(void)
{
	unsigned cpu, node;

	return getcpu(&cpu, &node) == 0 ? (int)node : -1;
}

int bus__check_topic(const char *topic)
{
	const char *why;

	if (topic == NULL)
		return bus__fail(-EINVAL, "no topic name");
	why = topic_name_check(topic);
	return why == NULL ? 0 : bus__fail(-EINVAL, "\"%.255s\" is not a topic name: %s", topic, why);
}

int bus_topic_check(const char *name)
{
	return bus__check_topic(name);
}

const char *bus_version(void)
{
	return BUS_VERSION;
}

void bus__calibration(const struct board_head *board, struct bus_calibration *ret)
{
	for (int i = 0; i < BOARD_RETRIES; i++) {
		uint32_t gen = bus_load_acquire(&board->cal_gen);

		ret->base_counter = bus_load_relaxed(&board->cal_base_counter);
		ret->base_ns = bus_load_relaxed(&board->cal_base_ns);
		ret->mult = bus_load_relaxed(&board->cal_mult);
		bus_fence_acquire();
		if (gen % 2 == 0 && bus_load_relaxed(&board->cal_gen) == gen)
			return;
		bus_cpu_relax();
	}
}

/* Whether what busd calls its pid is what the kernel calls it here: one pid namespace. */
static bool same_pids(int ctl, const struct ctl_hello_reply *r)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	return getsockopt(ctl, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 && cred.pid > 0 &&
	       (uint32_t)cred.pid == r->busd_pid;
}

int bus__greeting_map(struct bus__greeting *g, const struct bus *bus, int ctl,
		      const struct ctl_hello_reply *r, const int *fds, int nfds)
{
	int err;

	if (nfds != 3 || r->slot >= BELL_WORDS || !bus_is_pow2(r->page_bytes))
		return bus__fail(-EPROTO, "busd at %s sent a greeting that makes no sense",
				 bus->socket);
	g->reply = *r;
	g->same_pids = same_pids(ctl, r);
	err = shm_map_segment(&g->busd_bell, fds[1], sizeof(struct bell_page), false);
	if (err < 0)
		return bus__fail(err, "cannot map bell pages: %s", strerror(-err));
	g->own = bus__bell_map(r->uid, fds[2], &err);
	if (g->own == NULL) {
		shm_unmap(&g->busd_bell);
		return bus__fail(err, "cannot map bell pages: %s", strerror(-err));
	}
	return 0;
}

void bus__greeting_take(struct bus *bus, const struct bus__greeting *g)
{
	const struct bell_page *page = g->busd_bell.base;

	bus->bells = g->own;
	bus->busd_bell = g->busd_bell;
	bus->version = g->reply.head.version;
	bus_store_relaxed(&bus->features, g->reply.features);
	bus->client_id = g->reply.client_id;
	bus->uid = g->reply.uid;
	bus->slot = g->reply.slot;
	bus->page_bytes = g->reply.page_bytes;
	bus->instance = g->reply.instance;
	bus->same_pids = g->same_pids;
	bus_store_release(&bus->bell, &page->word[g->reply.slot]);
}

struct ctl_hello bus__hello(const struct bus *bus, uint16_t flags)
{
	struct ctl_hello hello = { .head = BUS__HEAD(CTL_HELLO, ctl_hello),
				   .flags = flags,
				   .min_version = CTL_VERSION_MIN,
				   .node = bus__node(),
				   .token = { bus->token[0], bus->token[1] },
				   BUS_NEXT(.hint = 4711) };

	hello.head.magic = CTL_MAGIC;
	memcpy(hello.name, bus->name, sizeof(hello.name));
	return hello;
}

static int greet(struct bus *bus)
{
	struct ctl_hello hello = bus__hello(bus, 0);
	struct ctl_head attach = BUS__HEAD(CTL_ATTACH, ctl_head);
	struct bus__greeting greeting;
	struct ctl_hello_reply reply;
	struct ctl_ok ok;
	int fds[CTL_MAX_FDS], nfds = CTL_MAX_FDS, err;

	err = bus__request_locked(bus, &hello, &reply, sizeof(reply), fds, &nfds);
	if (err < 0)
		return err;
	if (reply.head.magic != CTL_MAGIC)
		err = bus__fail(-EPROTO, "what listens at %s is not busd", bus->socket);
	else
		err = bus__greeting_map(&greeting, bus, bus->ctl, &reply, fds, nfds);
	for (int i = err < 0 ? 0 : 1; i < nfds; i++)
		close(fds[i]);
	if (err < 0)
		return err;
	bus__greeting_take(bus, &greeting);
	bus->ev = fds[0];
	err = bus__request_locked(bus, &attach, &ok, sizeof(ok), NULL, NULL);
	bus->attached = err == 0;
	return err;
}

static void set_name(struct bus *bus, const char *name)
{
	size_t len;

	if (name == NULL)
		name = program_invocation_short_name;
	len = strnlen(name, sizeof(bus->name) - 1);
	memcpy(bus->name, name, len);
}

static void free_bus(struct bus *bus)
{
	if (bus->ctl >= 0)
		close(bus->ctl);
	if (bus->ev >= 0)
		close(bus->ev);
	if (bus->hello >= 0)
		close(bus->hello);
	bus__inbox_free(&bus->orphans);
	free(bus->spare);
	bus__segments_free(bus);
	bus__past_free(bus);
	shm_unmap(&bus->busd_bell);
	pthread_mutex_destroy(&bus->request_lock);
	pthread_mutex_destroy(&bus->lock);
	shm_private_free(bus, sizeof(*bus));
}

static struct bus *new_bus(const struct bus_connect_opts *opts, const uint64_t token[2])
{
	struct bus *bus = shm_private_alloc(sizeof(*bus));

	if (bus == NULL)
		return NULL;
	bus->ctl = -1;
	bus->ev = -1;
	bus->hello = -1;
	bus->gen = 1;
	memcpy(bus->token, token, sizeof(bus->token));
	bus->timeout_ns = opts->timeout_ns > 0 ? (uint64_t)opts->timeout_ns : BUS__TIMEOUT_NS;
	bus->fences = wake_barrier_register() < 0;
	pthread_mutex_init(&bus->request_lock, NULL);
	pthread_mutex_init(&bus->lock, NULL);
	bus__inbox_init(&bus->orphans);
	set_name(bus, opts->name);
	return bus;
}

/* One attempt. -EAGAIN: a private busd left just now, or a worker died; once more. */
static int connect_once(struct bus **ret, const struct bus_connect_opts *opts,
			const uint64_t token[2], uint64_t deadline_ns)
{
	struct bus *bus = new_bus(opts, token);
	int err;

	if (bus == NULL)
		return bus__fail(-ENOMEM, "out of memory");
	bus->ctl = bus__find_and_connect(opts, deadline_ns, bus->socket, sizeof(bus->socket),
					 &bus->autostart);
	if (bus->ctl < 0) {
		err = bus->ctl;
		free_bus(bus);
		return err;
	}
	err = greet(bus);
	if (err < 0) {
		free_bus(bus);
		return err == -EPIPE ? -EAGAIN : err;
	}
	bus->magic = BUS__MAGIC;
	*ret = bus;
	return 0;
}

int bus_connect(struct bus **ret, const struct bus_connect_opts *opts)
{
	struct bus_connect_opts o;
	uint64_t deadline, token[2];
	int err = bus__opts_copy(&o, sizeof(o), opts);

	bus__why_clear();
	if (ret == NULL || err == -EINVAL || o.timeout_ns < 0 ||
	    (o.flags & ~BUS_CONNECT_NO_AUTOSTART))
		return bus__fail(-EINVAL, "bus_connect: bad arguments");
	if (err < 0)
		return bus__fail(err, "bus_connect: an option that this library (" BUS_VERSION
				      ") does not know");
	if (getrandom(token, sizeof(token), 0) != sizeof(token))
		return bus__fail(-errno, "bus_connect: no random numbers: %s", strerror(errno));
	deadline = bus_monotonic_ns() + (o.timeout_ns > 0 ? (uint64_t)o.timeout_ns : BUS__TIMEOUT_NS);
	for (int i = 0; i < 20; i++) {
		err = connect_once(ret, &o, token, deadline);
		if (err != -EAGAIN)
			return err;
		if (bus_monotonic_ns() >= deadline)
			break;
		usleep(5000);
	}
	return bus__fail(
		-EPROTO,
		"what listens there hung up without an answer: not busd, or a busd that is leaving");
}

/*
 * A worker that lives would see the hang-up. One that died a moment ago has a successor that would
 * keep our place as long as this process lives.
 */
static void leave(struct bus *bus)
{
	struct ctl_head req = { .type = CTL_LEAVE, .version = CTL_VERSION, .len = sizeof(req) };
	char why[CTL_WHY_MAX];
	struct ctl_ok ok;

	if (bus_load_acquire(&bus->gone))
		return;
	bus__why_save(why);
	if (bus__request(bus, &req, &ok, sizeof(ok), NULL, NULL) < 0)
		bus__why_restore(why);
}

void bus_close(struct bus *bus)
{
	struct bus_pub *pub;
	struct bus_sub *sub;

	if (bus == NULL || bus->magic != BUS__MAGIC)
		return;
	while ((pub = bus__pub_first(bus)) != NULL)
		bus_pub_close(pub);
	while ((sub = bus__sub_first(bus)) != NULL)
		bus_sub_close(sub);
	leave(bus);
	bus->magic = 0;
	free_bus(bus);
}
