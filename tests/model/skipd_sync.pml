/* SPDX-License-Identifier: BSD-2-Clause */
/* How two key sources keep one key: a model of src/skipd (link.c: A, the sender; keeper.c, service.c and
 * store_queue.c: B, the receiver; store_sqlite.c: the disk). docs/skipd-sync.md has the rules in words.
 *
 * Every step below is one that the code does in one turn of its event loop, or of its store's thread, and
 * between any two steps either side may crash, which loses all that is not on B's disk. The network loses,
 * and across connections reorders and (by A's re-sending) duplicates. B's clients ask for any ID at any
 * time, also for those that they cannot know. More is allowed than can happen (messages overtake each other
 * within a connection, too, and A may draw the ID of a key of another life), so that what holds here, holds
 * there.
 *
 * Time is a counter. What must hold of it is what the code relies on: no PUT is carried out later than DELAY
 * after it was sent (link.c gives up a silent connection, keeper.c closes one, the queue is short).
 *
 * The promise is in the assertions, and in the LTL formulas at the end. With one of the BROKEN_ macros the
 * model leaves out one of the rules; then spin has to find the fault. */

#ifndef KEYS
#define KEYS 1 /* that A makes, in all of its lives */
#endif
#ifndef CRASHES
#define CRASHES 1 /* of both sides together */
#endif
#ifndef FAULTS
#define FAULTS 0 /* commits that fail */
#endif
#define IDS   1 /* all keys draw the same ID: it is B that has to keep them apart */
#define CONNS 2 /* connections from A to B, one after the other */
#define TAKES 2 /* requests of B's clients for one ID at once: the second one waits for the end of the first */

#define LIFE  1             /* lifetime */
#define SYNC  1             /* sync-timeout */
#define TTL   (LIFE + SYNC) /* what A asks B for */
#define DELAY 3             /* of a message, at most */
#define END   5             /* time ends */
#ifdef BROKEN_TOMBSTONE_EXPIRES_WITH_THE_KEY
#define GRACE 0
#else
#define GRACE DELAY /* a tombstone outlives its key */
#endif

/* What a row holds: nothing, a tombstone, or key K as HOLDS(K). */
#define ABSENT    0
#define TOMB      1
#define HOLDS(k)  ((k) + 2)
#define IS_KEY(v) ((v) >= 2)
#define KEY_OF(v) ((v) - 2)

#define NONE 255

/* ---- the world's view (what was promised and done; no code looks at it) ---- */
byte now;
bool given[KEYS];  /* A's client has it */
byte due[KEYS];    /* until when it is owed */
byte handed[KEYS]; /* times that B's clients got it */
bool erased[KEYS]; /* by a committed take */
bool cut[KEYS];    /* erased, and then B died before its answer was out (the documented end of the promise) */
bool stored[KEYS]; /* was once on B's disk */
byte crashes, faults;

/* ---- A: all volatile ---- */
mtype = {FREE, WAITING, OVER};
mtype a_key[KEYS] = FREE;
byte a_number[KEYS];   /* of its PUT, in this life */
byte a_deadline[KEYS];
byte a_next;           /* number of the next PUT; begins anew with every life */
byte a_conn = NONE;    /* the connection that is up */
byte conns;            /* made so far */

/* ---- the network: what is on its way in each connection ---- */
mtype = {EMPTY, OK, CONFLICT, DELIVERED, FAILED, NOT_FOUND};
#define AT(c, k) ((c) * KEYS + (k))
bool b_open[CONNS];                    /* B still reads from it */
bool put_on[CONNS * KEYS];
byte put_sent[CONNS * KEYS];
mtype ack_on[CONNS * KEYS] = EMPTY;    /* by number */

/* ---- B: volatile; operations on their way through the store ---- */
mtype = {IDLE, TODO, BATCH, DONE, TO_REPORT, HELD};
mtype put_op[CONNS * KEYS] = IDLE;
mtype put_result[CONNS * KEYS] = EMPTY;
mtype take_op[TAKES] = IDLE;
mtype take_result[TAKES] = EMPTY;
byte take_value[TAKES];
bool take_restores[TAKES];
bool take_owed[TAKES * KEYS]; /* the world's view: keys that were owed when the request came */
mtype store = IDLE; /* or BATCH: a transaction is open */

/* ---- B: the disk, and the open transaction's view of it ---- */
byte disk, disk_expires;
byte tx, tx_expires;

/* Is the key owed, and not legitimately with a client of B's (or lost with its answer)? */
#define OWED(k)   (given[k] && now < due[k])
#define THERE(k)  (disk == HOLDS(k) && disk_expires > now)

hidden byte i, j;

inline store_idle()
{
    store = IDLE;
    tx = 0;
    tx_expires = 0
}

inline a_give_up(k)
{
    a_key[k] = OVER;
    a_deadline[k] = 0
}

/* A's client gets key k. */
inline a_answer(k)
{
    assert(!given[k]);
    given[k] = true;
    due[k] = now + LIFE;
    a_give_up(k)
}

inline a_send(k)
{
    put_on[AT(a_conn, k)] = true;
    put_sent[AT(a_conn, k)] = now;
}

/* The key of number n that still waits, or NONE. */
inline a_find(n, k)
{
    k = NONE;
    for (i : 0 .. KEYS - 1) {
        if
        :: a_key[i] == WAITING && a_number[i] == n -> k = i
        :: else
        fi
    }
}

proctype Initiator_side()
{
    byte k, c, n;

    do
    /* a client asks: a new key, sent at once if the link is up, or else when it will be */
    :: atomic {
        a_next < KEYS && conns > 0 ->
        k = 0;
        do
        :: k < KEYS && a_key[k] != FREE -> k++
        :: else -> break
        od;
        if
        :: k < KEYS ->
            a_key[k] = WAITING;
            a_number[k] = a_next;
            a_deadline[k] = now + SYNC;
            a_next++;
#ifdef BROKEN_ANSWER_BEFORE_ACK
            if
            :: a_conn != NONE -> a_send(k); a_answer(k)
            :: else -> a_give_up(k)
            fi
#else
            if
            :: a_conn != NONE -> a_send(k)
            :: else
            fi
#endif
        :: else
        fi;
        k = 0
       }
    /* a connection comes up: all that waits is sent (again) */
    :: atomic {
        a_conn == NONE && conns < CONNS ->
        a_conn = conns;
        conns++;
        b_open[a_conn] = true;
        for (k : 0 .. KEYS - 1) {
            if
#ifndef BROKEN_LATE_RESEND
            :: a_key[k] == WAITING && now >= a_deadline[k] -> a_give_up(k)
            :: a_key[k] == WAITING && now < a_deadline[k] -> a_send(k)
#else
            :: a_key[k] == WAITING -> a_send(k)
#endif
            :: else
            fi
        }
        k = 0
       }
    /* A sees that it broke: what is on its way to B may still arrive; no answer will be seen. Then either the
       next connection is tried, or it fails, too, and with it all that waits. */
    :: atomic {
        a_conn != NONE ->
        for (n : 0 .. KEYS - 1) {
            ack_on[AT(a_conn, n)] = EMPTY
        }
        a_conn = NONE;
        n = 0;
        if
        :: true
        :: true ->
            for (k : 0 .. KEYS - 1) {
                if
                :: a_key[k] == WAITING -> a_give_up(k)
                :: else
                fi
            }
        fi;
        k = 0
       }
    /* an ACK */
    :: atomic {
        a_conn != NONE ->
        c = a_conn;
        select(n : 0 .. KEYS - 1);
        if
        :: ack_on[AT(c, n)] != EMPTY ->
            a_find(n, k);
            if
            :: k == NONE /* ended before: a late answer */
            :: else ->
                if
#ifndef BROKEN_LATE_ACK
                :: now >= a_deadline[k] -> a_give_up(k)
#endif
                :: else ->
                    if
                    :: ack_on[AT(c, n)] == OK -> a_answer(k)
                    :: else -> a_give_up(k)
                    fi
                fi
            fi;
            ack_on[AT(c, n)] = EMPTY
        :: else
        fi;
        k = 0;
        c = 0;
        n = 0
       }
    /* the deadline: looked at now and then */
    :: atomic {
        select(k : 0 .. KEYS - 1);
        if
        :: a_key[k] == WAITING && now >= a_deadline[k] -> a_give_up(k)
        :: else
        fi;
        k = 0
       }
    od
}

inline take_end(t)
{
    take_op[t] = IDLE;
    for (j : 0 .. KEYS - 1) {
        take_owed[t * KEYS + j] = false
    }
}

/* "No such key", for good: so nobody may be owed it. */
inline take_refuse(t)
{
    for (j : 0 .. KEYS - 1) {
        assert(!take_owed[t * KEYS + j] || !OWED(j) || handed[j] > 0 || cut[j])
    }
    take_end(t)
}

/* The first request has ended, and the key is with its client. (delivery.c: end) */
inline held_refuse()
{
    if
    :: take_op[1] == HELD -> take_refuse(1)
    :: else
    fi
}

/* The first request has ended, and has not got the key: the one that waits asks for himself. */
inline held_begin()
{
    if
    :: take_op[1] == HELD ->
        take_op[0] = TODO;
        for (j : 0 .. KEYS - 1) {
            take_owed[j] = take_owed[KEYS + j]
        }
        take_end(1)
    :: else
    fi
}

/* B's event loop. */
proctype Responder_side()
{
    byte c, k, t;

    do
    /* a PUT is read, and goes into the store's queue */
    :: atomic {
        select(c : 0 .. CONNS - 1);
        select(k : 0 .. KEYS - 1);
        if
        :: b_open[c] && put_on[AT(c, k)] && put_op[AT(c, k)] == IDLE ->
            put_on[AT(c, k)] = false;
            put_op[AT(c, k)] = TODO;
#ifdef BROKEN_ANSWER_BEFORE_SYNC
            if
            :: c == a_conn -> ack_on[AT(c, a_number[k])] = OK
            :: else
            fi
#endif
        :: else
        fi;
        c = 0;
        k = 0
       }
    /* a connection ends at B's end; the store keeps what it has in hand */
    :: atomic {
        select(c : 0 .. CONNS - 1);
        if
        :: b_open[c] && c < conns ->
            b_open[c] = false;
            for (k : 0 .. KEYS - 1) {
                put_on[AT(c, k)] = false;
                put_sent[AT(c, k)] = 0
            }
        :: else
        fi;
        c = 0;
        k = 0
       }
    /* what became of a PUT: the ACK, if somebody is there to hear it */
    :: atomic {
        select(c : 0 .. CONNS - 1);
        select(k : 0 .. KEYS - 1);
        if
        :: put_op[AT(c, k)] == TO_REPORT ->
#ifndef BROKEN_ANSWER_BEFORE_SYNC
            if
            :: b_open[c] && c == a_conn -> ack_on[AT(c, a_number[k])] = put_result[AT(c, k)]
            :: else
            fi;
#endif
            put_op[AT(c, k)] = IDLE;
            put_result[AT(c, k)] = EMPTY
        :: else
        fi;
        c = 0;
        k = 0
       }
    /* a client asks for the ID; a second request waits for the end of the first */
    :: atomic {
        select(t : 0 .. TAKES - 1);
        if
        :: take_op[t] == IDLE && (t == 0 || take_op[0] != IDLE) ->
#ifdef BROKEN_REQUESTS_OVERTAKE
               take_op[t] = TODO;
#else
               take_op[t] = (t == 0 -> TODO : HELD);
#endif
               for (k : 0 .. KEYS - 1) {
                   take_owed[t * KEYS + k] = OWED(k)
               }
        :: else
        fi;
        k = 0;
        t = 0
       }
    /* what became of the take */
    :: atomic {
        select(t : 0 .. TAKES - 1);
        if
        :: take_op[t] == TO_REPORT && take_restores[t] ->
            take_end(t);
            take_restores[t] = false;
            take_result[t] = EMPTY;
            take_value[t] = 0;
            held_begin()
        :: take_op[t] == TO_REPORT && !take_restores[t] ->
            if
            :: take_result[t] == OK ->
                if
                :: true -> /* the answer goes out */
                    k = KEY_OF(take_value[t]);
                    handed[k]++;
                    assert(handed[k] == 1); /* once */
                    for (j : 0 .. KEYS - 1) { /* with the value that the other end has */
                        assert(j == k || !take_owed[t * KEYS + j] || !OWED(j) || handed[j] > 0 || cut[j])
                    }
                    take_end(t);
                    take_value[t] = 0;
                    held_refuse()
                :: true -> /* the client is gone before anything was sent */
                    take_op[t] = TODO;
                    take_restores[t] = true
                fi
            :: take_result[t] == DELIVERED -> take_refuse(t); held_refuse()
            :: take_result[t] == NOT_FOUND -> take_refuse(t); held_begin()
            :: else -> take_end(t); held_begin() /* 500: to be asked for again */
            fi;
            take_result[t] = EMPTY
        :: else
        fi;
        t = 0;
        k = 0
       }
    od
}

/* One operation on the open transaction. store_sqlite.c: put, take, restore. */
inline perform_put(c, k)
{
    if
    :: tx == ABSENT ->
        tx = HOLDS(k);
        tx_expires = now + TTL;
        put_result[AT(c, k)] = OK
    :: tx == TOMB -> put_result[AT(c, k)] = DELIVERED
    :: tx == HOLDS(k) && tx_expires > now -> put_result[AT(c, k)] = OK
    :: IS_KEY(tx) && !(tx == HOLDS(k) && tx_expires > now) -> put_result[AT(c, k)] = CONFLICT
    fi
}

inline perform_take(t)
{
    if
    :: take_restores[t] && tx == TOMB ->
        tx = take_value[t];
        tx_expires = tx_expires - GRACE;
        take_result[t] = OK
    :: take_restores[t] && tx != TOMB -> take_result[t] = NOT_FOUND
    :: !take_restores[t] && IS_KEY(tx) && tx_expires > now ->
        take_value[t] = tx;
        take_result[t] = OK;
#ifdef BROKEN_NO_TOMBSTONE
        tx = ABSENT;
        tx_expires = 0
#else
        tx = TOMB;
        tx_expires = tx_expires + GRACE
#endif
    :: !take_restores[t] && tx == TOMB -> take_result[t] = DELIVERED
    :: !take_restores[t] && tx != TOMB && !(IS_KEY(tx) && tx_expires > now) -> take_result[t] = NOT_FOUND
    fi
}

/* The commit has returned: what is reported from now on is on the disk. */
inline committed()
{
    if
    :: IS_KEY(tx) -> stored[KEY_OF(tx)] = true
    :: else
    fi;
    for (i : 0 .. TAKES - 1) {
        if
        :: take_op[i] == DONE && take_result[i] == OK ->
            erased[KEY_OF(take_value[i])] = !take_restores[i];
            stored[KEY_OF(take_value[i])] = true
        :: else
        fi
    }
    disk = tx;
    disk_expires = tx_expires;
}

/* A take whose operation failed: nothing has happened; a key that could not be given back is lost. */
inline take_fails(t)
{
    if
    :: take_restores[t] -> cut[KEY_OF(take_value[t])] = true
    :: else -> take_value[t] = 0
    fi;
    take_result[t] = FAILED;
    take_op[t] = TO_REPORT
}

inline rolled_back()
{
    tx = disk;
    tx_expires = disk_expires
}

/* B's store thread. */
proctype Store()
{
    byte c, k, t;

    do
    /* all that waits becomes one transaction */
    :: atomic {
        store == IDLE ->
        j = 0;
        for (i : 0 .. CONNS * KEYS - 1) {
            if
            :: put_op[i] == TODO -> put_op[i] = BATCH; j = 1
            :: else
            fi
        }
        for (i : 0 .. TAKES - 1) {
            if
            :: take_op[i] == TODO -> take_op[i] = BATCH; j = 1
            :: else
            fi
        }
        if
        :: j == 1 -> store = BATCH; rolled_back()
        :: else
        fi
       }
    /* one operation of it */
    :: atomic {
        store == BATCH ->
        select(c : 0 .. CONNS - 1);
        select(k : 0 .. KEYS - 1);
        if
        :: put_op[AT(c, k)] == BATCH -> perform_put(c, k); put_op[AT(c, k)] = DONE
        :: else
        fi;
        c = 0;
        k = 0
       }
    :: atomic {
        store == BATCH ->
        select(t : 0 .. TAKES - 1);
        if
        :: take_op[t] == BATCH ->
            perform_take(t);
            take_op[t] = DONE;
#ifdef BROKEN_ANSWER_BEFORE_ERASE
            if
            :: take_result[t] == OK && !take_restores[t] ->
                handed[KEY_OF(take_value[t])]++;
                assert(handed[KEY_OF(take_value[t])] == 1);
                take_result[t] = FAILED
            :: else
            fi
#endif
        :: else
        fi;
        t = 0
       }
    /* the commit: all or nothing; if it fails, each is tried alone */
    :: atomic {
        store == BATCH ->
        j = 0;
        for (i : 0 .. CONNS * KEYS - 1) {
            if
            :: put_op[i] == BATCH -> j = 1
            :: else
            fi
        }
        for (i : 0 .. TAKES - 1) {
            if
            :: take_op[i] == BATCH -> j = 1
            :: else
            fi
        }
        if
        :: j == 1
        :: else ->
            if
            :: true -> committed()
            :: faults < FAULTS ->
                faults++;
                rolled_back();
                for (i : 0 .. TAKES - 1) {
                    take_result[i] = (take_op[i] == DONE -> EMPTY : take_result[i])
                }
                for (c : 0 .. CONNS - 1) {
                    for (k : 0 .. KEYS - 1) {
                        if
                        :: put_op[AT(c, k)] == DONE ->
                            if
                            :: perform_put(c, k); committed()
                            :: put_result[AT(c, k)] = FAILED
                            fi;
                            put_op[AT(c, k)] = TO_REPORT
                        :: else
                        fi
                    }
                }
                for (t : 0 .. TAKES - 1) {
                    if
                    :: take_op[t] == DONE ->
                        if
                        :: perform_take(t); committed(); take_op[t] = TO_REPORT
                        :: take_fails(t)
                        fi
                    :: else
                    fi
                }
            fi;
            for (i : 0 .. CONNS * KEYS - 1) {
                if
                :: put_op[i] == DONE -> put_op[i] = TO_REPORT
                :: else
                fi
            }
            for (i : 0 .. TAKES - 1) {
                if
                :: take_op[i] == DONE -> take_op[i] = TO_REPORT
                :: else
                fi
            }
            store_idle()
        fi;
        c = 0;
        k = 0;
        t = 0
       }
    /* what has expired is deleted, in a transaction of its own */
    :: atomic {
        store == IDLE && disk != ABSENT && disk_expires <= now ->
        disk = ABSENT;
        disk_expires = 0
       }
    od
}

/* kill -9, power, the end of time. */
proctype World()
{
    byte c, k, t;

    do
    :: atomic { /* A */
        crashes < CRASHES ->
        crashes++;
        a_conn = NONE;
        a_next = 0;
        for (k : 0 .. KEYS - 1) {
            if
            :: a_key[k] == WAITING -> a_key[k] = OVER
            :: else
            fi;
            a_number[k] = 0;
            a_deadline[k] = 0
        }
        for (k : 0 .. CONNS * KEYS - 1) {
            ack_on[k] = EMPTY
        }
        k = 0
       }
    :: atomic { /* B */
        crashes < CRASHES ->
        crashes++;
        for (c : 0 .. CONNS - 1) {
            b_open[c] = false;
        }
        for (k : 0 .. CONNS * KEYS - 1) {
            put_on[k] = false;
            put_sent[k] = 0;
            put_op[k] = IDLE;
            put_result[k] = EMPTY
        }
        for (t : 0 .. TAKES - 1) {
            take_end(t);
            take_result[t] = EMPTY;
            take_restores[t] = false;
            take_value[t] = 0
        }
        for (k : 0 .. KEYS - 1) {
            cut[k] = cut[k] || (erased[k] && handed[k] == 0)
        }
        store_idle();
        c = 0;
        k = 0;
        t = 0
       }
    :: atomic { /* no message is older than DELAY */
        now < END ->
        t = 0;
        for (k : 0 .. CONNS * KEYS - 1) {
            if
            :: (put_on[k] || put_op[k] == TODO || put_op[k] == BATCH) && now >= put_sent[k] + DELAY -> t = 1
            :: else
            fi
        }
        if
        :: t == 0 -> now++
        :: else
        fi;
        k = 0;
        t = 0
       }
    od
}

init {
    atomic {
        run Initiator_side();
        run Responder_side();
        run Store();
        run World()
    }
}

/* A key that was given and is owed is on B's disk, until a client's request erases it. */
#define DURABLE(k) (!OWED(k) || THERE(k) || erased[k])
/* B's clients get nothing that was not stored, and nothing twice. */
#define ONCE(k) (handed[k] <= 1 && (handed[k] == 0 || stored[k]))
/* Nobody is told of a key before it was on the disk. */
#define SYNCED(k) (!given[k] || stored[k])

#if KEYS == 1
ltl promise { [] (DURABLE(0) && ONCE(0) && SYNCED(0)) }
#else
ltl promise { [] (DURABLE(0) && DURABLE(1) && ONCE(0) && ONCE(1) && SYNCED(0) && SYNCED(1)) }
#endif
